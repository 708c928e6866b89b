"""Discrete Fourier transforms, computed by numpy.fft, with derivatives of any order.

Three primitives do the work, all without normalisation: complex to complex over several dimensions, real to half
spectrum, and half spectrum to real over one. Everything else is padding, scaling and order of dimensions.
"""

import math

import numpy as np

from . import _C
from ._composite import sampled
from .autograd import Function
from .autograd.function import recorded_as

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft",
    "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

# ---- primitives ----


def _computed(x, transform, dtype):
    """transform(array of x) as a tensor; old NumPy versions answer in double precision."""
    return _C.from_numpy(np.ascontiguousarray(transform(x.detach().resolve_conj().numpy()))).to(dtype)


_COMPLEX_OF = {_C.float32: _C.complex64, _C.float64: _C.complex128}
_REAL_OF = {_C.complex64: _C.float32, _C.complex128: _C.float64}


@recorded_as("FftC2CBackward0")
class FftC2C(Function):
    """Complex to complex over dims: sums with exp(-i...), or exp(+i...) when inverse."""

    forward_from_backward = True

    @staticmethod
    def forward(ctx, x, dims, inverse):
        ctx.dims, ctx.inverse = dims, inverse
        if inverse:
            return _computed(x, lambda a: np.fft.ifftn(a, axes=dims, norm="forward"), x.dtype)
        return _computed(x, lambda a: np.fft.fftn(a, axes=dims), x.dtype)

    @staticmethod
    def backward(ctx, grad):
        return FftC2C.apply(grad, ctx.dims, not ctx.inverse), None, None


@recorded_as("FftR2CBackward0")
class FftC2COfReal(FftC2C):
    """All frequencies of real numbers, which come as complex ones; PyTorch names it by what it was given."""


@recorded_as("FftR2CBackward0")
class FftR2C(Function):
    """Real to the first half of the spectrum, over one dimension."""

    forward_from_backward = True

    @staticmethod
    def forward(ctx, x, dim):
        ctx.dim, ctx.length = dim, x.shape[dim]
        return _computed(x, lambda a: np.fft.rfft(a, axis=dim), _COMPLEX_OF[x.dtype])

    @staticmethod
    def backward(ctx, grad):
        return FftC2C.apply(_resized(grad, ctx.dim, ctx.length), (ctx.dim,), True).real, None


@recorded_as("FftC2RBackward0")
class FftC2R(Function):
    """Half spectrum to n real numbers, over one dimension, with exp(+i...)."""

    forward_from_backward = True

    @staticmethod
    def forward(ctx, x, dim, n):
        ctx.dim, ctx.half = dim, x.shape[dim]
        return _computed(x, lambda a: np.fft.irfft(a, n, axis=dim, norm="forward"), _REAL_OF[x.dtype])

    @staticmethod
    def backward(ctx, grad):
        n, half, dim = grad.shape[ctx.dim], ctx.half, ctx.dim
        # all but the first (and, for even n, the middle) frequency stand for two of the full spectrum
        count = _C.ones(half, dtype=grad.dtype)
        count[1 : n - half + 1] = 2
        shape = [1] * grad.dim()
        shape[dim] = half
        return FftR2C.apply(grad, dim) * count.reshape(shape), None, None


def _resized(x, dim, length):
    """x cut or padded with zeros to length along dim."""
    missing = length - x.shape[dim]
    if missing < 0:
        return x.narrow(dim, 0, length)
    if missing == 0:
        return x
    shape = list(x.shape)
    shape[dim] = missing
    return _C.cat([x, _C.zeros(shape, dtype=x.dtype)], dim)


# ---- arguments ----


