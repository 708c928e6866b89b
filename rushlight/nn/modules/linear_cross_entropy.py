"""The loss layer that holds a linear map to class scores, and the options of its chunked way of computing."""

import re
from dataclasses import dataclass

import rushlight

from .. import functional as F
from .linear import Linear
from .loss import _WeightedLoss

_DTYPES = (None, rushlight.float16, rushlight.bfloat16, rushlight.float32, rushlight.float64)


@dataclass
class LinearCrossEntropyOptions:
    """How linear_cross_entropy cuts a batch into chunks.

    Args:
        allow_retain_graph: kept; a second backward through a retained graph is always possible here.
        batch_chunk_size: rows in a chunk; None leaves that to chunking_method.
        chunking_method: "aspect_ratio:r" for chunks of r times as many rows as features; "auto" is
            "aspect_ratio:2", None takes the whole batch at once.
        acc_policy: kept ("auto", "accurate", "balanced" or "compact").
        acc_dtype: dtype in which the gradients of weight and bias are summed up; None for float32 at least.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: "rushlight.dtype | None" = None

    def __post_init__(self):
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size}")
        if self.chunking_method not in (None, "auto") and self._ratio() is None:
            raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        if self.acc_policy not in ("accurate", "balanced", "compact", "auto"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.acc_dtype not in _DTYPES:
            names = ", ".join(map(str, _DTYPES))
            raise ValueError(
                f"acc_dtype must be one of {{{names}}}, got {self.acc_dtype}. Pass acc_dtype=None to let the op pick "
                "automatically."
            )

    def _ratio(self):
        found = re.fullmatch(r"aspect_ratio:(\d+(?:\.\d*)?)", str(self.chunking_method))
        return float(found[1]) if found and float(found[1]) > 0 else None

    def rows_at_once(self, rows, features):
        """The number of rows in a chunk of a batch of (rows, features)."""
        if self.batch_chunk_size is not None:
            return self.batch_chunk_size
        if self.chunking_method is None:
            return rows
        return int(features * (self._ratio() or 2))


class LinearCrossEntropyLoss(_WeightedLoss):
    """Cross entropy of the scores that a linear map without its own output gives; see F.linear_cross_entropy.

    Args:
        in_features: size of each sample.
        num_classes: number of classes.
        out_features: sizes (d1, ..., dK) where a sample has several predictions.

    >>> nn.LinearCrossEntropyLoss(5, 10)(rl.zeros(2, 5), rl.tensor([1, 2]))
    tensor(2.3026, grad_fn=<NllLossBackward0>)
    """

    def __init__(
        self,
        in_features,
        num_classes,
        *,
        out_features=(),
        bias=False,
        device=None,
        dtype=None,
        reduction="mean",
        weight=None,
        ignore_index=None,
        label_smoothing=0.0,
        options=None,
    ):
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        rows = num_classes
        for size in self.out_features:
            rows *= size
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)

    def forward(self, input, target):
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.view(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.view(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self):
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
