"""Operators written in Python out of others: order statistics, differences, statistics of samples."""

from . import _C
from ._C import Tensor
from ._composite import sampled

__all__ = ["corrcoef", "cov", "diff", "nanmean", "nanquantile", "quantile", "trapezoid", "trapz", "unique", "unique_consecutive",
           "cumulative_trapezoid", "gradient", "isclose", "allclose", "equal", "dist", "renorm"]  # fmt: skip


def _method(function):
    setattr(Tensor, function.__name__, function)
    return function


@_method
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements of input, in order; with dim, the distinct slices along dim.

    Returns a tensor, or a tuple (values[, inverse][, counts]) of what was asked for.
    """
    if dim is not None:
        return _unique_slices(input, dim, return_inverse, return_counts, consecutive=False)
    values, inverse, counts = _C._unique(input, False)
    return _chosen(values, inverse, counts, return_inverse, return_counts)


@_method
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """input without the elements that equal the one before; with dim, of slices along dim."""
    if dim is not None:
        return _unique_slices(input, dim, return_inverse, return_counts, consecutive=True)
    values, inverse, counts = _C._unique(input, True)
    return _chosen(values, inverse, counts, return_inverse, return_counts)


def _chosen(values, inverse, counts, return_inverse, return_counts):
    if not (return_inverse or return_counts):
        return values
    return (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))


def _unique_slices(input, dim, return_inverse, return_counts, consecutive):
    import numpy as np

    rows = input.detach().movedim(dim, 0)
    flat = rows.reshape(rows.shape[0], -1).numpy()
    if consecutive:
        fresh = np.ones(len(flat), dtype=bool)
        fresh[1:] = (flat[1:] != flat[:-1]).any(axis=1)
        first = np.flatnonzero(fresh)
        inverse, counts = np.cumsum(fresh) - 1, np.diff(np.append(first, len(flat)))
    else:
        _, first, inverse, counts = np.unique(flat, axis=0, return_index=True, return_inverse=True, return_counts=True)
    values = input.index_select(dim, _C.from_numpy(np.ascontiguousarray(first)))
    inverse, counts = (_C.from_numpy(np.ascontiguousarray(a.reshape(-1))) for a in (inverse, counts))
    return _chosen(values, inverse, counts, return_inverse, return_counts)


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


def _quantile(name, input, q, dim, keepdim, interpolation, ignore_nan):
    if not isinstance(q, Tensor):
        q = _C.tensor(q, dtype=input.dtype)
    if input.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if q.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if bool(((q < 0) | (q > 1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}")
    whole = dim is None
    x = input.reshape(-1) if whole else input.movedim(dim, -1)
    ordered = _C.sort(x, -1)[0]
    missing = _C.isnan(ordered).sum(-1, keepdim=True)
    length = (x.shape[-1] - missing) if ignore_nan else _C.full_like(missing, x.shape[-1])
    rank = q.reshape(-1) * (length - 1).to(input.dtype)  # (..., number of q)
    rank = rank.clamp(min=0)
    if not ignore_nan:
        rank = _C.where(missing > 0, _C.full_like(rank, x.shape[-1] - 1), rank)
    low, high = rank.floor(), rank.ceil()
    if interpolation == "lower":
        high = low
    elif interpolation == "higher":
        low = high
    elif interpolation == "nearest":
        low = high = rank.round()
    below, above = ordered.gather(-1, low.long()), ordered.gather(-1, high.long())
    weight = _C.full_like(rank, 0.5) if interpolation == "midpoint" else rank - rank.floor()
    out = _C.lerp(below, above, weight) if interpolation in ("linear", "midpoint") else below
    out = out.movedim(-1, 0)  # (number of q, ...)
    if keepdim:
        out = out.reshape((-1,) + (1,) * input.dim()) if whole else out.unsqueeze((dim % input.dim()) + 1)
    return out.squeeze(0) if q.dim() == 0 else out


@_method
@sampled("x(7,), 0.3", "x(3,5), 0.5, dim=1", "x(3,5), 0.25, dim=0, keepdim=True")
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The q-quantiles along dim (of all elements by default); nan where an element is nan."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@_method
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The q-quantiles of the elements that are not nan."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


@_method
@sampled("x(2,5)", "x(2,5), dim=1")
def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """Mean over dim of the elements that are not nan."""
    counted = _C.logical_not(_C.isnan(input)).sum(dim, keepdim=keepdim)
    return _C.nansum(input, dim, keepdim, dtype=dtype) / counted


@_method
def cov(input, *, correction=1, fweights=None, aweights=None):
    """Covariance matrix of the rows of input (variables) over its columns (observations)."""
    if input.dim() > 2:
        raise RuntimeError("cov(): expected input to have two or fewer dimensions but got an input with "
                           f"{input.dim()} dimensions")  # fmt: skip
    x = input if input.dim() == 2 else input.reshape(1, -1)
    weights = None
    if fweights is not None:
        weights = fweights
    if aweights is not None:
        weights = aweights if weights is None else weights * aweights
    total = x.shape[1] if weights is None else weights.sum()
    mean = x.mean(1, keepdim=True) if weights is None else (x * weights).sum(1, keepdim=True) / total
    if weights is None or aweights is None or correction == 0:
        norm = total - correction
    else:
        norm = total - correction * (weights * aweights).sum() / total
    centred = x - mean
    other = (centred if weights is None else centred * weights).t()
    return (centred @ (other.conj() if other.is_complex() else other) / norm).squeeze()


@_method
def corrcoef(input):
    """Correlation matrix of the rows of input."""
    c = cov(input)
    if c.dim() == 0:
        return c / c
    d = c.diagonal().sqrt()
    return (c / d.unsqueeze(1) / d.unsqueeze(0)).clamp(-1, 1)


@sampled("x(2,5)", "x(2,5), dx=0.5")
def trapezoid(y, x=None, *, dx=1, dim=-1):
    """Integral of y along dim by the trapezoidal rule, at points x or dx apart."""
    n = y.shape[dim]
    pairs = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    return (pairs * _spacing(y, x, dx, dim)).sum(dim) / 2


def _spacing(y, x, dx, dim):
    if x is None:
        return dx
    steps = diff(x, dim=dim if x.dim() > 1 else -1)
    return steps if x.dim() > 1 else steps.reshape([-1] + [1] * (y.dim() - 1 - dim % y.dim()))


trapz = trapezoid


@sampled("x(2,5)")
def cumulative_trapezoid(y, x=None, *, dx=1, dim=-1):
    """Running integral of y along dim by the trapezoidal rule."""
    n = y.shape[dim]
    pairs = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    return (pairs * _spacing(y, x, dx, dim)).cumsum(dim) / 2


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


# ---- comparison of whole tensors ----


@_method
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Element-wise |input - other| <= atol + rtol * |other|."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{_scalar_name(input)} did not match {_scalar_name(other)}")
    close = input == other
    if equal_nan and (input.is_floating_point() or input.is_complex()):
        close = close | (_C.isnan(input) & _C.isnan(other))
    if rtol == 0 and atol == 0:
        return close
    if not (input.is_floating_point() or input.is_complex()):
        input, other = input.to(_C.float64), other.to(_C.float64)
    difference = (input - other).abs()
    return close | (_C.isfinite(difference) & (difference <= atol + rtol * other.abs()))


def _scalar_name(tensor):
    names = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
             "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool", "complex64": "ComplexFloat",
             "complex128": "ComplexDouble"}  # fmt: skip
    return names[repr(tensor.dtype)[6:]]


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
def dist(input, other, p=2):
    """The p-norm of input - other."""
    return (input - other).norm(p)


@_method
def renorm(input, p, dim, maxnorm):
    """input with every slice along dim whose p-norm exceeds maxnorm scaled down to it."""
    others = [d for d in range(input.dim()) if d != dim % input.dim()]
    norms = (input.abs() ** p).sum(others, keepdim=True) ** (1 / p)
    return input * _C.where(norms > maxnorm, maxnorm / (norms + 1e-7), _C.ones_like(norms))