def _floating(x, name, wanted):
    """x in a dtype that transforms take. wanted: "real", "complex" or "any"."""
    if not isinstance(x, _C.Tensor):
        raise TypeError(f"fft_{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    if wanted == "real" and x.is_complex():
        if name in ("ihfft2", "ihfftn"):
            raise RuntimeError(f"Only supports floating-point dtypes, but found: {x.dtype._scalar_name}")
        text = "real-valued" if name in ("rfft2", "rfftn") else "real"
        name = {"rfft2": "rfftn"}.get(name, name)
        raise RuntimeError(f"{name} expects a {text} input tensor, but got {x.dtype._scalar_name}")
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(_C.get_default_dtype())
    if x.dtype in (_C.float16, _C.bfloat16) and _C._autocasting():
        x = x.to(_C.float32)
    if x.dtype not in _COMPLEX_OF and x.dtype not in _REAL_OF:
        raise RuntimeError(f"Unsupported dtype {x.dtype._scalar_name}")
    return x.to(_COMPLEX_OF[x.dtype]) if wanted == "complex" and not x.is_complex() else x


def _wrapped(dim, rank):
    if rank == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    if not -rank <= dim < rank:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})"
        )
    return dim % rank


def _sizes(x, s, dim):
    """The dimensions to transform and their lengths (None: as x has it)."""
    rank = x.dim()
    s = [s] if isinstance(s, int) else s
    dim = [dim] if isinstance(dim, int) else dim
    if dim is not None:
        dims = [_wrapped(d, rank) for d in dim]
        if len(set(dims)) < len(dims):
            raise RuntimeError("FFT dims must be unique")
    if s is None:
        dims = list(range(rank)) if dim is None else dims
        return dims, [None] * len(dims)
    if dim is None:
        if len(s) > rank:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {rank} dimensions.")
        dims = list(range(rank - len(s), rank))
    elif len(s) != len(dims):
        raise RuntimeError("When given, dim and shape arguments must have the same length")
    return dims, [None if n == -1 else n for n in s]


def _checked_length(n):
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _scaled(out, norm, count, inverse):
    """Apply the normalisation: by default inverse transforms are divided by the number of points."""
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if norm == "ortho":
        factor = 1 / math.sqrt(count)
    elif (norm == "forward") != inverse:
        factor = 1 / count
    else:
        return out
    history = type(out.grad_fn).__name__  # PyTorch scales inside the transform
    return _C._show_history_as(out * factor, history)


def _given(result, out):
    if out is None:
        return result
    out.resize_(result.shape)
    return out.copy_(result)


def _one(n, dim):
    """s and dim of a transform over one dimension."""
    if n is not None:
        _checked_length(n)
    return None if n is None else [n], [dim]


def _complex(name, x, s, dim, norm, inverse, out):
    real = not x.is_complex() if isinstance(x, _C.Tensor) else False
    x = _floating(x, name, "complex")
    dims, lengths = _sizes(x, s, dim)
    for d, n in zip(dims, lengths):
        x = _resized(x, d, _checked_length(x.shape[d] if n is None else n))
    count = math.prod(x.shape[d] for d in dims)
    transform = FftC2COfReal if real and not inverse and len(dims) == 1 else FftC2C
    result = transform.apply(x, tuple(dims), inverse) if dims else x.clone()
    return _given(_scaled(result, norm, count, inverse), out)


def _from_real(name, x, s, dim, norm, hermitian, out):
    """Half spectrum of real x; its conjugate, normalised as an inverse transform, when hermitian."""
    x = _floating(x, name, "real")
    dims, lengths = _sizes(x, s, dim)
    if not dims:
        raise RuntimeError(f"{name.replace('2', 'n')} must transform at least one axis")
    for d, n in zip(dims, lengths):
        x = _resized(x, d, _checked_length(x.shape[d] if n is None else n))
    count = math.prod(x.shape[d] for d in dims)
    result = FftR2C.apply(x, dims[-1])
    if len(dims) > 1:
        result = FftC2C.apply(result, tuple(dims[:-1]), False)
    if hermitian:
        result = result.conj().resolve_conj()
    return _given(_scaled(result, norm, count, hermitian), out)


