"""Names of PyTorch's compiler front end that libraries call in passing. Nothing is compiled: they change nothing."""

from types import SimpleNamespace

from ..compiler import allow_in_graph as allow_in_graph
from ..compiler import assume_constant_result as assume_constant_result
from ..compiler import disable as disable
from ..compiler import is_compiling as is_compiling
from ..compiler import list_backends as list_backends
from ..compiler import reset as reset
from . import exc as exc

config = SimpleNamespace(suppress_errors=False, cache_size_limit=8, recompile_limit=8, verbose=False)


def mark_static_address(t, guard=True):
    """Changes nothing."""


def mark_dynamic(t, index, *, min=None, max=None, **options):
    """Changes nothing."""


mark_static = maybe_mark_dynamic = mark_unbacked = mark_dynamic


def graph_break(msg=""):
    """Changes nothing."""


def optimize(*args, **kwargs):
    """Decorator: the function as it is."""
    return allow_in_graph
