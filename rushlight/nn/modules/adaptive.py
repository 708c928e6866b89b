"""Softmax for many classes, most of them rare: frequent classes in a head, the others in clusters."""

from collections import namedtuple

import rushlight

from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of the targets, and their mean negative: (output, loss).

    Args:
        cutoffs: classes below cutoffs[0] are in the head, those up to cutoffs[1] in the first cluster, and so on.
        div_value: each cluster's projection is so many times narrower than the one before.
    """

    def __init__(
        self, in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None
    ):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(cutoffs)
            or min(cutoffs) <= 0
            or max(cutoffs) > n_classes - 1
            or len(set(cutoffs)) != len(cutoffs)
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = cutoffs + [n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            width = int(in_features // div_value ** (k + 1))
            classes = self.cutoffs[k + 1] - self.cutoffs[k]
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **options),
                    Linear(width, classes, bias=False, **options),
                )
            )

    def reset_parameters(self):
        self.head.reset_parameters()
        for narrow, out in self.tail:
            narrow.reset_parameters()
            out.reset_parameters()

    def forward(self, input_, target_):
        input, target = input_, target_
        batched = target.dim() == 1
        if not batched and target.dim() != 0:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if batched and input.size(0) != target.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if batched and input.dim() != 2:
            raise RuntimeError(
                f"1D target tensor expects 2D input tensors, but found inputs with size {input.size()}"
            )
        if not batched and input.dim() != 1:
            raise RuntimeError(
                f"0D target tensor expects 1D input tensors, but found inputs with size {input.size()}"
            )
        rows = input if batched else input.unsqueeze(0)
        target = target if batched else target.unsqueeze(0)
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{int(target.min())}, {int(target.max())}] were found. "
            )
        # the place in the head: the class itself, or the slot of its cluster
        place = target.clone()
        in_cluster = rushlight.zeros(len(target), dtype=rows.dtype, device=rows.device)
        for k in range(self.n_clusters):
            low, high = self.cutoffs[k], self.cutoffs[k + 1]
            chosen = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if chosen.numel() == 0:
                continue
            place[chosen] = self.shortlist_size + k
            logs = F.log_softmax(self.tail[k](rows.index_select(0, chosen)), dim=1)
            own = logs.gather(1, (target[chosen] - low).unsqueeze(1)).squeeze(1)
            in_cluster = in_cluster.index_copy(0, chosen, own)
        head = F.log_softmax(self.head(rows), dim=1)
        output = in_cluster + head.gather(1, place.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _get_full_log_prob(self, input, head_output):
        out = input.new_empty((head_output.size(0), self.n_classes))
        head = F.log_softmax(head_output, dim=1)
        out[:, : self.shortlist_size] = head[:, : self.shortlist_size]
        for k in range(self.n_clusters):
            logs = F.log_softmax(self.tail[k](input), dim=1)
            slot = self.shortlist_size + k
            out[:, self.cutoffs[k] : self.cutoffs[k + 1]] = logs + head[:, slot : slot + 1]
        return out

    def log_prob(self, input):
        """Log-probabilities of all classes, (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most probable class of each row."""
        return self.log_prob(input).argmax(1)
