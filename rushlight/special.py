"""Special functions: those of the op table under their names here, the others computed by NumPy with derivatives of ours.

The incomplete gamma, zeta and Bessel functions live in `_special_numpy` and `_bessel`; this file makes them operators.
"""

import math

import numpy as np

from . import _C, _bessel, _special_numpy
from ._composite import sampled
from .autograd import Function
from .functional import broadcast_tensors

globals().update({name.removeprefix("special_"): getattr(_C, name) for name in _C._exported["special"]})
psi = digamma = _C.digamma
gammaln = _C.lgamma
expit = _C.sigmoid

# ---- functions of NumPy as operators ----


class _Elementwise(Function):
    """An element-wise NumPy function of double precision; derivatives are functions of the inputs, one per input."""

    forward_from_backward = True

    @staticmethod
    def forward(ctx, function, derivatives, dtype, *inputs):
        ctx.save_for_backward(*inputs)
        ctx.derivatives = derivatives
        arrays = [x.detach().to(_C.float64).numpy() for x in inputs]
        return _C.from_numpy(np.array(function(*arrays), dtype="float64")).to(dtype)

    @staticmethod
    def backward(ctx, grad):
        inputs = ctx.saved_tensors
        wanted = zip(ctx.derivatives, ctx.needs_input_grad[3:])
        return (
            None,
            None,
            None,
            *(grad * derivative(*inputs) if needed else None for derivative, needed in wanted),
        )


def _given(result, out):
    if out is None:
        return result
    out.resize_(result.shape)
    return out.copy_(result)


def _missing(name):
    def derivative(*inputs):
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    return derivative


def _operands(name, *inputs, whole=True):
    """inputs as tensors of one floating dtype, and that dtype."""
    first = next((x for x in inputs if isinstance(x, _C.Tensor)), None)
    if first is None:
        raise TypeError(f"{name}(): at least one argument must be Tensor, not {type(inputs[0]).__name__}")
    tensors = [x for x in inputs if isinstance(x, _C.Tensor)]
    dtype = tensors[0].dtype if len(tensors) == 1 else _C._result_type(*tensors)
    if not dtype.is_floating_point:
        if dtype.is_complex or not whole:
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{dtype._scalar_name}'")
        dtype = _C.get_default_dtype()
    return [x if isinstance(x, _C.Tensor) else _C.tensor(float(x), dtype=dtype) for x in inputs], dtype


def _unary(name, function, doc, derivative=None):
    def operator(input, *, out=None):
        (x,), dtype = _operands(name, input)
        return _given(
            _Elementwise.apply(function, (derivative,), dtype, x if derivative else x.detach()), out
        )

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = doc
    return operator


# ---- exponential and error functions ----


def _erfcx(x):
    """exp(x^2) erfc(x): as written for small x, by the asymptotic series for large x."""
    erfc = np.vectorize(math.erfc, otypes=["float64"])
    near = np.clip(np.where(np.isnan(x), 0.0, x), -27, 10)
    square = near * near
    high = (near * 134217729) - (near * 134217729 - near)  # Dekker's split: the rounding error of near * near
    error = (high * high - square) + 2 * high * (near - high) + (near - high) ** 2
    with np.errstate(over="ignore"):
        value = np.exp(square) * (1 + error) * erfc(near)
    far = np.maximum(x, 10)
    term = series = np.ones_like(far)
    for k in range(1, 16):
        term = term * -(2 * k - 1) / (2 * far * far)
        series = series + term
    value = np.where(x > 10, series / (far * math.sqrt(math.pi)), np.where(x < -27, np.inf, value))
    return np.where(np.isnan(x), np.nan, value)


erfcx = _unary("erfcx", _erfcx, "Scaled complementary error function: exp(x**2) * erfc(x).",
               lambda x: 2 * x * erfcx(x) - 2 / math.sqrt(math.pi))  # fmt: skip


@sampled("x(2,3)", ref=lambda x: np.log(0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))))
def log_ndtr(input, *, out=None):
    """log of the area under the standard normal density left of input; accurate in the left tail.

    >>> rl.special.log_ndtr(rl.tensor([-20.0, 0.0]))
    tensor([-203.9172,   -0.6931])
    """
    (x,), dtype = _operands("log_ndtr", input)
    x = x.to(dtype)
    left, right = x.clamp(max=-1.0), x.clamp(min=-1.0)  # each branch stays finite where it is not taken
    tail = _C.log(erfcx(left * -math.sqrt(0.5)) / 2) - left * left / 2
    return _given(_C.where(x < -1, tail, _C.log1p(-_C.erfc(right * math.sqrt(0.5)) / 2)), out)


# ---- gamma and zeta functions ----


def _gammainc_by_x(a, x):
    return _C.exp((a - 1) * _C.log(x) - x - _C.lgamma(a))


def _incomplete(name, part, sign):
    derivatives = (_missing(f"{name}: input"), lambda a, x: sign * _gammainc_by_x(a, x))

    def operator(input, other, *, out=None):
        inputs, dtype = _operands(name, input, other, whole=False)
        compute = lambda a, x: _special_numpy.gammainc_both(a, x)[part]  # noqa: E731
        return _given(_Elementwise.apply(compute, derivatives, dtype, *inputs), out)

    return operator


gammainc = _incomplete("igamma", 0, 1)
gammainc.__name__, gammainc.__doc__ = (
    "gammainc",
    "Regularised lower incomplete gamma function of input (a) and other (x).",
)
gammaincc = _incomplete("igammac", 1, -1)
gammaincc.__name__, gammaincc.__doc__ = (
    "gammaincc",
    "Regularised upper incomplete gamma function: 1 - gammainc.",
)


