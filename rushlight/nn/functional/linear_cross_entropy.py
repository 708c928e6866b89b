"""Cross entropy of a linear map of the input, whole or in chunks of the batch."""

import warnings

import rushlight

from .linear import linear
from .loss import cross_entropy


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """cross_entropy(linear(input, linear_weight, linear_bias), target, ...) for input (F) or (N, F).

    Args:
        linear_weight: (C, F) for C classes; (C, d1, ..., dK, F) makes N * d1 * ... * dK predictions.
        linear_bias: (C) or (C, d1, ..., dK).
        ignore_index: None means -100 where target holds class indices.
        options: an nn.LinearCrossEntropyOptions: works through the batch in chunks, so that the (N, C) scores never
            exist at once. That way takes class indices only, and cannot be differentiated twice.
    """
    spread = tuple(linear_weight.shape[1:-1])
    _check(input, linear_weight, linear_bias, spread)
    indices = not target.is_floating_point()
    if ignore_index is not None and not indices and target.dim() > 1:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    settings = {
        "weight": weight,
        "reduction": reduction,
        "ignore_index": -100 if ignore_index is None else ignore_index,
        "label_smoothing": label_smoothing,
    }
    if options is not None:
        reasons = reduction in ("mean", "sum", "none"), label_smoothing == 0, target.dtype == rushlight.int64
        if all(reasons) and spread == ():
            return _in_chunks(input, linear_weight, target, linear_bias, options, settings)
        bias_shape = None if linear_bias is None else tuple(linear_bias.shape)
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; chunked path needs reduction in {'mean','sum','none'}, "
            f"label_smoothing == 0, target.dtype == int64, out_features == (). Got reduction={reduction!r}, "
            f"label_smoothing={label_smoothing}, target.dtype={target.dtype}, out_features={spread}, tracing=False, "
            f"linear_bias.shape={bias_shape}.",
            stacklevel=2,
        )
    if not spread:
        return cross_entropy(linear(input, linear_weight, linear_bias), target, **settings)
    classes = linear_weight.size(0)
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    scores = linear(input, linear_weight.reshape(-1, linear_weight.size(-1)), bias)
    return cross_entropy(scores.view(input.size(0), classes, *spread), target, **settings)


def _check(input, linear_weight, linear_bias, spread):
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    features = linear_weight.size(-1)
    if input.size(-1) != features:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {input.size(-1)} and {features}, respectively"
        )
    if spread and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    wanted = (linear_weight.size(0), *spread)
    if linear_bias is not None and tuple(linear_bias.shape) != wanted:
        raise RuntimeError(f"expected linear_bias shape {wanted}, got {tuple(linear_bias.shape)}")


def _in_chunks(input, linear_weight, target, linear_bias, options, settings):
    reduction = settings["reduction"]
    batched = input.dim() == 2
    rows, labels = (input, target) if batched else (input.unsqueeze(0), target.unsqueeze(0))
    if labels.dim() != 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if len(labels) != len(rows):
        raise ValueError(f"Expected input batch_size ({len(rows)}) to match target batch_size ({len(labels)}).")
    losses, counts = _ChunkedLosses.apply(
        rows, linear_weight, linear_bias, labels, settings["weight"], settings["ignore_index"], options
    )
    if reduction == "none":
        return losses if batched else losses.squeeze(0)
    return losses.sum() / counts.sum() if reduction == "mean" else losses.sum()


class _ChunkedLosses(rushlight.autograd.Function):
    """The loss of each row and its weight in a mean. The scores of a chunk are made anew in backward."""

    @staticmethod
    def forward(ctx, input, linear_weight, linear_bias, target, weight, ignore_index, options):
        ctx.save_for_backward(input, linear_weight, linear_bias, target, weight)
        ctx.ignore_index, ctx.options = ignore_index, options
        losses = input.new_empty(input.size(0))
        for part in _chunks(input, options):
            scores = linear(input[part], linear_weight, linear_bias)
            losses[part] = cross_entropy(
                scores, target[part], weight, ignore_index=ignore_index, reduction="none"
            )
        known = target != ignore_index
        factors = known.to(input.dtype) if weight is None else weight[target.where(known, 0)] * known
        ctx.mark_non_differentiable(factors)
        return losses, factors

    @staticmethod
    @rushlight.autograd.function.once_differentiable
    def backward(ctx, grad_losses, _):
        input, linear_weight, linear_bias, target, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        wide = ctx.options.acc_dtype or (rushlight.float32 if input.dtype.itemsize < 4 else input.dtype)
        grad_input = rushlight.empty_like(input) if wanted[0] else None
        grad_weight = rushlight.zeros_like(linear_weight, dtype=wide) if wanted[1] else None
        grad_bias = rushlight.zeros_like(linear_bias, dtype=wide) if wanted[2] else None
        for part in _chunks(input, ctx.options):
            rows = input[part]
            scores = linear(rows, linear_weight, linear_bias).requires_grad_()
            with rushlight.enable_grad():
                losses = cross_entropy(
                    scores, target[part], weight, ignore_index=ctx.ignore_index, reduction="none"
                )
            (grad_scores,) = rushlight.autograd.grad(losses, scores, grad_losses[part])
            if wanted[0]:
                grad_input[part] = grad_scores @ linear_weight
            if wanted[1]:
                grad_weight += grad_scores.t() @ rows
            if wanted[2]:
                grad_bias += grad_scores.sum(0, dtype=wide)
        grads = [
            None if g is None else g.to(t.dtype)
            for g, t in zip((grad_input, grad_weight, grad_bias), (input, linear_weight, linear_bias))
        ]
        return (*grads, None, None, None, None)


def _chunks(input, options):
    """The slices of the batch that are worked on one after another."""
    count, features = input.shape
    size = max(1, options.rows_at_once(count, features))
    return [slice(start, start + size) for start in range(0, count, size)]
