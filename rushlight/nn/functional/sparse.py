"""Functions of indices: embeddings and one-hot vectors."""

import numpy as np

import rushlight

from ... import _C
from ..._composite import core_first, shown_as


def _positive_padding_idx(padding_idx, num_embeddings):
    """padding_idx counted from the start, -1 for none."""
    if padding_idx is None:
        return -1
    if not -num_embeddings <= padding_idx < num_embeddings:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx + num_embeddings if padding_idx < 0 else padding_idx


@core_first("embedding_renorm_")
def _embedding_renorm_(weight, indices, max_norm, norm_type):
    """Scale the rows in use, in place, so that their norm is at most max_norm."""
    with rushlight.no_grad():
        rows = indices.flatten().unique()
        norms = weight[rows].norm(norm_type, 1, keepdim=True)
        scale = rushlight.where(norms > max_norm, max_norm / (norms + 1e-7), rushlight.ones_like(norms))
        weight[rows] = weight[rows] * scale
    return weight


def embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
):
    """Rows of weight, one for each index of input."""
    padding_idx = _positive_padding_idx(padding_idx, weight.size(0))
    if max_norm is not None:
        input = input.contiguous()
        _embedding_renorm_(weight.detach(), input, max_norm, norm_type)
    return _C.embedding(weight, input, padding_idx, scale_grad_by_freq, sparse)


def _check_bag_arguments(input, weight, offsets, mode, per_sample_weights, scale_grad_by_freq, sparse):
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the "
            f"same shape as the input ({input.shape})"
        )
    if input.dim() not in (1, 2):
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if input.dim() == 2 and offsets is not None:
        raise ValueError(
            "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
            f"sequences. However, found offsets of type {type(offsets)}"
        )
    if input.dim() == 1:
        if not isinstance(offsets, rushlight.Tensor):
            raise ValueError(f"offsets has to be a 1D Tensor but got {offsets}")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
    for name, x, allowed in (("indices", input, "Long, Int"), ("weight", weight, "Half, BFloat16, Float, Double")):
        if x.dtype._scalar_name not in allowed.split(", "):
            raise RuntimeError(
                f"Expected tensor for argument #1 '{name}' to have one of the following scalar types: {allowed}; but got "
                f"{x.type()} instead (while checking arguments for embedding_bag)"
            )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max":
        if scale_grad_by_freq:
            raise ValueError("max mode does not support scaling the gradient by the frequency")
        if sparse:
            raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and per_sample_weights.dtype != weight.dtype:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 "
            f"'per_sample_weights'; but type {weight.type()} does not equal {per_sample_weights.type()} (while checking "
            "arguments for embedding_bag)"
        )
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}'). Please open a feature request on GitHub."
        )


def _bag_bounds(input, offsets, include_last_offset):
    """Where each bag starts and ends in the flat input, as lists."""
    starts = offsets.tolist()
    if starts and starts[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
            f"However, got {starts[0]}"
        )
    if starts and starts[-1] > input.numel():
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {input.numel()} but got offsets[-1] of {starts[-1]}"
        )
    if include_last_offset:
        return starts[:-1], starts[1:]
    return starts, starts[1:] + [input.numel()]


@shown_as("EmbeddingBagBackward0")
def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """Sum, mean or maximum of the rows of weight that each bag of indices selects."""
    if weight.dtype in (rushlight.int64, rushlight.int32) and input.is_floating_point():
        input, weight = weight, input  # the argument order of old programs
    _check_bag_arguments(input, weight, offsets, mode, per_sample_weights, scale_grad_by_freq, sparse)
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    rows, columns = weight.shape
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(
            f"padding_idx must be within the number of embeddings, {-rows} through {rows - 1}, but got {padding_idx}"
        )
    if input.dim() == 2:
        bags, length = input.shape
        starts = list(range(0, bags * length, length)) if length else [0] * bags
        ends = [start + length for start in starts]
        input = input.reshape(-1)
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    else:
        starts, ends = _bag_bounds(input, offsets, include_last_offset)
    if max_norm is not None:
        _embedding_renorm_(weight.detach(), input, max_norm, norm_type)
    if input.numel():
        outside = (input < 0) | (input >= rows)
        if bool(outside.any()):
            place = int(outside.nonzero()[0])
            if mode == "max":
                raise RuntimeError(
                    "embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be "
                    f"{int(input[place])}"
                )
            raise RuntimeError(
                f"Index {place} of input takes value {int(input[place])} which is not in the valid range [0, {rows})"
            )
    padding = -1 if padding_idx is None else padding_idx % rows
    # positions of each bag's entries, padded to the longest bag; padding rows of weight do not count
    width = max([end - start for start, end in zip(starts, ends)], default=0)
    slots = np.zeros((len(starts), width), np.int64)
    counted = np.zeros((len(starts), width), bool)
    for bag, (start, end) in enumerate(zip(starts, ends)):
        slots[bag, : end - start] = np.arange(start, end)
        counted[bag, : end - start] = True
    slots, counted = rushlight.from_numpy(slots), rushlight.from_numpy(counted)
    if width == 0 or input.numel() == 0:
        nothing = weight[:0].sum()  # zero, and connected to what needs gradients
        if per_sample_weights is not None:
            nothing = nothing + per_sample_weights.sum()
        return weight.new_zeros(len(starts), columns) + nothing
    if padding >= 0:
        counted = counted & (input != padding)[slots]
    vectors = _C.embedding(weight, input.long(), padding, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        vectors = vectors * per_sample_weights.unsqueeze(-1)
    vectors = vectors[slots]  # (bags, width, columns)
    mask = counted.unsqueeze(-1)
    if mode == "max":
        empty = ~counted.any(1, keepdim=True)
        best = vectors.masked_fill(~mask, -float("inf")).max(1)[0]
        return best.masked_fill(empty, 0.0)
    sums = vectors.masked_fill(~mask, 0.0).sum(1)
    if mode == "sum":
        return sums
    return sums / counted.sum(1, keepdim=True).clamp(min=1).to(sums.dtype)


@core_first("one_hot")
def one_hot(tensor, num_classes=-1):
    """Vectors that are 1 at the given class and 0 elsewhere, as an extra last dimension.

    >>> F.one_hot(rl.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype != rushlight.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return rushlight.empty((*tensor.shape, num_classes), dtype=rushlight.int64, device=tensor.device)
    if int(tensor.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    largest = int(tensor.max())
    if num_classes == -1:
        num_classes = largest + 1
    elif largest >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    zeros = rushlight.zeros((*tensor.shape, num_classes), dtype=rushlight.int64, device=tensor.device)
    return zeros.scatter_(-1, tensor.unsqueeze(-1), 1)
