"""The override protocol for library code: which arguments define __torch_function__, and calling it."""

from . import _C

__all__ = ["TorchFunctionMode", "get_ignored_functions", "get_overridable_functions", "handle_torch_function",
           "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic", "is_tensor_like",
           "is_tensor_method_or_property", "resolve_name", "wrap_torch_function"]  # fmt: skip


def _overrides(x):
    method = getattr(type(x), "__torch_function__", None)
    return type(x) is not _C.Tensor and method is not None and method is not _C._disabled_torch_function_impl


def has_torch_function(relevant_args):
    """Whether one of the arguments overrides operators by __torch_function__."""
    return any(map(_overrides, relevant_args))


def has_torch_function_unary(x):
    """has_torch_function() of one argument."""
    return _overrides(x)


def has_torch_function_variadic(*args):
    """has_torch_function() of the arguments given."""
    return any(map(_overrides, args))


def is_tensor_like(inp):
    """Whether an object is a tensor or has __torch_function__."""
    return type(inp) is _C.Tensor or hasattr(inp, "__torch_function__")


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """Call the __torch_function__ of the arguments, subclasses first, until one of them answers."""
    overloaded = []
    for x in relevant_args:
        if _overrides(x) and all(type(x) is not type(o) for o in overloaded):
            place = next(
                (i for i, o in enumerate(overloaded) if issubclass(type(x), type(o))), len(overloaded)
            )
            overloaded.insert(place, x)
    types = tuple(type(x) for x in overloaded)
    for x in overloaded:
        result = x.__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    name = f"{public_api.__module__}.{public_api.__name__}"
    raise TypeError(
        f"no implementation found for '{name}' on types that implement __torch_function__: {list(types)}"
    )


def wrap_torch_function(dispatcher):
    """Decorator: let the arguments that dispatcher names override the function."""
    import functools

    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate


def is_tensor_method_or_property(func):
    """Whether func is a method of Tensor, or the getter of one of its properties."""
    name = getattr(func, "__name__", None)
    if name == "__get__":
        return True
    return name is not None and getattr(_C.Tensor, name, None) is func


def get_ignored_functions():
    """Functions that cannot be overridden."""
    import rushlight as rl

    return {rl.is_tensor, rl.is_storage, rl.set_default_dtype, rl.get_default_dtype, rl.manual_seed, rl.empty, rl.zeros,
            rl.ones, rl.rand, rl.randn, rl.arange, rl.full, rl.tensor, rl.from_numpy}  # fmt: skip


def get_overridable_functions():
    """Namespaces and the operators in them that __torch_function__ sees."""
    import rushlight as rl

    functions = [getattr(rl, name) for name in _C._exported[""]]
    methods = [m for m in vars(_C.Tensor).values() if callable(m)]
    return {rl: [f for f in functions if f not in get_ignored_functions()], rl.Tensor: methods}


def resolve_name(f):
    """The name under which programs know a function."""
    name = getattr(f, "__name__", None)
    if name is None:
        return None
    if getattr(_C.Tensor, name, None) is f:
        return f"torch.Tensor.{name}"
    import rushlight as rl

    for space, holder in (("torch", rl), ("torch.nn.functional", rl.nn.functional)):
        if getattr(holder, name, None) is f:
            return f"{space}.{name}"
    return None


class TorchFunctionMode:
    """A context that sees every operator: not implemented."""

    __rushlight_partial__ = "a mode cannot be entered"

    def __enter__(self):
        raise NotImplementedError("TorchFunctionMode is not implemented")

    def __exit__(self, *exc):
        return False
