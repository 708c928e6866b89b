"""Losses that ask for a margin: between pairs, triplets, or the scores of right and wrong classes."""

import numpy as np

import rushlight

from ..._composite import autocasts, core_first, sampled
from ._args import reduce_loss, reduction_code, resolve_reduction
from .activation import logsigmoid
from .distance import pairwise_distance


@autocasts("full")
def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """1 - cosine where target is 1, max(0, cosine - margin) where it is -1."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    reduction_code(reduction)
    if target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.dim() == input2.dim() == target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    tiny = 1e-12
    lengths = ((input1 * input1).sum(-1) + tiny) * ((input2 * input2).sum(-1) + tiny)
    cosine = (input1 * input2).sum(-1) / lengths.sqrt()
    zeros = rushlight.zeros_like(cosine)
    alike = rushlight.where(target == 1, 1 - cosine, zeros)
    apart = rushlight.where(target == -1, (cosine - margin).clamp(min=0), zeros)
    return reduce_loss(alike + apart, reduction)


@autocasts("full")
def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """max(0, margin - target * (input1 - input2)): target 1 ranks input1 higher, -1 lower."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    reduction_code(reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return reduce_loss((-target * (input1 - input2) + margin).clamp(min=0), reduction)


@autocasts("full")
def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """input where target is 1, max(0, margin - input) where it is -1."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    reduction_code(reduction)
    zeros = rushlight.zeros_like(input)
    apart = rushlight.where(target != 1, (margin - input).clamp(min=0), zeros)
    alike = rushlight.where(target != -1, input, zeros)
    return reduce_loss(apart + alike, reduction)


def _triplet(anchor, positive, negative, distance, margin, swap, reduction):
    dims = anchor.dim(), positive.dim(), negative.dim()
    if len(set(dims)) != 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {dims[0]}D, positive {dims[1]}D, and negative {dims[2]}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = rushlight.minimum(far, distance(positive, negative))
    return reduce_loss((margin + near - far).clamp(min=0), reduction)


def _check_margin(margin):
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")


@autocasts("full")
def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """max(0, margin + distance(anchor, positive) - distance(anchor, negative)), with the p-norm.

    Args:
        swap: use the nearer of anchor and positive as the one to keep away from negative.
    """
    reduction = resolve_reduction(size_average, reduce, reduction)
    reduction_code(reduction)
    _check_margin(margin)
    return _triplet(
        anchor, positive, negative, lambda a, b: pairwise_distance(a, b, p, eps), margin, swap, reduction
    )


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """triplet_margin_loss with any distance function."""
    _check_margin(margin)
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


@core_first("soft_margin_loss")
def _soft_margin_loss(input, target, reduction=1):
    loss = (-input * target).exp().log1p()
    return loss.mean() if reduction == 1 else loss.sum() if reduction == 2 else loss


@autocasts("full")
@sampled("x(3,4), x(3,4)", ref=lambda x, target: np.log1p(np.exp(-target * x)).mean())
def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """log(1 + exp(-target * input)) for targets of 1 and -1."""
    return _soft_margin_loss(
        input, target, reduction_code(resolve_reduction(size_average, reduce, reduction))
    )


def _check_scores(input, name, target, weight=None):
    """input as a matrix and target as its rows' classes."""
    if input.dim() not in (1, 2) or input.size(-1) == 0:
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    rows = input.size(0) if input.dim() == 2 else 1
    if target.dim() > 1 or target.numel() != rows:
        raise RuntimeError(
            f"{name}: target tensor should be 1-D with size equal to the number of input samples (batch size). "
            f"Expected target size [{rows}], but got {list(target.shape)}. Input has shape {list(input.shape)}."
        )
    if target.dtype != rushlight.int64:
        found = target.type().split(".")[-1].removesuffix("Tensor")
        raise RuntimeError(f"expected scalar type Long but found {found}")
    if weight is not None and weight.numel() != input.size(-1):
        raise RuntimeError(
            f"inconsistent weight size, expected {input.size(-1)} but got {list(weight.shape)}"
        )
    return input.reshape(rows, input.size(-1)), target.reshape(rows)


@core_first("multi_margin_loss")
def _multi_margin_loss(input, target, p=1, margin=1.0, weight=None, reduction=1):
    scores, classes = _check_scores(input, "multi_margin_loss", target, weight)
    count = scores.size(1)
    if classes.numel() and not (int(classes.min()) >= 0 and int(classes.max()) < count):
        raise RuntimeError("target out of range")
    column = classes.unsqueeze(1)
    excess = (margin - scores.gather(1, column) + scores).clamp(min=0)
    if p == 2:
        excess = excess * excess
    if weight is not None:
        excess = excess * weight[column]
    others = rushlight.arange(count, device=input.device) != column
    loss = (excess * others).sum(1) / count
    if reduction == 0:
        return loss if input.dim() == 2 else loss.reshape(target.shape)
    return loss.mean() if reduction == 1 else loss.sum()


@autocasts("full")
def multi_margin_loss(
    input,
    target,
    p=1,
    margin=1.0,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """Mean over the wrong classes of max(0, margin - right score + wrong score) ** p."""
    reduction = reduction_code(resolve_reduction(size_average, reduce, reduction))
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    return _multi_margin_loss(input, target, p, margin, weight, reduction)


@core_first("multilabel_margin_loss")
def _multilabel_margin_loss(input, target, reduction=1):
    if input.dim() not in (0, 1, 2) or (input.dim() and input.size(-1) == 0):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    if input.shape != target.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    if target.dtype != rushlight.int64:
        found = target.type().split(".")[-1].removesuffix("Tensor")
        raise RuntimeError(f"expected scalar type Long but found {found}")
    count = input.size(-1) if input.dim() else 1
    scores, labels = input.reshape(-1, count), target.reshape(-1, count)
    if labels.numel() and (int(labels.min()) < -1 or int(labels.max()) >= count):
        raise RuntimeError("argument #2 'target' is out of range")
    listed = (labels < 0).to(rushlight.int64).cumsum(1) == 0  # a row's labels end at its first -1
    columns = labels.clamp(min=0)
    right = rushlight.zeros(labels.shape, dtype=rushlight.int64, device=input.device)
    right = right.scatter_add_(1, columns, listed.to(rushlight.int64)) > 0
    margins = (1 - scores.gather(1, columns).unsqueeze(2) + scores.unsqueeze(1)).clamp(
        min=0
    )  # (N, label, class)
    counted = listed.unsqueeze(2) & ~right.unsqueeze(1)
    loss = (margins * counted).sum((1, 2)) / count
    if reduction == 0:
        return loss.reshape(input.shape[:-1])
    return loss.mean() if reduction == 1 else loss.sum()


@autocasts("full")
def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """Sum over right and wrong classes of max(0, 1 - right score + wrong score), divided by their number.

    Args:
        target: the right classes of each row, ended by -1.
    """
    return _multilabel_margin_loss(
        input, target, reduction_code(resolve_reduction(size_average, reduce, reduction))
    )


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """Binary cross entropy of sigmoid(input), averaged over the classes."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    return reduce_loss(loss.sum(-1) / input.size(-1), reduction)
