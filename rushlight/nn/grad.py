"""Gradients of convolutions by themselves, without a forward pass in the graph."""

import rushlight

from . import functional as F


def _gradient(convolve, wanted, other, grad_output, settings):
    """Gradient with respect to a tensor of zeros; a convolution is linear in each of its two arguments."""
    if not (wanted.is_floating_point() or wanted.is_complex()):
        name = "slow_conv3d" if wanted.dim() == 5 else "slow_conv2d"
        raise NotImplementedError(f"\"{name}_cpu_grad\" not implemented for '{wanted.dtype._scalar_name}'")
    with rushlight.enable_grad():
        output = convolve(wanted.requires_grad_(), other, settings)
    keep = rushlight.is_grad_enabled() and (other.requires_grad or grad_output.requires_grad)
    return rushlight.autograd.grad(output, wanted, grad_output, create_graph=keep)[0]


def _of_input(conv, input_size, weight, grad_output, *settings):
    if weight.dim() < 3:
        raise RuntimeError("weight should have at least three dimensions")
    zeros = rushlight.zeros(input_size, dtype=weight.dtype, device=weight.device)
    return _gradient(lambda x, w, s: conv(x, w, None, *s), zeros, weight, grad_output, settings)


def _of_weight(conv, input, weight_size, grad_output, *settings):
    rank = len(weight_size)
    if input.dim() != rank:
        raise RuntimeError(
            f"Expected {rank}-dimensional input for {rank}-dimensional weight {list(weight_size)}, but got "
            f"{input.dim()}-dimensional input of size {list(input.shape)} instead"
        )
    zeros = rushlight.zeros(weight_size, dtype=input.dtype, device=input.device)
    return _gradient(lambda w, x, s: conv(x, w, None, *s), zeros, input, grad_output, settings)


def conv1d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """Gradient of conv1d with respect to its input, which has input_size."""
    return _of_input(F.conv1d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """Gradient of conv1d with respect to its weight, which has weight_size."""
    return _of_weight(F.conv1d, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """Gradient of conv2d with respect to its input, which has input_size."""
    return _of_input(F.conv2d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """Gradient of conv2d with respect to its weight, which has weight_size."""
    return _of_weight(F.conv2d, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """Gradient of conv3d with respect to its input, which has input_size."""
    return _of_input(F.conv3d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """Gradient of conv3d with respect to its weight, which has weight_size."""
    return _of_weight(F.conv3d, input, weight_size, grad_output, stride, padding, dilation, groups)
