"""Limiting the size of gradients between backward and the optimiser's step."""

import rushlight as rl
from rushlight import Tensor

from ..._C import _scale_, _total_norm


def _as_list(parameters):
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of all tensors taken together as one vector.

    Args:
        error_if_nonfinite: raise when it is nan or infinite.
        foreach: accepted for compatibility; there is one implementation.
    """
    tensors = _as_list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return rl.tensor(0.0)
    total = _total_norm(tensors, norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Multiplies all gradients by max_norm / total_norm where that is below 1."""
    grads = [p.grad for p in _as_list(parameters) if p.grad is not None]
    with rl.no_grad():
        factor = rl.clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
        if factor != 1:  # also for nan
            _scale_(grads, factor)


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales all gradients so that their common norm is at most max_norm. Returns the norm before scaling."""
    parameters = _as_list(parameters)
    with rl.no_grad():
        grads = [p.grad for p in parameters if p.grad is not None]
        total = get_total_norm(grads, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The old name of clip_grad_norm_."""
    import warnings

    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite)


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Clamps every element of the gradients to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    with rl.no_grad():
        for p in _as_list(parameters):
            if p.grad is not None:
                p.grad.clamp_(min=-clip_value, max=clip_value)
