"""Operators that programs define: a name in rushlight.ops, a function, and what differentiates it."""

import functools

from . import _C, ops
from .autograd import Function

__all__ = ["CustomOpDef", "Library", "custom_op", "define", "impl", "register_autograd", "register_fake",
           "register_kernel"]  # fmt: skip

_defined = {}  # qualified name -> CustomOpDef


def _on_meta(args):
    return any(isinstance(a, _C.Tensor) and a.is_meta for a in args)


class CustomOpDef:
    """An operator that a program defined. Calling it runs the function, and records what register_autograd() gave."""

    def __init__(self, name, function, mutates_args=()):
        self._qualname, self._function, self._mutates = name, function, mutates_args
        self._fake = self._backward = self._setup = self._recorded = None
        if function is not None:
            functools.update_wrapper(self, function)
        space, _, short = name.partition("::")
        self._packet = ops.OpOverloadPacket(space, short.partition(".")[0], self)
        setattr(getattr(ops, space), self._packet.__name__, self._packet)

    def register_fake(self, fn=None):
        """Decorator: the function that describes the outputs of meta tensors."""
        if fn is None:
            return self.register_fake
        self._fake = fn
        return fn

    def register_kernel(self, device_types, fn=None):
        """Decorator: the function for a device; those for the CPU count."""
        if fn is None:
            return functools.partial(self.register_kernel, device_types)
        kinds = [device_types] if isinstance(device_types, str) else device_types
        if kinds is None or "cpu" in kinds or "default" in kinds:
            self._function = fn
        return fn

    def register_autograd(self, backward, /, *, setup_context=None):
        """backward(ctx, *grads) gives the gradients of the arguments; setup_context(ctx, inputs, output) keeps for it."""
        self._backward, self._setup = backward, setup_context
        self._recorded = type(self._packet.__name__, (Function,), {
            "forward": staticmethod(lambda *args: self._compute(*args)),
            "setup_context": staticmethod(setup_context or (lambda ctx, inputs, output: None)),
            "backward": staticmethod(backward),
        })  # fmt: skip

    def _compute(self, *args, **kwargs):
        if self._fake is not None and _on_meta(args):
            return self._fake(*args, **kwargs)
        if self._function is None:
            raise NotImplementedError(f"{self._qualname}: there is no kernel for the CPU")
        return self._function(*args, **kwargs)

    def __call__(self, *args, **kwargs):
        if self._recorded is None:
            return self._compute(*args, **kwargs)
        if kwargs:
            import inspect

            bound = inspect.signature(self._function).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = [*bound.args, *bound.kwargs.values()], {}
        return self._recorded.apply(*args)


def _check_name(name):
    if "::" not in name:
        raise ValueError(f"Expected `name` to be of the form `namespace::name` but got {name}")


def _find(op):
    if isinstance(op, CustomOpDef):
        return op
    if isinstance(op, ops.OpOverload):
        op = op.name()
    op = op.partition(".")[0]
    return _defined.get(op)


def custom_op(name, fn=None, /, *, mutates_args=(), device_types=None, schema=None, tags=None):
    """Decorator that makes a function an operator: `rushlight.ops.namespace.name`.

    >>> @custom_op("docs::twice", mutates_args=())
    ... def twice(x: rl.Tensor) -> rl.Tensor:
    ...     return x * 2
    >>> rl.ops.docs.twice(rl.ones(2))
    tensor([2., 2.])
    """
    _check_name(name)
    if fn is None:
        return lambda function: custom_op(name, function, mutates_args=mutates_args)
    op = _defined[name] = CustomOpDef(name, fn, mutates_args)
    return op


def define(qualname, schema="", *, lib=None, tags=()):
    """Declare an operator whose function impl() gives."""
    _check_name(qualname)
    name = qualname.partition("(")[0]
    if name not in _defined:
        _defined[name] = CustomOpDef(name, None)


def impl(qualname, types, func=None, *, lib=None):
    """Decorator: the function of an operator on a device; those for the CPU, and composites, count."""
    if func is None:
        return functools.partial(impl, qualname, types, lib=lib)
    define(qualname)
    kinds = (types,) if isinstance(types, str) else types
    if {"cpu", "CPU", "default", "CompositeExplicitAutograd", "CompositeImplicitAutograd"} & set(kinds):
        _find(qualname)._function = func
    return func


def register_kernel(op, device_types, func=None, /, *, lib=None):
    """Decorator: the function of an operator on a device."""
    return _find(op).register_kernel(device_types, func)


def register_fake(op, func=None, /, *, lib=None, _stacklevel=1, allow_override=False):
    """Decorator: the function that describes an operator's outputs of meta tensors."""
    if func is None:
        return functools.partial(register_fake, op)
    known = _find(op)
    if known is not None:  # a library may describe operators of compiled code that could not be loaded
        known.register_fake(func)
    return func


impl_abstract = register_fake


def register_autograd(op, backward, /, *, setup_context=None, lib=None):
    """What differentiates an operator: backward(ctx, *grads), setup_context(ctx, inputs, output)."""
    known = _find(op)
    if known is not None:
        known.register_autograd(backward, setup_context=setup_context)


class Library:
    """The operators of a namespace: define() declares, impl() gives the function."""

    def __init__(self, ns, kind, dispatch_key=""):
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema, alias_analysis="", *, tags=()):
        """Declare an operator by its schema "name(Tensor x) -> Tensor"."""
        name = schema.partition("(")[0]
        define(f"{self.ns}::{name}", schema[len(name) :])
        return name

    def impl(self, op_name, fn, dispatch_key="", *, with_keyset=False, allow_override=False):
        """The function of an operator."""
        name = op_name if isinstance(op_name, str) else op_name.name().partition("::")[2]
        if self.ns != "aten":
            impl(f"{self.ns}::{name.rpartition('::')[2]}", dispatch_key or self.dispatch_key or "default", fn)
