"""Dropout of elements and of whole channels. The noise is drawn as PyTorch draws it, one value per element in
memory order, so that equal seeds drop equal elements.
"""

import warnings

import rushlight

from ..._composite import core_first

# alpha' of the SELU activation: the value that a dropped element takes under alpha dropout, negated
_ALPHA = 1.7580993408473766


def _check_probability(p):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _channel_noise(input):
    """An uninitialised tensor with one element per sample and channel, which broadcasts over the rest."""
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return input.new_empty((*input.shape[:2], *[1] * (input.dim() - 2)))


def _drop(input, noise, p, train, inplace):
    """input * noise / (1 - p), where noise() gives the tensor that receives the draws."""
    if p == 0 or not train or input.numel() == 0:
        return input
    if p == 1:
        return (
            input.mul_(0.0)
            if inplace
            else input * rushlight.zeros((), dtype=input.dtype, device=input.device)
        )
    noise = noise(input).bernoulli_(1 - p).div_(1 - p)
    return input.mul_(noise) if inplace else input * noise


def _alpha_drop(input, noise, p, train, inplace):
    """Dropout that keeps mean 0 and variance 1: dropped elements become -alpha', then all are scaled and shifted."""
    if p == 0 or not train or input.numel() == 0:
        return input
    if p == 1:
        return (
            input.mul_(0.0)
            if inplace
            else input * rushlight.zeros((), dtype=input.dtype, device=input.device)
        )
    scale = 1.0 / ((_ALPHA * _ALPHA * p + 1) * (1 - p)) ** 0.5
    kept = noise(input).bernoulli_(1 - p)
    shift = (kept - 1).mul_(_ALPHA * scale).add_(_ALPHA * scale * p)
    kept = kept.mul_(scale)
    return input.mul_(kept).add_(shift) if inplace else input * kept + shift


def _element_noise(input):
    return rushlight.empty_like(input, requires_grad=False)


@core_first("dropout")
def _dropout(input, p, train):
    return _drop(input, _element_noise, p, train, False)


@core_first("dropout_")
def _dropout_(input, p, train):
    return _drop(input, _element_noise, p, train, True)


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p and scale the others by 1 / (1 - p)."""
    _check_probability(p)
    return (_dropout_ if inplace else _dropout)(input, p, training)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout for SELU networks, which keeps mean and variance."""
    _check_probability(p)
    return _alpha_drop(input, _element_noise, p, training, inplace)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """alpha_dropout of whole channels."""
    _check_probability(p)
    return _alpha_drop(input, _channel_noise, p, training, inplace)


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, L) or (C, L) with probability p."""
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs)."
        )
    return _drop_channels(input, p, training, inplace, unbatched=input.dim() == 2)


def _warn_dims(name, dim, spatial, expected):
    warnings.warn(
        f"{name}: Received a {dim}-D input to {name}, which is deprecated and will result in an error in a future "
        "release. To retain the behavior and silence this warning, please use dropout instead. Note that "
        f"{name} exists to provide channel-wise dropout on inputs with {spatial} spatial dimensions, a channel "
        f"dimension, and an optional batch dimension (i.e. {expected} inputs).",
        stacklevel=3,
    )


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, H, W) with probability p; a 3-d input counts as (N, C, L)."""
    _check_probability(p)
    if input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a "
            "future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain "
            "the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    elif input.dim() != 4:
        _warn_dims("dropout2d", input.dim(), 2, "3D or 4D")
    return _drop_channels(input, p, training, inplace)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p."""
    _check_probability(p)
    if input.dim() not in (4, 5):
        _warn_dims("dropout3d", input.dim(), 3, "4D or 5D")
    return _drop_channels(input, p, training, inplace, unbatched=input.dim() != 5)


def _drop_channels(input, p, training, inplace, unbatched=False):
    if not unbatched:
        return _drop(input, _channel_noise, p, training, inplace)
    output = _drop(input.unsqueeze(0), _channel_noise, p, training, inplace)
    return input if inplace else output.squeeze(0)
