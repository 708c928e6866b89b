"""Differences of neighbours, numerical derivatives and integrals."""

from .. import _C
from .._composite import sampled
from ._method import method as _method

__all__ = ["cumulative_trapezoid", "diff", "gradient", "trapezoid", "trapz"]


@_method
@sampled("x(2,5)", "x(2,5), n=2", "x(4,3), dim=0")
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """The n-th difference of neighbours along dim."""
    if input.dim() == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    parts = [part for part in (prepend, input, append) if part is not None]
    out = _C.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, out.shape[dim])):
        length = out.shape[dim]
        out = out.narrow(dim, 1, length - 1) - out.narrow(dim, 0, length - 1) if out.dtype is not _C.bool else (
            _C.logical_xor(out.narrow(dim, 1, length - 1), out.narrow(dim, 0, length - 1)))  # fmt: skip
    return out


@sampled("x(2,5)", "x(2,5), dx=0.5")
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """Integral of y along dim by the trapezoidal rule, at points x or dx apart."""
    n = y.shape[dim]
    pairs = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    if x is None:
        return _C._show_history_as(pairs.sum(dim) * (dx / 2), "MulBackward1")
    return _C._show_history_as((pairs * _steps(y, x, dim)).sum(dim) / 2, "DivBackward1")


def _steps(y, x, dim):
    steps = diff(x, dim=dim if x.dim() > 1 else -1)
    return steps if x.dim() > 1 else steps.reshape([-1] + [1] * (y.dim() - 1 - dim % y.dim()))


trapz = trapezoid


@sampled("x(2,5)")
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """Running integral of y along dim by the trapezoidal rule."""
    n = y.shape[dim]
    pairs = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    if x is None:
        return (pairs * (dx / 2)).cumsum(dim)
    return _C._show_history_as((pairs * _steps(y, x, dim)).cumsum(dim) / 2, "DivBackward1")


def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """Estimate of the derivative along dim by differences of second order; a list, one tensor per dimension."""
    if edge_order != 1:
        raise NotImplementedError("gradient: edge_order=2 is not implemented")
    if not isinstance(spacing, (int, float)):
        raise NotImplementedError("gradient: spacing by coordinates is not implemented")
    dims = range(input.dim()) if dim is None else ([dim] if isinstance(dim, int) else dim)
    results = []
    for d in dims:
        n = input.shape[d]
        inner = (input.narrow(d, 2, n - 2) - input.narrow(d, 0, n - 2)) / 2
        first = input.narrow(d, 1, 1) - input.narrow(d, 0, 1)
        last = input.narrow(d, n - 1, 1) - input.narrow(d, n - 2, 1)
        results.append(_C.cat([first, inner, last], d) / spacing)
    return results
