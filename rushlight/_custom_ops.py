"""The older names of rushlight.library."""

from .library import custom_op as custom_op
from .library import impl as impl
from .library import impl_abstract as impl_abstract
