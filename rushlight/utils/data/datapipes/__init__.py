"""Datapipes: datasets that are chained by methods. Their kinds are in `iter` and `map`; those of data frames and the decoders
of file formats are not part of rushlight."""

from . import iter as iter
from . import map as map
