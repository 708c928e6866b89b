"""torch.compiler where compile() runs functions eagerly: what programs ask and set, without an effect."""

from contextlib import nullcontext

from .misc import compile as compile

__all__ = ["allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling",
           "is_dynamo_compiling", "is_exporting", "list_backends", "reset", "set_stance", "wrap_numpy"]  # fmt: skip


def is_compiling():
    """Whether a function is being compiled: never."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def allow_in_graph(fn):
    """The function as it is."""
    return fn


assume_constant_result = wrap_numpy = allow_in_graph


def disable(fn=None, recursive=True, *, reason=None):
    """Decorator, with or without arguments: the function as it is, which is never compiled."""
    return allow_in_graph if fn is None else fn


def set_stance(stance="default", **options):
    """A context or decorator's worth of nothing."""
    return nullcontext()


def reset():
    """Forget what was compiled: nothing was."""


cudagraph_mark_step_begin = reset


def list_backends(exclude_tags=("debug", "experimental")):
    """Names of compilers: there are none."""
    return []
