"""Histograms with given or computed bin edges."""

import numpy as np

from .. import _C
from ..return_types import named_result
from ._method import given, method

__all__ = ["histogram", "histogramdd"]

_histogram = named_result("histogram", ("hist", "bin_edges"))
_histogramdd = named_result("histogramdd", ("hist", "bin_edges"))


def _edges(name, values, bins, limits):
    """Bin edges of one coordinate."""
    if isinstance(bins, _C.Tensor):
        return bins
    if bins <= 0:
        raise RuntimeError(f"torch.{name}(): bins must be > 0, but got {bins} for dimension 0")
    if limits is not None:
        low, high = limits
    elif values.numel():
        low, high = float(values.min()), float(values.max())
    else:
        low, high = 0.0, 1.0
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.{name}(): dimension 0's range [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError(
            f"torch.{name}(): min should not exceed max, but got min {low} max {high} for dimension 0"
        )
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _C.linspace(low, high, bins + 1, dtype=values.dtype)


def _count(points, edges, weight, density):
    """Counts, or weights, in the cells of a grid; the last bin of each coordinate is closed."""
    dtype = points.dtype
    weights = None if weight is None else weight.detach().reshape(-1).double().numpy()
    arrays = [e.detach().double().numpy() for e in edges]
    hist, _ = np.histogramdd(points.detach().double().numpy(), bins=arrays, weights=weights, density=density)
    return _C.from_numpy(np.ascontiguousarray(hist)).to(dtype)


def _checked(name, input, weight):
    if not input.is_floating_point():
        kinds = {
            _C.int64: "Long",
            _C.int32: "Int",
            _C.int16: "Short",
            _C.int8: "Char",
            _C.uint8: "Byte",
            _C.bool: "Bool",
        }
        raise NotImplementedError(
            f"\"histogramdd\" not implemented for '{kinds.get(input.dtype, input.dtype)}'"
        )
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f"torch.{name}(): if weight tensor is provided, input tensor and weight tensor should have the same "
                           "dtype")  # fmt: skip


@method
def histogram(input, bins, *, range=None, weight=None, density=False, out=None):
    """Counts of elements in bins, and the bins' edges.

    Args:
        bins: how many of equal width, between the limits range (default: smallest and largest element), or the edges.
        weight: what each element counts.
        density: divide so that the integral is 1.

    >>> rl.histogram(rl.tensor([1.0, 2.0, 1.0]), bins=2).hist
    tensor([2., 1.])
    """
    _checked("histogram", input, weight)
    edges = _edges("histogram", input, bins, range)
    hist = _count(input.reshape(-1, 1), [edges], weight, density)
    if out is not None:
        hist, edges = (given(r, o) for r, o in zip((hist, edges), out))
    return _histogram((hist, edges))


def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """Histogram over several coordinates, the last dimension of input: counts in cells, and a list of edges."""
    _checked("histogramdd", input, weight)
    points = input.reshape(-1, input.shape[-1])
    n = points.shape[1]
    bins = [bins] * n if isinstance(bins, int) else list(bins)
    limits = [None] * n if range is None else list(zip(range[::2], range[1::2]))
    edges = [_edges("histogramdd", *each) for each in zip(points.unbind(1), bins, limits)]
    return _histogramdd((_count(points, edges, weight, density), edges))