def zeta(input, other, *, out=None):
    """Hurwitz zeta function: the sum of (other + k) ** -input over k = 0, 1, ...

    >>> rl.special.zeta(rl.tensor(2.0), 1)
    tensor(1.6449)
    """
    inputs, dtype = _operands("zeta", input, other)
    derivatives = (_missing("zeta: self"), lambda s, q: -s * zeta(s + 1, q))
    return _given(_Elementwise.apply(_special_numpy.zeta, derivatives, dtype, *inputs), out)


def multigammaln(input, p, *, out=None):
    """Logarithm of the multivariate gamma function of dimension p."""
    return _given(_C.mvlgamma(input, p), out)


# ---- Bessel functions ----

i0e = _unary("i0e", _bessel.i0e, "Modified Bessel function of order 0, times exp(-|x|).",
             lambda x: i1e(x) - _C.sgn(x) * i0e(x))  # fmt: skip
i1e = _unary("i1e", _bessel.i1e, "Modified Bessel function of order 1, times exp(-|x|).",
             lambda x: i0e(x) - i1e(x) * (_C.sgn(x) + _C.where(x == 0, 0.0, 1 / x)) - _C.where(x == 0, 0.5, 0.0))  # fmt: skip
bessel_j0 = _unary("bessel_j0", _bessel.j0, "Bessel function of the first kind, order 0.")
bessel_j1 = _unary("bessel_j1", _bessel.j1, "Bessel function of the first kind, order 1.")
bessel_y0 = _unary("bessel_y0", _bessel.y0, "Bessel function of the second kind, order 0.")
bessel_y1 = _unary("bessel_y1", _bessel.y1, "Bessel function of the second kind, order 1.")
modified_bessel_i0 = _unary(
    "modified_bessel_i0", _bessel.i0, "Modified Bessel function of the first kind, order 0."
)
modified_bessel_i1 = _unary(
    "modified_bessel_i1", _bessel.i1, "Modified Bessel function of the first kind, order 1."
)
modified_bessel_k0 = _unary(
    "modified_bessel_k0", _bessel.k0, "Modified Bessel function of the second kind, order 0."
)
modified_bessel_k1 = _unary(
    "modified_bessel_k1", _bessel.k1, "Modified Bessel function of the second kind, order 1."
)
scaled_modified_bessel_k0 = _unary(
    "scaled_modified_bessel_k0", _bessel.k0e, "modified_bessel_k0 times exp(x)."
)
scaled_modified_bessel_k1 = _unary(
    "scaled_modified_bessel_k1", _bessel.k1e, "modified_bessel_k1 times exp(x)."
)
airy_ai = _unary("airy_ai", _bessel.airy_ai, "Airy function Ai, the solution of y'' = x y that vanishes at infinity.")
spherical_bessel_j0 = _unary(
    "spherical_bessel_j0", _bessel.spherical_j0, "Spherical Bessel function: sin(x) / x."
)

# ---- orthogonal polynomials, by their three-term recurrences ----


def _polynomial(name, first, step, doc, shifted=False):
    """first(x) is the polynomial of degree 1, step(x, k, p, before) the one of degree k + 1 from p of degree k."""

    def operator(input, n, *, out=None):
        (x, degree), dtype = _operands(name, input, n)
        x, degree = broadcast_tensors(x.to(dtype), degree)
        y = 2 * x - 1 if shifted else x
        before, p = _C.ones_like(y), first(y)
        result = _C.where(degree == 0, before, _C.where(degree > 0, p, _C.zeros_like(p)))
        for k in range(1, int(degree.max()) if degree.numel() else 0):
            before, p = p, step(y, k, p, before)
            result = _C.where(degree == k + 1, p, result)
        return _given(result, out)

    operator.__name__ = operator.__qualname__ = name
    operator.__doc__ = doc
    return operator


def _chebyshev(x, k, p, before):
    return 2 * x * p - before


for _kind, _first in (
    ("t", lambda x: x),
    ("u", lambda x: 2 * x),
    ("v", lambda x: 2 * x - 1),
    ("w", lambda x: 2 * x + 1),
):
    for _prefix in ("", "shifted_"):
        _name = f"{_prefix}chebyshev_polynomial_{_kind}"
        _doc = f"Chebyshev polynomial {_kind.upper()} of degree n" + (
            " of 2 * input - 1." if _prefix else "."
        )
        globals()[_name] = _polynomial(_name, _first, _chebyshev, _doc, shifted=bool(_prefix))

hermite_polynomial_h = _polynomial("hermite_polynomial_h", lambda x: 2 * x, lambda x, k, p, q: 2 * (x * p - k * q),
                                   "Hermite polynomial (physicists' convention) of degree n.")  # fmt: skip
hermite_polynomial_he = _polynomial("hermite_polynomial_he", lambda x: x, lambda x, k, p, q: x * p - k * q,
                                    "Hermite polynomial (probabilists' convention) of degree n.")  # fmt: skip
laguerre_polynomial_l = _polynomial("laguerre_polynomial_l", lambda x: 1 - x,
                                    lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1),
                                    "Laguerre polynomial of degree n.")  # fmt: skip
legendre_polynomial_p = _polynomial("legendre_polynomial_p", lambda x: x,
                                    lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1),
                                    "Legendre polynomial of degree n.")  # fmt: skip

_IMPORTED = ("Function", "sampled", "broadcast_tensors")
__all__ = sorted(
    name
    for name, value in globals().items()
    if not name.startswith("_") and callable(value) and name not in _IMPORTED
)
