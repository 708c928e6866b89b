"""The profiler of operators: what ran between entering and leaving, on the calling thread. rushlight.profiler adds schedules
and handlers to it."""

import functools

from .. import _C
from .profiler_util import EventList as EventList
from .profiler_util import FunctionEvent as FunctionEvent
from .profiler_util import FunctionEventAvg as FunctionEventAvg

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "emit_itt", "emit_nvtx", "profile", "record_function"]


class profile:
    """Context manager that collects every operator call.

    Args:
        enabled: False collects nothing.
        record_shapes: also the sizes of the tensor arguments.
        profile_memory: also the bytes that each call allocated.
        with_stack: also where in the program each call was made.
        with_flops: also the number of operations of matrix products, convolutions, additions and multiplications.
        with_modules: accepted; PyTorch knows the modules of TorchScript only, and there are none.

    >>> with rl.autograd.profiler.profile() as p:
    ...     y = rl.ones(2) + 1
    >>> [row.count for row in p.key_averages() if row.key == "aten::add"]
    [1]
    """

    def __init__(
        self,
        enabled=True,
        *,
        use_cuda=False,
        use_device=None,
        record_shapes=False,
        with_flops=False,
        profile_memory=False,
        with_stack=False,
        with_modules=False,
        use_kineto=False,
        use_cpu=True,
        experimental_config=None,
        acc_events=False,
        custom_trace_id_callback=None,
    ):
        self.enabled, self.entered = enabled, False
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.with_stack, self.with_flops, self.with_modules = with_stack, with_flops, with_modules
        self.function_events = None

    def __enter__(self):
        if not self.enabled:
            return None
        if self.entered:
            raise RuntimeError("Profiler context manager is not reentrant")
        self.entered = True
        self.start()
        return self

    def __exit__(self, *exception):
        if self.enabled:
            self.stop()
        return False

    def start(self):
        if _C._profiler_enabled():
            raise RuntimeError("Profiler is already enabled on this thread")
        shapes = bool(self.record_shapes or self.with_flops)
        _C._profiler_start(shapes, bool(self.profile_memory), bool(self.with_stack))

    def stop(self):
        self.function_events = EventList.collected(
            _C._profiler_stop(), self.profile_memory, self.record_shapes, self.with_stack, self.with_flops
        )

    def _events(self):
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def key_averages(self, group_by_input_shape=False, group_by_stack_n=0, group_by_overload_name=False):
        return self._events().key_averages(group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def total_average(self):
        return self._events().total_average()

    @property
    def self_cpu_time_total(self):
        return self._events().self_cpu_time_total

    def table(self, *args, **kwargs):
        return self._events().table(*args, **kwargs)

    def export_chrome_trace(self, path):
        return self._events().export_chrome_trace(path)

    def export_stacks(self, path, metric="self_cpu_time_total"):
        return self._events().export_stacks(path, metric)

    def __repr__(self):
        return "<unfinished torch.autograd.profile>" if self.function_events is None else repr(self.function_events)

    def __str__(self):
        return "<unfinished torch.autograd.profile>" if self.function_events is None else str(self.function_events)


class record_function:
    """Context manager or decorator: what runs inside is one event of this name.

    Args:
        name: of the event.
        args: accepted; it is not collected.
    """

    def __init__(self, name, args=None):
        self.name, self.args = name, args
        self.event = -1

    def __enter__(self):
        self.event = _C._profiler_enter(self.name)
        return self

    def __exit__(self, *exception):
        _C._profiler_exit(self.event)

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with record_function(self.name):
                return function(*args, **kwargs)

        return wrapper


class _Emit:
    """Marks for another vendor's tool, of which there is none here: entering raises unless disabled."""

    def __init__(self, enabled=True, record_shapes=False):
        self.enabled, self.record_shapes = enabled, record_shapes

    def __enter__(self):
        if self.enabled:
            raise NotImplementedError(f"autograd.profiler.{type(self).__name__}: there is no such tool to send marks to")
        return None

    def __exit__(self, *exception):
        return False


class emit_nvtx(_Emit):
    """Would send the calls to NVIDIA's profiler."""


class emit_itt(_Emit):
    """Would send the calls to Intel's profiler."""
