"""Grad modes as context managers and decorators. Entering and leaving is C code; the decorators are here."""

import functools
import inspect

from .. import _C

is_grad_enabled = _C.is_grad_enabled
is_inference_mode_enabled = _C.is_inference_mode_enabled


class _AsDecorator:
    """Lets a context manager wrap functions and generators: each call, each resumption runs inside it."""

    __slots__ = ()

    def __call__(self, func):
        if inspect.isclass(func):
            func.__init__ = self(func.__init__)
            return func
        if inspect.isgeneratorfunction(func):
            return self._wrap_generator(func)
        clone = self.clone

        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            with clone():
                return func(*args, **kwargs)

        return wrapper

    def _wrap_generator(self, func):
        clone = self.clone

        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            generator = func(*args, **kwargs)
            answer, error = None, None
            try:
                while True:
                    # the mode holds while the generator runs, not while its consumer does
                    with clone():
                        value = generator.send(answer) if error is None else generator.throw(error)
                    answer, error = None, None
                    try:
                        answer = yield value
                    except GeneratorExit:
                        raise
                    except BaseException as raised:
                        error = raised
            except StopIteration as end:
                return end.value
            finally:
                with clone():
                    generator.close()

        return wrapper

    def clone(self):
        return type(self)()


class no_grad(_C._no_grad, _AsDecorator):
    """Operations inside are not recorded, their results do not require a gradient.

    >>> x = rl.ones(2, requires_grad=True)
    >>> with rl.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    __slots__ = ()


class enable_grad(_C._enable_grad, _AsDecorator):
    """Operations inside are recorded, also within no_grad()."""

    __slots__ = ()


class set_grad_enabled(_C._set_grad, _AsDecorator):
    """Switches recording on or off at once; as a context manager it goes back to the former state at the end.

    Args:
        mode: on or off.
    """

    __slots__ = ()

    def __call__(self, func):
        _C._set_grad_enabled(self.prev)  # a decorator acts when the function is called, not now
        return super().__call__(func)

    def clone(self):
        return type(self)(self.mode)

    def __repr__(self):
        return f"{type(self).__name__}(mode={self.mode})"


class inference_mode(_C._inference_mode, _AsDecorator):
    """no_grad() for tensors that will never take part in a recorded computation.

    Args:
        mode: on or off.
    """

    __slots__ = ()

    def clone(self):
        return type(self)(self.mode)


class set_multithreading_enabled(_AsDecorator):  # noqa: N801
    """Whether backward may use several threads: kept, and without an effect, since it runs on the calling thread.

    Args:
        mode: True or False; works as a function, too.
    """

    _mode = True

    def __init__(self, mode):
        self.prev, self.mode = set_multithreading_enabled._mode, bool(mode)
        set_multithreading_enabled._mode = self.mode

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        set_multithreading_enabled._mode = self.prev

    def clone(self):
        return set_multithreading_enabled(self.mode)


class enforce_grad_layout_policy(_AsDecorator):  # noqa: N801
    """Whether gradients shall have the strides of their parameters: kept, and without an effect, since the first gradient
    that arrives is taken as it is.

    Args:
        enable: True or False; works as a function, too.
    """

    _enabled = True

    def __init__(self, enable=True):
        self.prev, self.enable = enforce_grad_layout_policy._enabled, bool(enable)
        enforce_grad_layout_policy._enabled = self.enable

    def __enter__(self):
        pass

    def __exit__(self, *exception):
        enforce_grad_layout_policy._enabled = self.prev

    def clone(self):
        return enforce_grad_layout_policy(self.enable)
