"""Window functions for spectral analysis."""

import math

from .. import _C

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]


def _window(name, length, periodic, options, shape):
    """shape(n, steps) of the positions n; a periodic window is one step longer, without its last point."""
    dtype = options.pop("dtype", None) or _C.get_default_dtype()
    requires_grad = options.pop("requires_grad", False)
    options = {key: value for key, value in options.items() if key in ("device",)}
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    if length <= 1:
        return _C.ones(length, dtype=dtype, **options).requires_grad_(requires_grad)
    total = length + 1 if periodic else length
    compute = dtype if dtype in (_C.float32, _C.float64) else _C.float32
    values = shape(_C.arange(total, dtype=compute, **options), total - 1)
    return values.narrow(0, 0, length).clone().to(dtype).requires_grad_(requires_grad)


def hann_window(window_length, periodic=True, **options):
    """The Hann window: one period of (1 - cos) / 2.

    >>> rl.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window("hann_window", window_length, periodic, options, _cosine(0.5, 0.5))


def hamming_window(window_length, periodic=True, alpha=0.54, beta=0.46, **options):
    """The Hamming window: alpha - beta * cos."""
    return _window("hamming_window", window_length, periodic, options, _cosine(alpha, beta))


def _cosine(alpha, beta):
    return lambda n, steps: (n * (2 * math.pi / steps)).cos() * -beta + alpha


def bartlett_window(window_length, periodic=True, **options):
    """The Bartlett window: a triangle from 0 to 1 and back."""
    return _window(
        "bartlett_window", window_length, periodic, options, lambda n, steps: 1 - (n * (2 / steps) - 1).abs()
    )


def blackman_window(window_length, periodic=True, **options):
    """The Blackman window: 0.42 - 0.5 cos + 0.08 cos of the double angle."""

    def shape(n, steps):
        angle = n * (math.pi / steps)
        return (angle * 4).cos() * 0.08 - (angle * 2).cos() * 0.5 + 0.42

    return _window("blackman_window", window_length, periodic, options, shape)


def kaiser_window(window_length, periodic=True, beta=12.0, **options):
    """The Kaiser window of shape parameter beta."""

    def shape(n, steps):
        x = n * (2 / steps) - 1
        inside = (1 - x * x).clamp(min=0).sqrt() * beta
        return _C.i0(inside) / _C.i0(_C.tensor(float(beta), dtype=n.dtype))

    return _window("kaiser_window", window_length, periodic, options, shape)
