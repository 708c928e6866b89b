"""Decorators of datapipes: functional forms, determinism, and checks of arguments against annotations."""

import functools
import inspect
from typing import get_args, get_origin

from .datapipe import IterDataPipe, MapDataPipe

__all__ = [
    "argument_validation", "functional_datapipe", "guaranteed_datapipes_determinism", "non_deterministic",
    "runtime_validation", "runtime_validation_disabled",
]  # fmt: skip


class functional_datapipe:  # noqa: N801
    """Class decorator: pipes get a method of that name which makes a pipe of the class.

    >>> @functional_datapipe("every_second")
    ... class EverySecond(IterDataPipe):
    ...     def __init__(self, source):
    ...         self.source = source
    ...     def __iter__(self):
    ...         return (x for i, x in enumerate(self.source) if i % 2 == 0)
    >>> from rushlight.utils.data.datapipes.iter import IterableWrapper
    >>> list(IterableWrapper("abcde").every_second())
    ['a', 'c', 'e']
    """

    def __init__(self, name, enable_df_api_tracing=False):
        self.name = name

    def __call__(self, cls):
        for kind in (IterDataPipe, MapDataPipe):
            if isinstance(cls, type) and issubclass(cls, kind):
                kind.register_datapipe_as_function(self.name, cls)
        return cls


class _Switched:
    """Base of contexts: within one, `on` of its class is true."""

    on = False

    def __init__(self):
        self.before = None

    def __enter__(self):
        cls = type(self)
        self.before, cls.on = cls.on, True

    def __exit__(self, *exc):
        type(self).on = self.before


class guaranteed_datapipes_determinism(_Switched):  # noqa: N801
    """Context in which pipes that are not deterministic cannot be made."""


class runtime_validation_disabled(_Switched):  # noqa: N801
    """Context in which @runtime_validation checks nothing."""


class non_deterministic:  # noqa: N801
    """Class decorator of pipes that are not deterministic; or, with a function of the constructor's arguments that says
    whether they are with these, @non_deterministic(function)."""

    def __init__(self, arg):
        if isinstance(arg, type) and issubclass(arg, IterDataPipe):
            self.cls, self.says = arg, lambda *args, **kwargs: True
        elif callable(arg) and not isinstance(arg, type):
            self.cls, self.says = None, arg
        else:
            raise TypeError(f"{arg} can not be decorated by non_deterministic")

    def __call__(self, *args, **kwargs):
        if self.cls is None:  # the decorator's second half
            if len(args) != 1 or not (isinstance(args[0], type) and issubclass(args[0], IterDataPipe)):
                raise TypeError(f"Only `IterDataPipe` can be decorated, but {type(args[0]).__name__ if args else None} is found")
            self.cls = args[0]
            return self
        if guaranteed_datapipes_determinism.on and self.says(*args, **kwargs):
            raise TypeError(
                f"{self.cls.__name__} is non-deterministic, but you set 'guaranteed_datapipes_determinism'. You can turn off "
                "determinism for this DataPipe if that is acceptable for your application"
            )
        return self.cls(*args, **kwargs)


def _matches(value, kind):
    """Whether value fits an annotation, as far as annotations can be asked."""
    if kind is inspect.Parameter.empty or isinstance(kind, str):
        return True
    origin = get_origin(kind)
    if isinstance(kind, type) and origin is None:
        return isinstance(value, kind)
    if origin in (list, tuple, dict, set):
        return isinstance(value, origin)
    alternatives = [k for k in get_args(kind) if isinstance(k, type)] if origin is not None else []
    return isinstance(value, tuple(alternatives)) if alternatives and not isinstance(origin, type) else True


def argument_validation(function):
    """Decorator: arguments that are annotated as datapipes have to be such datapipes."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            kind = signature.parameters[name].annotation
            if isinstance(kind, type) and issubclass(kind, (IterDataPipe, MapDataPipe)) and not isinstance(value, kind):
                raise TypeError(f"Expected argument '{name}' as a {kind.__name__}, but found {type(value)}")
        return function(*args, **kwargs)

    return checked


def runtime_validation(function):
    """Decorator of __iter__: every element is checked against the class's annotation, IterDataPipe-derived `__iter__(self) ->
    Iterator[kind]`."""
    if getattr(function, "__name__", "") != "__iter__":
        raise TypeError(f"Can not decorate function {getattr(function, '__name__', function)} with 'runtime_validation'")
    result = get_args(function.__annotations__.get("return", None))

    @functools.wraps(function)
    def checked(self):
        for element in function(self):
            if not runtime_validation_disabled.on and result and not _matches(element, result[0]):
                raise RuntimeError(
                    f"Expected an instance as subtype of {result[0]}, but found {element}({type(element)})"
                )
            yield element

    return checked
