"""Convolutions and transposed convolutions in 1, 2 and 3 dimensions; string padding is resolved here."""

from ... import _C
from ..._composite import autocasts, core
from ._args import ntuple

conv_transpose1d = core("conv_transpose1d")
conv_transpose2d = core("conv_transpose2d")
conv_transpose3d = core("conv_transpose3d")


def _resolve_padding(input, weight, stride, padding, dilation, n):
    """Turn "valid" or "same" into numbers, padding the input where the two sides differ."""
    if input.dtype != weight.dtype:
        names = [t.type().rpartition(".")[2].removesuffix("Tensor") for t in (input, weight)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")
    if padding == "valid":
        return input, 0
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if any(step != 1 for step in ntuple(stride, n)):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for d, k in zip(ntuple(dilation, n), weight.shape[2:])]
    if any(total % 2 for total in totals):
        # the odd element goes to the far side
        extra = [side for total in reversed(totals) for side in (0, total % 2)]
        input = _C.constant_pad_nd(input, extra, 0)
    return input, tuple(total // 2 for total in totals)


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of (N, C, L) or (C, L) with weight (out, C / groups, k)."""
    if isinstance(padding, str):
        input, padding = _resolve_padding(input, weight, stride, padding, dilation, 1)
    return _C.conv1d(input, weight, bias, stride, padding, dilation, groups)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of (N, C, H, W) or (C, H, W) with weight (out, C / groups, kh, kw)."""
    if isinstance(padding, str):
        input, padding = _resolve_padding(input, weight, stride, padding, dilation, 2)
    return _C.conv2d(input, weight, bias, stride, padding, dilation, groups)


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of (N, C, D, H, W) or (C, D, H, W) with weight (out, C / groups, kd, kh, kw)."""
    if isinstance(padding, str):
        input, padding = _resolve_padding(input, weight, stride, padding, dilation, 3)
    return _C.conv3d(input, weight, bias, stride, padding, dilation, groups)


@autocasts("lower")
def conv_tbc(input, weight, bias, pad=0):
    """1-d convolution of (time, batch, channels) with weight (k, in, out)."""
    if input.dim() != 3:
        raise RuntimeError("Input must have 3 dims: time, batch, in_channel")
    if weight.dim() != 3:
        raise RuntimeError("Weight tensor must have 3 dims: kernel_width, in_channels, out_channels.")
    if input.size(2) != weight.size(1):
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    output = _C.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad)
    return output.permute(2, 0, 1)
