"""The distinct elements of a tensor, or its distinct slices."""

from .. import _C
from ._method import method as _method

__all__ = ["unique", "unique_consecutive"]


@_method
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements of input, in order; with dim, the distinct slices along dim.

    Returns a tensor, or a tuple (values[, inverse][, counts]) of what was asked for.
    """
    if dim is not None:
        return _unique_slices(input, dim, return_inverse, return_counts, consecutive=False)
    values, inverse, counts = _C._unique(input, False, return_inverse)
    return _chosen(values, inverse, counts, return_inverse, return_counts)


@_method
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """input without the elements that equal the one before; with dim, of slices along dim."""
    if dim is not None:
        return _unique_slices(input, dim, return_inverse, return_counts, consecutive=True)
    values, inverse, counts = _C._unique(input, True, return_inverse)
    return _chosen(values, inverse, counts, return_inverse, return_counts)


def _chosen(values, inverse, counts, return_inverse, return_counts):
    if not (return_inverse or return_counts):
        return values
    return (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))


def _unique_slices(input, dim, return_inverse, return_counts, consecutive):
    import numpy as np

    if input.is_complex():
        raise NotImplementedError(f"\"unique_dim\" not implemented for '{input.dtype._scalar_name}'")
    rows = input.detach().movedim(dim, 0)
    flat = rows.reshape(rows.shape[0], -1).numpy()
    if consecutive:
        fresh = np.ones(len(flat), dtype=bool)
        fresh[1:] = (flat[1:] != flat[:-1]).any(axis=1)
        first = np.flatnonzero(fresh)
        inverse, counts = np.cumsum(fresh) - 1, np.diff(np.append(first, len(flat)))
    else:
        _, first, inverse, counts = np.unique(
            flat, axis=0, return_index=True, return_inverse=True, return_counts=True
        )
    values = input.index_select(dim, _C.from_numpy(np.ascontiguousarray(first)))
    inverse, counts = (_C.from_numpy(np.ascontiguousarray(a.reshape(-1))) for a in (inverse, counts))
    return _chosen(values, inverse, counts, return_inverse, return_counts)
