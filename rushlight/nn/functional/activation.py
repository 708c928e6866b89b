"""Activation functions and softmaxes."""

import warnings

import numpy as np

import rushlight

from ... import _C
from ..._composite import core, core_first, sampled, shown_as

gelu = core("gelu")
logsigmoid = core("log_sigmoid")
hardshrink = core("hardshrink")
softshrink = core("softshrink")
softplus = core("softplus")
prelu = core("prelu")
relu_ = core("relu_")
elu_ = core("elu_")
leaky_relu_ = core("leaky_relu_")
hardtanh_ = core("hardtanh_")
threshold_ = core("threshold_")

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def relu(input, inplace=False):
    """max(0, input)."""
    return _C.relu_(input) if inplace else _C.relu(input)


def relu6(input, inplace=False):
    """input clamped to [0, 6]."""
    return _C.hardtanh_(input, 0.0, 6.0) if inplace else _C.hardtanh(input, 0.0, 6.0)


def threshold(input, threshold, value, inplace=False):
    """input where it exceeds threshold, value elsewhere."""
    return (_C.threshold_ if inplace else _C.threshold)(input, threshold, value)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """input clamped to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return (_C.hardtanh_ if inplace else _C.hardtanh)(input, min_val, max_val)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """input where positive, negative_slope * input elsewhere."""
    return (_C.leaky_relu_ if inplace else _C.leaky_relu)(input, negative_slope)


def elu(input, alpha=1.0, inplace=False):
    """input where positive, alpha * (exp(input) - 1) elsewhere."""
    return (_C.elu_ if inplace else _C.elu)(input, alpha)


@core_first("celu")
def _celu(input, alpha=1.0):
    return _C.elu(input, alpha, 1.0, 1.0 / alpha)


@core_first("celu_")
def celu_(input, alpha=1.0):
    """celu, in place."""
    return _C.elu_(input, alpha, 1.0, 1.0 / alpha)


@sampled(
    "x(3,4)", "x(3,4), alpha=2.0", ref=lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x / alpha))
)
def celu(input, alpha=1.0, inplace=False):
    """input where positive, alpha * (exp(input / alpha) - 1) elsewhere: smooth at 0 for every alpha."""
    return (celu_ if inplace else _celu)(input, alpha)


@core_first("selu")
def _selu(input):
    return _C.elu(input, _SELU_ALPHA, _SELU_SCALE)


@core_first("selu_")
def selu_(input):
    """selu, in place."""
    return _C.elu_(input, _SELU_ALPHA, _SELU_SCALE)


@sampled("x(3,4)", ref=lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(x)))
def selu(input, inplace=False):
    """Scaled elu, whose constants keep activations at mean 0 and variance 1."""
    return selu_(input) if inplace else _selu(input)


def silu(input, inplace=False):
    """input * sigmoid(input), also called swish."""
    return _C.silu_(input) if inplace else _C.silu(input)


def mish(input, inplace=False):
    """input * tanh(softplus(input))."""
    return _C.mish_(input) if inplace else _C.mish(input)


def hardsigmoid(input, inplace=False):
    """relu6(input + 3) / 6."""
    return _C.hardsigmoid_(input) if inplace else _C.hardsigmoid(input)


def hardswish(input, inplace=False):
    """input * relu6(input + 3) / 6."""
    return _C.hardswish_(input) if inplace else _C.hardswish(input)


def sigmoid(input):
    """1 / (1 + exp(-input))."""
    return input.sigmoid()


def tanh(input):
    """Hyperbolic tangent."""
    return input.tanh()


@sampled("x(3,4)", ref=lambda x: x - np.tanh(x))
def tanhshrink(input):
    """input - tanh(input)."""
    return input - input.tanh()


@sampled("x(3,4)", ref=lambda x: x / (1 + np.abs(x)))
def softsign(input):
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


@core_first("glu")
def _glu(input, dim=-1):
    if input.dim() == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    size = input.size(dim)
    if size % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim % input.dim()} is size {size}"
        )
    values, gates = input.chunk(2, dim)
    return values * gates.sigmoid()


@sampled(
    "x(3,4)", "x(4,3), dim=0", ref=lambda x, dim=-1: (lambda a, b: a / (1 + np.exp(-b)))(*np.split(x, 2, dim))
)
@shown_as("GluBackward0")
def glu(input, dim=-1):
    """Gated linear unit: the first half along dim times the sigmoid of the second."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    return _glu(input, dim)


def _rrelu_slopes(input, lower, upper, training):
    """The factor of each element: 1 where positive; elsewhere drawn (training) or the mean slope."""
    negative = input.detach() <= 0
    slopes = rushlight.ones_like(input, requires_grad=False)
    if not training:
        return slopes.masked_fill_(negative, (lower + upper) / 2)
    # one double per non-positive element, in memory order, as in PyTorch
    draws = rushlight.empty(int(negative.sum()), dtype=rushlight.float64).uniform_(lower, upper)
    slopes[negative] = draws.to(input.dtype)
    return slopes


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """leaky_relu whose slope is drawn from [lower, upper] for each element in training."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = _rrelu_slopes(input, lower, upper, training)
    return input.mul_(slopes) if inplace else input * slopes


def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False):
    """rrelu, in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def _implicit_dim(name, ndim, stacklevel):
    """The dimension that a softmax without dim works on, a choice kept only for old programs."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(input) divided by its sum along dim."""
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return _C.softmax(input, dim) if dtype is None else _C.softmax(input, dim, dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """Logarithm of softmax, computed without overflow."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return _C.log_softmax(input, dim) if dtype is None else _C.log_softmax(input, dim, dtype)


@sampled("x(3,4), dim=1", ref=lambda x, dim: np.exp(-x) / np.exp(-x).sum(dim, keepdims=True))
def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """softmax of -input."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return softmax(-input, dim, dtype=dtype)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A sample of the Gumbel-softmax distribution; hard makes it one-hot with the soft sample's gradient."""
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    # drawn in the order of the elements, whatever the strides
    draws = rushlight.empty_like(logits, requires_grad=False, memory_format=rushlight.contiguous_format)
    gumbels = -draws.exponential_().log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = rushlight.zeros_like(logits, requires_grad=False).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
