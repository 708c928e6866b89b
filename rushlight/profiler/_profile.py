"""profile(): collection in steps, by a schedule."""

import enum
import json
import os
import socket
import time

from ..autograd.profiler import profile as _collector
from ..autograd.profiler import record_function
from ..autograd.profiler_util import write_trace


class ProfilerActivity(enum.Enum):
    """What can be observed; here the CPU is."""

    CPU = 0
    XPU = 1
    CUDA = 2
    MTIA = 3


class ProfilerAction(enum.Enum):
    """What a schedule says about a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities():
    """The activities that can be asked for."""
    return {ProfilerActivity.CPU}


def schedule(*, wait, warmup, active, repeat=0, skip_first=0, skip_first_wait=0):
    """A schedule for profile(): after skip_first steps, cycles of wait, warmup and active steps, repeat times (0: for ever).

    >>> plan = rl.profiler.schedule(wait=1, warmup=0, active=1)
    >>> plan(1)
    <ProfilerAction.RECORD_AND_SAVE: 3>
    """
    if not (wait >= 0 and warmup >= 0 and active > 0 and repeat >= 0 and skip_first >= 0):
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step):
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:  # the first cycle does without waiting
            step += wait
        cycle, at = divmod(step, wait + warmup + active)
        if repeat and cycle >= repeat or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < wait + warmup + active - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def tensorboard_trace_handler(dir_name, worker_name=None, use_gzip=False):
    """A handler for on_trace_ready: writes <worker>.<time>.pt.trace.json into a folder."""

    def handler(prof):
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json"
        prof.export_chrome_trace(os.path.join(dir_name, name + (".gz" if use_gzip else "")))

    return handler


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


class profile:
    """Collects what operators do, as a context manager or between start() and stop().

    Args:
        activities: ProfilerActivity.CPU is what there is.
        schedule: function from the number of a step (counted by step()) to a ProfilerAction; by default all is recorded.
        on_trace_ready: called with the profiler whenever a recording ends.
        record_shapes: also the sizes of arguments.
        profile_memory: also the memory that calls allocate.
        with_stack: also where in the program each call was made.
        with_flops: also the number of operations of matrix products, convolutions, additions and multiplications.
        with_modules: accepted; PyTorch knows the modules of TorchScript only, and there are none.
        acc_events: accepted; the events of the last recording are kept.

    >>> with rl.profiler.profile(record_shapes=True) as p:
    ...     y = rl.ones(3, 3) @ rl.ones(3, 3)
    >>> "aten::mm" in p.key_averages().table(sort_by="cpu_time_total", row_limit=5)
    True
    """

    def __init__(
        self,
        *,
        activities=None,
        schedule=None,
        on_trace_ready=None,
        record_shapes=False,
        profile_memory=False,
        with_stack=False,
        with_flops=False,
        with_modules=False,
        experimental_config=None,
        execution_trace_observer=None,
        acc_events=False,
        use_cuda=None,
        custom_trace_id_callback=None,
    ):
        self.activities = set(activities) if activities else supported_activities()
        if not self.activities:
            raise AssertionError("No valid profiler activities found")
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.stepped = schedule is not None
        self.on_trace_ready = on_trace_ready
        self.record_shapes, self.profile_memory = record_shapes, profile_memory
        self.with_stack, self.with_flops, self.with_modules = with_stack, with_flops, with_modules
        self.step_num = 0
        self.current_action = self.schedule(0)
        self.profiler = None
        self.metadata = {}
        self._step = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        if self.current_action in _RECORDING:
            self._begin()

    def stop(self):
        if self.current_action in _RECORDING:
            self._finish()

    def step(self):
        """The next step of the schedule begins."""
        before = self.current_action
        recording = before in _RECORDING
        self._end_step()
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if recording and (before is ProfilerAction.RECORD_AND_SAVE or self.current_action not in _RECORDING):
            self._finish()
            recording = False
        if self.current_action in _RECORDING:
            self._begin_step() if recording else self._begin()

    def _begin(self):
        self.profiler = _collector(
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
            with_flops=self.with_flops,
            with_modules=self.with_modules,
        )
        self.profiler.__enter__()
        self._begin_step()

    def _begin_step(self):
        if self.stepped:
            self._step = record_function(f"ProfilerStep#{self.step_num}")
            self._step.__enter__()

    def _end_step(self):
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None

    def _finish(self):
        self._end_step()
        self.profiler.__exit__(None, None, None)
        if self.on_trace_ready:
            self.on_trace_ready(self)

    def _finished(self):
        if self.profiler is None:
            raise AssertionError("Profiler must be initialized before accessing its events")
        return self.profiler

    def events(self):
        """The events of the last recording, as an EventList."""
        return self._finished()._events()

    def key_averages(self, group_by_input_shape=False, group_by_stack_n=0, group_by_overload_name=False):
        """The events by name, as an EventList with table()."""
        return self._finished().key_averages(group_by_input_shape, group_by_stack_n, group_by_overload_name)

    def export_chrome_trace(self, path):
        """Writes the last recording for chrome://tracing or Perfetto; compressed where the name ends in .gz."""
        content = {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": self.events().trace_events()}
        write_trace(path, self.metadata | content)

    def export_stacks(self, path, metric="self_cpu_time_total"):
        """Writes one line for each stack with its time in microseconds, as tools for flame graphs read it (with_stack)."""
        return self.events().export_stacks(path, metric)

    def add_metadata(self, key, value):
        """A text that goes into the trace file."""
        self.metadata[key] = value

    def add_metadata_json(self, key, value):
        """A JSON text that goes into the trace file as what it describes."""
        self.metadata[key] = json.loads(value)

    def preset_metadata_json(self, key, value):
        """As add_metadata_json()."""
        self.add_metadata_json(key, value)
