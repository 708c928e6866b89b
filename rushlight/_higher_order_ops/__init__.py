"""Operators that take functions."""

from .._composites.control import cond as cond
from .._composites.control import while_loop as while_loop
from .associative_scan import associative_scan as associative_scan
