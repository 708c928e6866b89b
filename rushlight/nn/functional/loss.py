"""Losses of regression and classification. Margin losses are in margin_loss.py, connectionist loss in ctc.py."""

import math
import warnings

import numpy as np

import rushlight

from ... import _C
from ..._composite import autocasts, core_first, sampled
from ._args import reduce_loss, reduction_code, resolve_reduction

_MEAN = {"none": lambda x: x, "mean": np.mean, "sum": np.sum}


def _warn_sizes(input, target, stacklevel=3):
    if target.size() != input.size():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=stacklevel,
        )


def _check_weight(weight, input):
    if weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")


def _weighted(loss, weight, reduction):
    """Reduce weighted losses; the mean divides by the sum of the weights."""
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction_code(reduction) == 1 else reduce_loss(loss, reduction)


# regression


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """Mean of the squared differences.

    >>> F.mse_loss(rl.tensor([1.0, 2.0]), rl.tensor([1.0, 4.0]))
    tensor(2.)
    """
    _warn_sizes(input, target)
    reduction = resolve_reduction(size_average, reduce, reduction)
    input, target = rushlight.broadcast_tensors(input, target)
    if weight is None:
        return _C.mse_loss(input, target, reduction_code(reduction))
    _check_weight(weight, input)
    return _weighted(_C.mse_loss(input, target, 0), weight, reduction)


@autocasts("full")
@sampled(
    "x(3,4), x(3,4)",
    "x(3,4), x(3,4), reduction='sum'",
    ref=lambda a, b, reduction="mean": _MEAN[reduction](np.abs(a - b)),
)
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """Mean of the absolute differences."""
    _warn_sizes(input, target, stacklevel=4)  # there is a decorator in between
    reduction = resolve_reduction(size_average, reduce, reduction)
    input, target = rushlight.broadcast_tensors(input, target)
    if weight is None:
        return reduce_loss((input - target).abs(), reduction)
    _check_weight(weight, input)
    return _weighted((input - target).abs(), weight, reduction)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """Squared difference / (2 beta) where it is below beta, absolute difference - beta / 2 elsewhere."""
    _warn_sizes(input, target)
    reduction = resolve_reduction(size_average, reduce, reduction)
    input, target = rushlight.broadcast_tensors(input, target)
    if beta == 0.0:
        return reduce_loss((input - target).abs(), reduction)
    return _C.smooth_l1_loss(input, target, reduction_code(reduction), beta)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """Half the squared difference where it is below delta, delta * (absolute difference - delta / 2) elsewhere."""
    _warn_sizes(input, target)
    input, target = rushlight.broadcast_tensors(input, target)
    if weight is None:
        return _C.huber_loss(input, target, reduction_code(reduction), delta)
    _check_weight(weight, input)
    return reduce_loss(_C.huber_loss(input, target, 0, delta) * weight, reduction)


@autocasts("full")
def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"
):
    """Negative log likelihood of a Poisson distribution with rate exp(input), or input where log_input is False."""
    reduction = resolve_reduction(size_average, reduce, reduction)
    if reduction not in _MEAN:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0.0)
    return reduce_loss(loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Negative log likelihood of a normal distribution with mean input and variance var (at least eps)."""
    if not isinstance(var, rushlight.Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * rushlight.ones_like(input)
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)  # one variance per vector
        elif input.size()[:-1] != var.size()[:-1] or var.size(-1) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in _MEAN:
        raise ValueError(f"{reduction} is not valid")
    # the clamp is no part of the gradient
    var = var.clone()
    with rushlight.no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduce_loss(loss, reduction)


# probabilities


def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """-(target * log(input) + (1 - target) * log(1 - input)), logarithms clamped at -100."""
    reduction = reduction_code(resolve_reduction(size_average, reduce, reduction))
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if weight is not None:
        shape = rushlight.broadcast_shapes(target.size(), weight.size())
        if shape != target.size():
            raise RuntimeError(
                f"output with shape {list(target.size())} doesn't match the broadcast shape {list(shape)}"
            )
        weight = weight.expand(shape)
    return _C.binary_cross_entropy(input, target, weight, reduction)


def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """binary_cross_entropy of sigmoid(input), without overflow; pos_weight weighs the positive class."""
    reduction = reduction_code(resolve_reduction(size_average, reduce, reduction))
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    return _C.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


@autocasts("full")
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """Kullback-Leibler divergence of target from exp(input), element by element, then reduced.

    Args:
        input: logarithms of probabilities.
        target: probabilities, or their logarithms where log_target is True.
        reduction: "batchmean" divides the sum by the batch size, which is the divergence as defined.
    """
    reduction = resolve_reduction(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            stacklevel=3,  # there is a decorator in between
        )
    if not (input.is_floating_point() and target.is_floating_point()):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = rushlight.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return reduce_loss(loss, "sum") / (input.size(0) if input.dim() else 1)
    return reduce_loss(loss, reduction)


# class indices


@core_first("nll_loss2d")
def _nll_loss2d(input, target, weight=None, reduction=1, ignore_index=-100):
    """nll_loss of (N, C, H, W) and (N, H, W): every position counts as one sample."""
    if target.dim() != 3:
        raise RuntimeError(
            f"only batches of spatial targets supported (3D tensors) but got targets of dimension: {target.dim()}"
        )
    n, classes, height, width = input.shape
    if tuple(target.shape) != (n, height, width):
        raise RuntimeError(f"size mismatch (got input: {list(input.shape)} , target: {list(target.shape)}")
    if weight is not None and weight.numel() != classes:
        raise RuntimeError("weight tensor should be defined either for all or no classes")
    samples = input.permute(0, 2, 3, 1).reshape(-1, classes)
    loss = _C.nll_loss(samples, target.reshape(-1), weight, reduction, ignore_index)
    return loss.view(n, height, width) if reduction == 0 else loss


def _nll_loss_nd(input, target, weight, reduction, ignore_index):
    """nll_loss of any rank; reduction is the core's number."""
    if input.dim() < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {input.dim()})")
    if input.dim() == 1 and target.dim() == 1 and target.size(0) != 1:
        raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {target.size(0)}")
    if input.dim() > 1 and target.dim() > 0 and input.size(0) != target.size(0):
        raise ValueError(
            f"Expected input batch_size ({input.size(0)}) to match target batch_size ({target.size(0)})."
        )
    if input.dim() <= 2:
        return _C.nll_loss(input, target, weight, reduction, ignore_index)
    if input.dim() == 4:
        return _nll_loss2d(input, target, weight, reduction, ignore_index)
    n, classes, *rest = input.shape
    if list(target.shape[1:]) != rest:
        raise RuntimeError(f"Expected target size {[n, *rest]}, got {list(target.shape)}")
    loss = _nll_loss2d(
        input.reshape(n, classes, 1, math.prod(rest)),
        target.reshape(n, 1, math.prod(rest)),
        weight,
        reduction,
        ignore_index,
    )
    return loss.view(n, *rest) if reduction == 0 else loss


