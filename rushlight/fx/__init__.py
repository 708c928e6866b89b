"""torch.fx as far as libraries need it to be imported: marks, and classes for isinstance checks. There is no tracing."""

__all__ = ["Graph", "GraphModule", "Interpreter", "Node", "Proxy", "Tracer", "Transformer", "replace_pattern",
           "symbolic_trace", "wrap"]  # fmt: skip


def wrap(fn_or_name):
    """Marks a function that a tracer shall not enter: the function as it is."""
    return fn_or_name


class _Untraced:
    def __init__(self, *args, **kwargs):
        raise NotImplementedError(f"torch.fx.{type(self).__name__}: symbolic tracing is not implemented")


class Graph(_Untraced):
    """A graph of operators; there are none."""


class GraphModule(_Untraced):
    """A module made of a graph; there are none."""


class Node(_Untraced):
    """A node of a graph; there are none."""


class Proxy(_Untraced):
    """What a traced function sees instead of tensors; there are none."""


class Tracer(_Untraced):
    """Makes graphs of modules: not implemented."""


class Interpreter(_Untraced):
    """Runs graphs: not implemented."""


class Transformer(_Untraced):
    """Rewrites graphs: not implemented."""


def symbolic_trace(root, concrete_args=None):
    """Not implemented."""
    raise NotImplementedError("torch.fx.symbolic_trace: symbolic tracing is not implemented")


def replace_pattern(gm, pattern, replacement):
    """Not implemented."""
    raise NotImplementedError("torch.fx.replace_pattern: symbolic tracing is not implemented")
