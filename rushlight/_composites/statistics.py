"""Quantiles, means without nan, covariance and correlation."""

from .. import _C
from .._C import Tensor
from .._composite import autocasts, sampled
from ._method import method as _method

__all__ = ["corrcoef", "cov", "nanmean", "nanquantile", "quantile"]


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
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
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


@autocasts("full")
@_method
@sampled("x(7,), 0.3", "x(3,5), 0.5, dim=1", "x(3,5), 0.25, dim=0, keepdim=True")
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The q-quantiles along dim (of all elements by default); nan where an element is nan."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@autocasts("full")
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