def _to_real(name, x, s, dim, norm, hermitian, out):
    """Real tensor of a half spectrum; of its conjugate, normalised as a forward transform, when hermitian."""
    x = _floating(x, name, "complex")
    dims, lengths = _sizes(x, s, dim)
    if not dims:
        raise RuntimeError(f"{name.replace('2', 'n')} must transform at least one axis")
    last = dims[-1]
    n = _checked_length(2 * (x.shape[last] - 1) if lengths[-1] is None else lengths[-1])
    for d, length in zip(dims[:-1], lengths[:-1]):
        x = _resized(x, d, _checked_length(x.shape[d] if length is None else length))
    x = _resized(x, last, n // 2 + 1)
    if hermitian:
        x = x.conj().resolve_conj()
    count = n * math.prod(x.shape[d] for d in dims[:-1])
    if len(dims) > 1:
        x = FftC2C.apply(x, tuple(dims[:-1]), True)
    return _given(_scaled(FftC2R.apply(x, last, n), norm, count, not hermitian), out)


# ---- one dimension ----


def _reference(function):
    """NumPy's function with our argument names, for the tests."""
    return lambda x, n=None, dim=-1, norm=None: function(x, n, dim, norm)


@sampled("z(5,)", "x(2,6), n=4, dim=0, norm='ortho'", "z(2,3), n=5", ref=_reference(np.fft.fft))
def fft(input, n=None, dim=-1, norm=None, *, out=None):
    """Fourier transform along dim of input, cut or padded to n points first.

    Args:
        norm: "forward" divides by n, "ortho" by sqrt(n), "backward" (default) leaves forward transforms as they are and
            divides inverse ones by n.

    >>> rl.fft.fft(rl.tensor([1.0, 0.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j, 1.+0.j])
    """
    return _complex("fft", input, *_one(n, dim), norm, False, out)


@sampled("z(5,)", "x(2,6), n=4, dim=0", "z(2,3), n=5, norm='forward'", ref=_reference(np.fft.ifft))
def ifft(input, n=None, dim=-1, norm=None, *, out=None):
    """Inverse of fft()."""
    return _complex("ifft", input, *_one(n, dim), norm, True, out)


@sampled("x(5,)", "x(2,6), n=4, dim=0", "x(2,3), n=5, norm='ortho'", ref=_reference(np.fft.rfft))
def rfft(input, n=None, dim=-1, norm=None, *, out=None):
    """Fourier transform of real input: the n // 2 + 1 frequencies that are not conjugates of others."""
    return _from_real("rfft", input, *_one(n, dim), norm, False, out)


@sampled("z(5,)", "z(2,6), n=5, dim=0", "z(2,3), n=5, norm='ortho'", ref=_reference(np.fft.irfft))
def irfft(input, n=None, dim=-1, norm=None, *, out=None):
    """Inverse of rfft(); n is the number of real points (default: the even one of the two possible)."""
    return _to_real("irfft", input, *_one(n, dim), norm, False, out)


@sampled("z(5,)", "z(2,6), n=5, dim=0", "z(2,3), n=5, norm='ortho'", ref=_reference(np.fft.hfft))
def hfft(input, n=None, dim=-1, norm=None, *, out=None):
    """Fourier transform of a signal with Hermitian symmetry, given by its first half: n real frequencies."""
    return _to_real("hfft", input, *_one(n, dim), norm, True, out)


@sampled("x(5,)", "x(2,6), n=4, dim=0", "x(2,3), n=5, norm='ortho'", ref=_reference(np.fft.ihfft))
def ihfft(input, n=None, dim=-1, norm=None, *, out=None):
    """Inverse of hfft(), for real input."""
    return _from_real("ihfft", input, *_one(n, dim), norm, True, out)


# ---- several dimensions ----


def _fftn_reference(x, s=None, dim=None, norm=None):
    return np.fft.fftn(x, s, dim or (range(-len(s), 0) if s else range(x.ndim)), norm)


@sampled("z(2,3)", "x(2,3,4), s=(3, 3)", "z(2,3,4), dim=(0, 1), norm='ortho'", ref=_fftn_reference)
def fftn(input, s=None, dim=None, norm=None, *, out=None):
    """Fourier transform over the dimensions dim (default: the last len(s), or all), cut or padded to the sizes s."""
    return _complex("fftn", input, s, dim, norm, False, out)


@sampled(
    "z(2,3)",
    "z(2,3,4), dim=(0, 1), norm='ortho'",
    ref=lambda x, dim=None, norm=None: np.fft.ifftn(x, None, dim, norm),
)
def ifftn(input, s=None, dim=None, norm=None, *, out=None):
    """Inverse of fftn()."""
    return _complex("ifftn", input, s, dim, norm, True, out)


@sampled(
    "x(2,3)",
    "x(2,3,4), dim=(0, 1), norm='ortho'",
    ref=lambda x, dim=None, norm=None: np.fft.rfftn(x, None, dim, norm),
)
def rfftn(input, s=None, dim=None, norm=None, *, out=None):
    """Fourier transform of real input over several dimensions; the last of them is halved."""
    return _from_real("rfftn", input, s, dim, norm, False, out)


@sampled(
    "z(2,3)",
    "z(2,3,4), dim=(0, 1), norm='ortho'",
    ref=lambda x, dim=None, norm=None: np.fft.irfftn(x, None, dim, norm),
)
def irfftn(input, s=None, dim=None, norm=None, *, out=None):
    """Inverse of rfftn(); s[-1] is the number of real points of the last dimension."""
    return _to_real("irfftn", input, s, dim, norm, False, out)


def hfftn(input, s=None, dim=None, norm=None, *, out=None):
    """hfft() over several dimensions, of which the last is given by its first half."""
    return _to_real("hfftn", input, s, dim, norm, True, out)


def ihfftn(input, s=None, dim=None, norm=None, *, out=None):
    """Inverse of hfftn(), for real input."""
    return _from_real("ihfftn", input, s, dim, norm, True, out)


def fft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """fftn() over two dimensions, by default the last two."""
    return _complex("fft2", input, s, dim, norm, False, out)


def ifft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """ifftn() over two dimensions, by default the last two."""
    return _complex("ifft2", input, s, dim, norm, True, out)


def rfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """rfftn() over two dimensions, by default the last two."""
    return _from_real("rfft2", input, s, dim, norm, False, out)


def irfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """irfftn() over two dimensions, by default the last two."""
    return _to_real("irfft2", input, s, dim, norm, False, out)


def hfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """hfftn() over two dimensions, by default the last two."""
    return _to_real("hfft2", input, s, dim, norm, True, out)


def ihfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """ihfftn() over two dimensions, by default the last two."""
    return _from_real("ihfft2", input, s, dim, norm, True, out)


# ---- order of frequencies ----


def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of fft() of n points that lie d apart: first the positive, then the negative ones.

    >>> rl.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    dtype = _C.get_default_dtype() if dtype is None else dtype
    positive = (n + 1) // 2
    whole = list(range(positive)) + list(range(positive - n, 0))
    result = _C.tensor(whole, dtype=dtype, device=device) * (1.0 / (n * d) if n else 1.0)
    return _given(result, out) if out is not None else result.requires_grad_(requires_grad)


def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of rfft() of n points that lie d apart."""
    dtype = _C.get_default_dtype() if dtype is None else dtype
    result = _C.arange(n // 2 + 1, dtype=dtype, device=device) * (1.0 / (n * d))
    return _given(result, out) if out is not None else result.requires_grad_(requires_grad)


def _rolled(x, dim, towards_centre):
    dims = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    for d in dims:
        length = x.shape[_wrapped(d, x.dim())]
        start = (length + 1) // 2 if towards_centre else length // 2  # the element that comes first
        x = _C.cat([x.narrow(d, start, length - start), x.narrow(d, 0, start)], d)
    return x.clone() if not x.dim() or not len(dims) else x


@sampled("x(5,)", "x(2,3)", "x(4,3), dim=1", ref=lambda x, dim=None: np.fft.fftshift(x, dim))
def fftshift(input, dim=None):
    """Frequencies in increasing order: the zero frequency moves to the middle of dim (default: of every dimension)."""
    return _rolled(input, dim, True)


@sampled("x(5,)", "x(2,3)", "x(4,3), dim=1", ref=lambda x, dim=None: np.fft.ifftshift(x, dim))
def ifftshift(input, dim=None):
    """Inverse of fftshift()."""
    return _rolled(input, dim, False)
