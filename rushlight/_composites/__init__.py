"""Operators written in Python out of others, by subject. Their names belong to the top level; many are methods, too."""

from . import (
    algebra,
    buffers,
    comparison,
    control,
    copies,
    differences,
    hashing,
    histograms,
    layers,
    recurrent,
    spectral,
    statistics,
    unique,
    windows,
)

_PARTS = (
    algebra,
    buffers,
    comparison,
    control,
    copies,
    differences,
    hashing,
    histograms,
    layers,
    recurrent,
    spectral,
    statistics,
    unique,
    windows,
)

__all__ = []
for _part in _PARTS:
    globals().update({name: getattr(_part, name) for name in _part.__all__})
    __all__ += _part.__all__
