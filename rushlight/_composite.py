"""Marks for operators written in Python out of other operators.

`sampled` lists a composite with sample arguments and a NumPy reference, for the tests that loop over them.
`core` and `core_first` fetch the C++ core's operators for Python code, `autocasts` says what autocast does to a composite.
"""

import functools

from . import _C

COMPOSITES = []  # (function, samples, reference)
FALLBACKS = {}  # operator name -> the composite that stands in where the core has no such operator


def sampled(*samples, ref=None):
    """Record a composite: samples are argument lists such as "x(3,4), beta=2.0", ref computes the same in NumPy."""

    def record(function):
        COMPOSITES.append((function, samples, ref))
        return function

    return record


def shown_as(name):
    """Decorates a composite whose result has one grad_fn in PyTorch: that name is shown, whatever the last operator was."""

    def name_result(composite):
        @functools.wraps(composite)
        def call(*args, **kwargs):
            return _C._show_history_as(composite(*args, **kwargs), name)

        return call

    return name_result


def core(name):
    """The core's operator of that name; a function that raises NotImplementedError where it has none."""
    operator = getattr(_C, name, None)
    if operator is not None:
        return operator

    def missing(*args, **kwargs):
        raise NotImplementedError(f"{name}: this operator is not implemented yet")

    missing.__name__ = name
    return missing


def core_first(name):
    """Decorates a composite with the signature of the core operator `name`, which replaces it where it exists.

    The composite stays in FALLBACKS, so that tests can compare the two.
    """

    def choose(composite):
        FALLBACKS[name] = composite
        return getattr(_C, name, composite)

    return choose


def _cast(value, dtype):
    if isinstance(value, _C.Tensor):
        concerned = value.dtype in (_C.float32, _C.float16, _C.bfloat16) and value.device.type == "cpu"
        return value.to(dtype) if concerned else value
    if isinstance(value, (list, tuple)) and any(isinstance(v, _C.Tensor) for v in value):
        return type(value)(_cast(v, dtype) for v in value)
    return value


def autocasts(policy):
    """Decorates a composite that autocast concerns as a whole: its floating-point arguments are cast, nothing within.

    Args:
        policy: "full" for float32, "lower" for the dtype of the context, "as it is" for no cast at all. (Operators of
            the core: `.autocast` in their blocks.)
    """
    if policy not in ("full", "lower", "as it is"):
        raise ValueError(f"no such policy of autocast: {policy}")

    def decorate(function):
        @functools.wraps(function)
        def cast(*args, **kwargs):
            if not _C._autocasting() or kwargs.get("out") is not None:
                return function(*args, **kwargs)
            if policy != "as it is":
                dtype = _C.float32 if policy == "full" else _C._autocast_dtype()
                args = [_cast(a, dtype) for a in args]
                kwargs = {name: _cast(a, dtype) for name, a in kwargs.items()}
            _C._set_autocasting(False)
            try:
                return function(*args, **kwargs)
            finally:
                _C._set_autocasting(True)

        return cast

    return decorate
