"""torch.jit without a compiler: script() and trace() give back what they are given, which runs eagerly with the same
results. The decorators that libraries use at import leave functions as they are."""

import contextlib
import functools
from typing import Final as Final

from ..nn import Module as _Module

__all__ = ["Attribute", "Final", "ScriptFunction", "ScriptModule", "annotate", "export", "freeze", "ignore",
           "is_scripting", "is_tracing", "isinstance", "load", "onednn_fusion_enabled", "optimized_execution", "save",
           "script", "script_if_tracing", "script_method", "trace", "trace_module", "unused"]  # fmt: skip


class ScriptModule(_Module):
    """A class for isinstance checks: no module becomes one here."""


class ScriptFunction:
    """A class for isinstance checks: no function becomes one here."""


def is_scripting():
    """Whether a function is being compiled: never."""
    return False


def is_tracing():
    """Whether a function is being traced: never."""
    return False


def script(obj=None, optimize=None, _frames_up=0, _rcb=None, example_inputs=None):
    """The function, class or module itself: it runs eagerly, with the same results.

    >>> double = rl.jit.script(lambda x: 2 * x)
    >>> double(rl.ones(2))
    tensor([2., 2.])
    """
    if not callable(obj):
        raise TypeError(f"{type(obj)} is a built-in class")
    return obj


def trace(func=None, example_inputs=None, *args, **kwargs):
    """The function or module itself. Unlike a trace, it follows the control flow of each call."""
    if func is None:
        return functools.partial(trace, example_inputs=example_inputs)
    if not callable(func):
        raise TypeError(f"trace() takes a function or a module, not {type(func).__name__}")
    return func


def trace_module(mod, inputs, *args, **kwargs):
    """The module itself."""
    return mod


def freeze(mod, preserved_attrs=None, optimize_numerics=True):
    """The module itself, which must be in evaluation mode."""
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. "
            "Please call .eval() on your module before freezing."
        )
    return mod


def optimize_for_inference(mod, other_methods=None):
    """The module itself."""
    return mod


def script_if_tracing(fn):
    """Decorator: the function as it is."""
    return fn


script_method = export = _script_if_tracing = _overload = _overload_method = script_if_tracing


def ignore(drop=False, **kwargs):
    """Decorator, with or without arguments: the function as it is."""
    return drop if callable(drop) else script_if_tracing


def unused(fn):
    """Decorator: the function as it is."""
    return fn


def annotate(the_type, the_value):
    """the_value."""
    return the_value


class Attribute:
    """A value with its type."""

    def __init__(self, value, type):
        self.value, self.type = value, type


def isinstance(obj, target_type):  # noqa: A001
    """The built-in isinstance, with the types of typing reduced to their classes."""
    import builtins
    import typing

    targets = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    return builtins.isinstance(obj, tuple(typing.get_origin(t) or t for t in targets))


@contextlib.contextmanager
def optimized_execution(should_optimize):
    """Changes nothing."""
    yield


fuser = optimized_execution


def onednn_fusion_enabled():
    """Whether oneDNN's fusions are on: there are none."""
    return False


def enable_onednn_fusion(enabled):
    """Changes nothing."""


def set_fusion_strategy(strategy):
    """Changes nothing."""
    return []


def save(m, f, _extra_files=None):
    """Not implemented: there is no TorchScript."""
    raise NotImplementedError("torch.jit.save: there is no TorchScript; save the state_dict with torch.save")


def load(f, map_location=None, _extra_files=None, _restore_shapes=False):
    """Not implemented: there is no TorchScript."""
    raise NotImplementedError("torch.jit.load: there is no TorchScript; files written by torch.save are read by torch.load")


def fork(func, *args, **kwargs):
    """Not implemented: there is no TorchScript."""
    raise NotImplementedError("torch.jit.fork: there is no TorchScript; use a thread")
