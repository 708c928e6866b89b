"""Connectionist temporal classification: the loss of a sequence whose alignment with the target is unknown."""

import rushlight

from ..._composite import autocasts, core_first
from ._args import reduction_code

_IMPOSSIBLE = -1e30  # stands for log(0); finite, so that the gradient of logsumexp stays defined


def _lengths(lengths, name, batch):
    if isinstance(lengths, rushlight.Tensor):
        if lengths.is_floating_point():
            raise RuntimeError(f"{name} must be integral")
        lengths = lengths.reshape(-1).tolist()
    if len(lengths) != batch:
        raise RuntimeError(f"{name} must be of size batch_size")
    return [int(length) for length in lengths]


def _padded_targets(targets, target_lengths, blank):
    """(N, S) targets, whatever form they came in: padded rows or one row after the other."""
    where = "(while checking arguments for ctc_loss_allocate_outputs)"
    longest = max(target_lengths, default=0)
    if targets.dim() == 2:
        if targets.size(1) < longest:
            raise RuntimeError(
                f"Expected tensor to have size at least {longest} at dimension 1, but got size {targets.size(1)} for "
                f"argument #2 'targets' {where}"
            )
        return targets[:, :longest]
    if targets.numel() != sum(target_lengths):
        raise RuntimeError(
            f"Expected tensor to have size {sum(target_lengths)} at dimension 0, but got size {targets.numel()} for "
            f"argument #2 'targets' {where}"
        )
    rows = rushlight.full((len(target_lengths), longest), blank, dtype=rushlight.int64, device=targets.device)
    start = 0
    for row, length in enumerate(target_lengths):
        rows[row, :length] = targets[start : start + length]
        start += length
    return rows


def _negative_log_likelihood(log_probs, targets, input_lengths, target_lengths, blank):
    """Forward algorithm over the target with blanks between its labels; a loss per sample."""
    steps, batch, _ = log_probs.shape
    device = log_probs.device
    longest = targets.size(1)
    states = rushlight.full((batch, 2 * longest + 1), blank, dtype=rushlight.int64, device=device)
    states[:, 1::2] = targets
    # a label may be entered from the label before it, skipping the blank, unless the two are equal
    skips = rushlight.zeros(states.shape, dtype=rushlight.bool, device=device)
    skips[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    emissions = log_probs.clamp(min=_IMPOSSIBLE).gather(
        2, states.expand(steps, *states.shape)
    )  # (T, N, states)
    last = rushlight.tensor([2 * length for length in target_lengths], device=device).unsqueeze(1)
    ends = rushlight.tensor(input_lengths, device=device).unsqueeze(1)

    place = rushlight.arange(states.size(1), device=device)
    scores = rushlight.where(place == 0, 0.0, _IMPOSSIBLE).to(log_probs.dtype).expand(batch, -1)
    blocked = scores.new_full((batch, 2), _IMPOSSIBLE)
    for step in range(steps):
        if step == 0:
            entered = rushlight.where(place < 2, 0.0, _IMPOSSIBLE).to(log_probs.dtype).expand(batch, -1)
        else:
            previous = rushlight.cat((blocked, scores), 1)
            skipped = previous[:, :-2].masked_fill(~skips, _IMPOSSIBLE)
            entered = rushlight.stack((scores, previous[:, 1:-1], skipped)).logsumexp(0)
        scores = rushlight.where(step < ends, entered + emissions[step], scores)
    at_blank = scores.gather(1, last)
    at_label = scores.gather(1, (last - 1).clamp(min=0)).masked_fill(last == 0, _IMPOSSIBLE)
    return -rushlight.stack((at_blank, at_label)).logsumexp(0).squeeze(1)


def _normalised(log_probs, input_lengths):
    """Zero for each sample. Its gradient, the probabilities, makes that of the loss sum to 0 at each step, as it does
    behind log_softmax: the gradient that PyTorch gives for log_probs themselves."""
    steps = rushlight.arange(log_probs.size(0), device=log_probs.device)
    inside = steps.unsqueeze(1) < rushlight.tensor(input_lengths, device=log_probs.device)  # (T, N)
    finite = log_probs.clamp(min=_IMPOSSIBLE)
    shares = finite.detach().exp() * inside.unsqueeze(2)
    return ((finite - finite.detach()) * shares).sum((0, 2))


@core_first("ctc_loss")
def _ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction=1, zero_infinity=False):
    batched = log_probs.dim() == 3
    if not batched:
        log_probs, targets = log_probs.unsqueeze(1), targets.reshape(1, -1)
    if log_probs.numel() == 0:
        raise RuntimeError("log_probs tensor must not be empty")
    if log_probs.dim() != 3:
        raise RuntimeError(
            f"Expected 3-dimensional tensor, but got {log_probs.dim()}-dimensional tensor for argument #1 'log_probs' "
            "(while checking arguments for ctc_loss_allocate_outputs)"
        )
    dtype = log_probs.dtype
    if not log_probs.is_floating_point():
        name = log_probs.type().rpartition(".")[2].removesuffix("Tensor")
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{name}'")
    if dtype in (rushlight.float16, rushlight.bfloat16):
        log_probs = log_probs.float()  # the logarithm of 0 does not fit 16 bits
    steps, batch, classes = log_probs.shape
    input_lengths = _lengths(input_lengths, "input_lengths", batch)
    target_lengths = _lengths(target_lengths, "target_lengths", batch)
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    if max(input_lengths, default=0) > steps:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {steps}, but got value {max(input_lengths)} (while checking "
            "arguments for ctc_loss_allocate_outputs)"
        )
    targets = _padded_targets(targets.long(), target_lengths, blank)
    loss = _negative_log_likelihood(log_probs, targets, input_lengths, target_lengths, blank)
    loss = loss + _normalised(log_probs, input_lengths)
    loss = loss.masked_fill(loss > -_IMPOSSIBLE / 2, 0.0 if zero_infinity else float("inf")).to(dtype)
    if reduction == 1:
        divisors = rushlight.tensor(target_lengths, device=loss.device).clamp(min=1).to(loss.dtype)
        return (loss / divisors).mean()
    if reduction == 2:
        return loss.sum()
    return loss if batched else loss.squeeze(0)


@autocasts("full")
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False
):
    """Negative log likelihood of the targets under all their alignments with the input.

    Args:
        log_probs: (T, N, C) or (T, C), as log_softmax gives them.
        targets: (N, S), or all targets in one row.
        blank: the class that stands for no label.
        reduction: "mean" divides each loss by its target's length first.
        zero_infinity: a target too long for its input costs 0 instead of infinity.
    """
    return _ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction_code(reduction), zero_infinity
    )