def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """Minus the input at the target's class: the negative log likelihood of log-probabilities.

    Args:
        input: (C), (N, C) or (N, C, d1, ...).
        target: class indices of shape (), (N) or (N, d1, ...); ignore_index takes no part.
        weight: one factor per class; the mean divides by the sum of the factors used.
    """
    reduction = reduction_code(resolve_reduction(size_average, reduce, reduction))
    return _nll_loss_nd(input, target, weight, reduction, ignore_index)


def _check_class_weight(weight, classes, prefix=""):
    if weight is not None and (weight.dim() != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"{prefix}weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: {list(weight.shape)}"
        )


def _check_smoothing(label_smoothing):
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")


def _per_class(weight, input, class_dim):
    """weight shaped to broadcast along the class dimension."""
    shape = [1] * input.dim()
    shape[class_dim] = weight.numel()
    return weight.view(shape)


def _soft_target_loss(input, target, weight, reduction, label_smoothing, class_dim):
    """Cross entropy with class probabilities."""
    classes = input.size(class_dim)
    _check_class_weight(weight, classes, "cross_entropy: ")
    logs = _C.log_softmax(input, class_dim)
    if label_smoothing > 0.0:
        _check_smoothing(label_smoothing)
        target = target * (1 - label_smoothing) + label_smoothing / classes
    products = logs * target
    if weight is not None:
        products = products * _per_class(weight, input, class_dim)
    if reduction == 0:
        return -products.sum(class_dim)
    total = -products.sum()
    if reduction == 2:
        return total
    samples = input.numel() // classes if classes else 0
    return _C._div_scalar(total, samples) if samples else total * float("nan")


def _smoothed_loss(input, target, weight, reduction, ignore_index, label_smoothing, class_dim):
    """Cross entropy with class indices whose one-hot vectors are mixed with the uniform distribution."""
    _check_smoothing(label_smoothing)
    classes = input.size(class_dim)
    logs = _C.log_softmax(input, class_dim)
    sharp = _nll_loss_nd(logs, target, weight, reduction, ignore_index)
    weighted = logs if weight is None else logs * _per_class(weight, input, class_dim)
    ignored = target == ignore_index
    uniform = (-weighted.sum(class_dim)).masked_fill(ignored, 0.0)
    if reduction == 2:
        uniform = uniform.sum()
    elif reduction == 1 and weight is None:
        uniform = uniform.sum() / (~ignored).sum()
    elif reduction == 1:
        uniform = uniform.sum() / weight.gather(0, target.masked_select(~ignored).flatten()).sum()
    return (1 - label_smoothing) * sharp + uniform * (label_smoothing / classes)


@core_first("cross_entropy_loss")
def _cross_entropy_loss(input, target, weight=None, reduction=1, ignore_index=-100, label_smoothing=0.0):
    class_dim = 0 if input.dim() == 1 else 1
    if input.shape == target.shape:
        if not target.is_floating_point():
            name = target.type().split(".")[-1].removesuffix("Tensor")
            raise RuntimeError(
                f"Expected floating point type for target with class probabilities, got {name}"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_target_loss(input, target, weight, reduction, label_smoothing, class_dim)
    if label_smoothing > 0.0:
        return _smoothed_loss(input, target, weight, reduction, ignore_index, label_smoothing, class_dim)
    return _nll_loss_nd(_C.log_softmax(input, class_dim), target, weight, reduction, ignore_index)


_cross_entropy_in_float32 = autocasts("full")(_cross_entropy_loss)


def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """Negative log likelihood of softmax(input) over the classes.

    Args:
        input: logits of shape (C), (N, C) or (N, C, d1, ...).
        target: class indices of shape (), (N) or (N, d1, ...), or probabilities of the input's shape.
        label_smoothing: share of the uniform distribution mixed into the target, in [0, 1].

    >>> F.cross_entropy(rl.zeros(2, 4), rl.tensor([0, 3]))
    tensor(1.3863)
    """
    reduction = reduction_code(resolve_reduction(size_average, reduce, reduction))
    compute = _cross_entropy_in_float32 if _C._autocasting() else _cross_entropy_loss
    return compute(input, target, weight, reduction, ignore_index, label_smoothing)
