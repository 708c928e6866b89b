"""Normalisation over batches, layers, groups, instances and neighbouring channels."""

import numpy as np

import rushlight

from ... import _C
from ..._composite import core_first, sampled


def _check_batch(size):
    """Statistics of a single value per channel would be meaningless."""
    values = size[0]
    for extent in size[2:]:
        values *= extent
    if values == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")


def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05
):
    """Normalise each channel by the statistics of the batch (training) or by the running ones."""
    if training:
        _check_batch(input.size())
    return _C.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """Normalise over the last dimensions, whose sizes are normalized_shape."""
    return _C.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """Divide by the root mean square over the last dimensions."""
    normalized_shape = tuple(normalized_shape)
    if input.dim() < len(normalized_shape):
        raise ValueError(
            f"Input tensor must have at least {len(normalized_shape)} dimensions, but got {input.dim()}"
        )
    return _C.rms_norm(input, normalized_shape, weight, eps)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-05):
    """Normalise over each sample's groups of channels."""
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    size = input.size()
    _check_batch([size[0] * size[1] // num_groups, num_groups, *size[2:]])
    return _C.group_norm(input, num_groups, weight, bias, eps)


@core_first("instance_norm")
def _instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps):
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    n, c = input.size(0), input.size(1)
    per_instance = [None if x is None else x.repeat(n) for x in (weight, bias, running_mean, running_var)]
    # every instance becomes channels of one sample
    as_channels = input.contiguous().view(1, n * c, *input.shape[2:])
    output = _C.batch_norm(as_channels, *per_instance, use_input_stats, momentum, eps)
    if use_input_stats:
        for running, updated in ((running_mean, per_instance[2]), (running_var, per_instance[3])):
            if running is not None:
                running.detach().copy_(updated.view(n, c).mean(0))
    return output.view(input.shape)


def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-05,
):
    """Normalise each channel of each sample."""
    if use_input_stats:
        values = 1
        for extent in input.shape[2:]:
            values *= extent
        if values == 1:
            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size {input.size()}"
            )
    return _instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)


def _local_response_reference(x, size, alpha=1e-4, beta=0.75, k=1.0):
    padding = [(0, 0)] * x.ndim
    padding[1] = (size // 2, (size - 1) // 2)
    squares = np.pad(x * x, padding)
    sums = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    return x / (k + alpha * sums / size) ** beta


@sampled("x(2,5,4), 3", "x(2,5,4), 2, alpha=0.5, k=2.0", ref=_local_response_reference)
def local_response_norm(input, size, alpha=0.0001, beta=0.75, k=1.0):
    """Divide by a power of the mean square of `size` neighbouring channels."""
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality{' ' * 26}input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    squares = (input * input).flatten(2).unsqueeze(1)  # (N, 1, C, positions)
    squares = _C.constant_pad_nd(squares, (0, 0, size // 2, (size - 1) // 2), 0)
    means = _C.avg_pool2d(squares, (size, 1), (1, 1)).view(input.shape)
    return input / (means * alpha + k) ** beta


@sampled(
    "x(3,4)",
    "x(3,4), dim=0",
    ref=lambda x, dim=1: x / np.maximum(np.sqrt((x * x).sum(dim, keepdims=True)), 1e-12),
)
def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """Divide by the p-norm along dim, or by eps where that is larger."""
    norm = input.norm(p, dim, keepdim=True)
    if out is None:
        return input / norm.clamp_min(eps).expand_as(input)
    return rushlight.div(input, norm.clamp_min_(eps).expand_as(input), out=out)
