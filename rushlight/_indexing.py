"""Functions around indices that are written in Python: nonzero with its two kinds of result, powers of a vector."""

from . import _C
from ._C import Tensor

__all__ = ["nonzero", "vander"]

_positions = _C.nonzero


def nonzero(input, *, out=None, as_tuple=False):
    """Positions of the elements that are not zero, one row for each.

    Args:
        as_tuple: give one index tensor per dimension instead, fit for input[...].
    """
    if as_tuple:
        return _C.where(input)
    return _positions(input) if out is None else _positions(input, out=out)


def _nonzero_method(self, *, as_tuple=False):
    return nonzero(self, as_tuple=as_tuple)


_nonzero_method.__name__ = "nonzero"
_nonzero_method.__doc__ = nonzero.__doc__
Tensor.nonzero = _nonzero_method


def vander(x, N=None, increasing=False):  # noqa: N803
    """The matrix whose columns are powers of x: N of them (default len(x)), the highest first unless increasing."""
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    if N is not None and N < 0:
        raise RuntimeError("N must be non-negative.")
    n = x.shape[0] if N is None else N
    dtype = x.dtype if x.dtype.is_floating_point or x.dtype.is_complex else _C.int64
    ones = _C.ones(x.shape[0], min(n, 1), dtype=dtype)
    powers = x.to(dtype).unsqueeze(1).expand(x.shape[0], max(n - 1, 0)).cumprod(1)
    out = _C.cat([ones, powers], 1)
    return out if increasing else out.flip(1)
