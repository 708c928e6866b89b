"""Comparison of whole tensors, membership, and distances."""

import numpy as np

from .. import _C
from .._C import Tensor
from .._composite import sampled, shown_as
from ._method import given, in_place
from ._method import method as _method

__all__ = ["allclose", "dist", "equal", "isclose", "isin", "nextafter", "pdist", "renorm"]


@_method
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Element-wise |input - other| <= atol + rtol * |other|."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype._scalar_name} did not match {other.dtype._scalar_name}")
    close = input == other
    if equal_nan and (input.is_floating_point() or input.is_complex()):
        close = close | (_C.isnan(input) & _C.isnan(other))
    if rtol == 0 and atol == 0:
        return close
    if not (input.is_floating_point() or input.is_complex()):
        input, other = input.to(_C.float64), other.to(_C.float64)
    difference = (input - other).abs()
    return close | (_C.isfinite(difference) & (difference <= atol + rtol * other.abs()))


@_method
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements are close: |input - other| <= atol + rtol * |other|."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@_method
def equal(input, other):
    """Whether both tensors have the same sizes and elements."""
    if not isinstance(other, Tensor):
        raise TypeError(f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    return input.shape == other.shape and bool((input == other).all())


@_method
@sampled("x(2,3), y(2,3)", "x(2,3), y(2,3), 1")
@shown_as("DistBackward0")
def dist(input, other, p=2):
    """The p-norm of input - other."""
    return (input - other).norm(p)


@_method
@shown_as("RenormBackward0")
def renorm(input, p, dim, maxnorm):
    """input with every slice along dim whose p-norm exceeds maxnorm scaled down to it."""
    others = [d for d in range(input.dim()) if d != dim % input.dim()]
    norms = (input.abs() ** p).sum(others, keepdim=True) ** (1 / p)
    return input * _C.where(norms > maxnorm, maxnorm / (norms + 1e-7), _C.ones_like(norms))


def isin(elements, test_elements, *, assume_unique=False, invert=False, out=None):
    """Which elements occur in test_elements; with invert which do not.

    >>> rl.isin(rl.tensor([1, 2, 3]), rl.tensor([2, 5]))
    tensor([False,  True, False])
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin(): one of elements and test_elements must be a Tensor")
    elements, test_elements = (
        x if isinstance(x, Tensor) else _C.tensor(x) for x in (elements, test_elements)
    )
    dtype = _C._result_type(elements, test_elements)
    found = np.isin(
        *(x.detach().to(dtype).numpy() for x in (elements, test_elements)), assume_unique=False, invert=invert
    )
    return given(_C.from_numpy(np.array(found)), out)


@_method
def nextafter(input, other, *, out=None):
    """The next number after input towards other that the dtype can hold."""
    dtype = _C._result_type(input, other)
    if dtype not in (_C.float32, _C.float64):
        raise NotImplementedError(f"\"nextafter_cpu\" not implemented for '{input.dtype._scalar_name}'")
    a, b = (x.detach().to(dtype).numpy() for x in (input, other))
    return given(_C.from_numpy(np.array(np.nextafter(a, b))), out)


in_place("nextafter", nextafter)


@sampled("x(4,3)", "x(3,2), p=1.0", ref=lambda x, p=2.0: np.array(
    [(abs(x[i] - x[j]) ** p).sum() ** (1 / p) for i in range(len(x)) for j in range(i + 1, len(x))]))  # fmt: skip
def pdist(input, p=2.0):
    """p-norm distances between every two rows of a matrix, as a vector: rows (0, 1), (0, 2), ..., (n - 2, n - 1)."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    n = input.shape[0]
    first, second = _C.triu_indices(n, n, 1).unbind(0)
    return _C.linalg_vector_norm(input.index_select(0, first) - input.index_select(0, second), p, -1)


in_place("renorm", renorm)
