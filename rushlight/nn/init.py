"""Initial values of parameters: functions that fill a tensor in place and return it. The random ones draw the same
numbers as PyTorch from the same seed, so the order of draws is part of each of them."""

import math

import rushlight as rl

_GAIN_ONE = (
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid",
)  # fmt: skip


def _warn(text, category=UserWarning):
    import warnings

    warnings.warn(text, category, stacklevel=3)


def calculate_gain(nonlinearity, param=None):
    """The factor that keeps the variance of activations through a nonlinearity.

    Args:
        param: the negative slope, for "leaky_relu" (0.01 by default).
    """
    if nonlinearity in _GAIN_ONE:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        elif isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + param**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _calculate_fan_in_and_fan_out(tensor):
    """Number of inputs of an output and of outputs of an input, of a weight (out, in, *kernel)."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive_field, tensor.shape[0] * receptive_field


def _calculate_correct_fan(tensor, mode):
    modes = ["fan_in", "fan_out"]
    mode = mode.lower()
    if mode not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode)]


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fills with uniform numbers from [a, b)."""
    with rl.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fills with normal numbers."""
    with rl.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor, val):
    """Fills with val."""
    with rl.no_grad():
        return tensor.fill_(val)


def ones_(tensor):
    """Fills with 1."""
    with rl.no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor):
    """Fills with 0."""
    with rl.no_grad():
        return tensor.zero_()


def eye_(tensor):
    """Fills a matrix with the identity (cut to its shape)."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with rl.no_grad():
        tensor.zero_()
        tensor.diagonal().fill_(1)
    return tensor


def dirac_(tensor, groups=1):
    """Fills a convolution weight so that as many channels as possible pass unchanged, in each group."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    out_channels, in_channels, *kernel = tensor.shape
    if out_channels % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = out_channels // groups
    centre = tuple(size // 2 for size in kernel)
    with rl.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, in_channels)):
                tensor[(group * per_group + channel, channel, *centre)] = 1
    return tensor


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Uniform numbers with the variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """Normal numbers with the variance gain^2 * 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Uniform numbers with the variance gain^2 / fan (He et al., 2015).

    Args:
        a: negative slope of leaky_relu.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
    """
    if 0 in tensor.shape:
        _warn("Initializing zero-element tensors is a no-op")
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """Normal numbers with the variance gain^2 / fan (He et al., 2015); the arguments are those of
    kaiming_uniform_."""
    if 0 in tensor.shape:
        _warn("Initializing zero-element tensors is a no-op")
        return tensor
    fan = _calculate_correct_fan(tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(fan)
    return normal_(tensor, 0, std, generator)


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Normal numbers, drawn again until they lie in [a, b]."""
    if mean < a - 2 * std or mean > b + 2 * std:
        _warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect."
        )

    def below(x):
        return (1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0

    with rl.no_grad():
        if below(b) - below(a) > 0.3:
            return _redraw_outside(tensor, mean, std, a, b, generator)
        return _accept_uniform(tensor, mean, std, a, b, generator)


def _redraw_outside(tensor, mean, std, a, b, generator):
    """Most numbers lie inside: draws them all and replaces those that do not."""
    tensor.normal_(mean, std, generator=generator)
    while True:
        outside = (tensor < a) | (tensor > b)
        if not outside.any():
            return tensor
        again = rl.empty_like(tensor).normal_(mean, std, generator=generator)
        tensor.copy_(rl.where(outside, again, tensor))


def _accept_uniform(tensor, mean, std, a, b, generator):
    """A thin or distant interval: uniform candidates, accepted with the density relative to its largest value."""
    tensor.uniform_(a, b, generator=generator)  # checks the bounds
    mode = min(max(mean, a), b)
    at_mode = -0.5 * ((mode - mean) / std) ** 2
    pending = rl.ones_like(tensor, dtype=rl.bool)
    first = True
    while pending.any():
        candidates = tensor.clone() if first else rl.empty_like(tensor).uniform_(a, b, generator=generator)
        first = False
        log_density = -0.5 * ((candidates - mean) / std) ** 2 - at_mode
        accepted = pending & (rl.empty_like(tensor).uniform_(generator=generator).log() <= log_density)
        tensor.copy_(rl.where(accepted, candidates, tensor))
        pending &= ~accepted
    return tensor


def orthogonal_(tensor, gain=1, generator=None):
    """A (semi-)orthogonal matrix times gain; further dimensions count as columns (Saxe et al., 2013)."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    with rl.no_grad():
        noise = rl.empty((rows, tensor.numel() // rows), dtype=tensor.dtype, device=tensor.device)
        noise.normal_(0, 1, generator=generator)
        wide = rows < noise.size(1)
        q, r = rl.linalg.qr(noise.t() if wide else noise)
        q = q * rl.diagonal(r).sign()  # makes the result unique, and uniformly distributed
        tensor.view_as(q.t() if wide else q).copy_(q.t() if wide else q)
        tensor.mul_(gain)
    return tensor


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Normal numbers in a matrix, of which the fraction `sparsity` of each column is set to 0."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with rl.no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            # always from the default generator, as the numbers of PyTorch require
            tensor[rl.randperm(rows)[:zeros], column] = 0
    return tensor


def _deprecated(function):
    name = function.__name__[:-1]

    def old(*args, **kwargs):
        _warn(f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning)
        return function(*args, **kwargs)

    old.__name__ = name
    old.__doc__ = f"The old name of {name}_."
    return old


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
