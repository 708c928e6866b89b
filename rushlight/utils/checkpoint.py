"""Checkpoints inside a network: a function's intermediate values are dropped after the forward pass and computed again for
backward.

Without reentrance (use_reentrant=False) the saved-tensor hooks put a number in place of every saved tensor; the first one
that is asked for runs the function again and fills them all. With reentrance a custom Function runs forward without a
graph, and its backward() runs forward and a backward pass of its own.
"""

import contextlib
import warnings
import weakref

from .. import _C
from ..amp.autocast_mode import autocast
from ..autograd import Function, backward, enable_grad
from ..autograd.graph import saved_tensors_hooks
from ..random import get_rng_state, set_rng_state
from ._selective import SAC_IGNORED_OPS as SAC_IGNORED_OPS
from ._selective import CheckpointPolicy as CheckpointPolicy
from ._selective import SelectiveCheckpointContext as SelectiveCheckpointContext
from ._selective import create_selective_checkpoint_contexts as create_selective_checkpoint_contexts

__all__ = ["SAC_IGNORED_OPS", "CheckpointError", "CheckpointFunction", "CheckpointPolicy", "DefaultDeviceType",
           "SelectiveCheckpointContext", "check_backward_validity", "create_selective_checkpoint_contexts",
           "get_device_states", "set_device_states", "checkpoint", "checkpoint_sequential",
           "detach_variable", "noop_context_fn", "set_checkpoint_debug_enabled", "set_checkpoint_early_stop"]  # fmt: skip

Tensor = _C.Tensor

_debug = None  # of set_checkpoint_debug_enabled: overrides the argument
_early_stop = None


class CheckpointError(RuntimeError):
    """The function did not do the same when it ran again."""


class _Stop(Exception):
    """Everything that backward reads is there."""


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled):
    """Inside, errors of checkpoints list the operators of both runs, or never do; None leaves it to each call."""
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


@contextlib.contextmanager
def set_checkpoint_early_stop(enable):
    """Inside, checkpoints stop computing again as soon as they have what backward reads, or always run to the end."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


def noop_context_fn():
    """Two contexts that do nothing, for the first run and for the second."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class DefaultDeviceType:
    """The device whose random state reentrant checkpoints keep beside the CPU's; kept, and without an effect here."""

    _kind = "cuda"

    @staticmethod
    def set_device_type(device="cuda"):
        """Choose the device type."""
        DefaultDeviceType._kind = device

    @staticmethod
    def get_device_type():
        """The device type."""
        return DefaultDeviceType._kind


def get_device_states(*args):
    """Devices of the arguments beside the CPU, and their random states: none."""
    return [], []


def set_device_states(devices, states, *, device_type=None):
    """Random states of devices beside the CPU: there are none."""


def detach_variable(inputs):
    """The inputs with tensors detached; they require grad as before."""
    if not isinstance(inputs, tuple):
        raise RuntimeError("Only tuple of tensors is supported. Got Unsupported input type: ", type(inputs).__name__)
    return tuple(
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x for x in inputs
    )


def check_backward_validity(inputs):
    """Warns where nothing among the inputs requires grad."""
    if not any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


class _Surroundings:
    """What a run of the function depends on beside its arguments, as it is now: autocast, and random numbers."""

    def __init__(self, preserve_rng_state):
        self.rng_state = get_rng_state() if preserve_rng_state else None
        self.casting, self.dtype = _C._autocasting(), _C._autocast_dtype()
        self.caching = _C.is_autocast_cache_enabled()

    @contextlib.contextmanager
    def restored(self):
        """Inside it is as it was; afterwards as if nothing had been drawn."""
        before = get_rng_state() if self.rng_state is not None else None
        if self.rng_state is not None:
            set_rng_state(self.rng_state)
        try:
            with autocast("cpu", self.dtype, self.casting, self.caching):
                yield
        finally:
            if before is not None:
                set_rng_state(before)


# ---- with reentrance ----


class CheckpointFunction(Function):
    """checkpoint(..., use_reentrant=True): run_function without a graph, which backward() makes."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve_rng_state)
        ctx.args = [None if isinstance(x, Tensor) else x for x in args]
        ctx.places = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        return run_function(*args)

    @staticmethod
    def backward(ctx, *grads):
        if not _C._in_plain_backward():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        args = list(ctx.args)
        for i, x in zip(ctx.places, ctx.saved_tensors):
            args[i] = x
        args = detach_variable(tuple(args))
        with ctx.surroundings.restored(), enable_grad():
            outputs = ctx.run_function(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        live = [(o, g) for o, g in zip(outputs, grads) if isinstance(o, Tensor) and o.requires_grad]
        if not live:
            raise RuntimeError(
                "none of output has requires_grad=True, this checkpoint() is not necessary"
            )
        backward([o for o, _ in live], [g for _, g in live])
        return (None, None, *(x.grad if isinstance(x, Tensor) else None for x in args))


# ---- without ----


class _Holder:
    """Stands for a saved tensor in the graph."""

    __slots__ = ("__weakref__", "index")

    def __init__(self, index):
        self.index = index


def _description(t):
    return {"shape": t.shape, "dtype": t.dtype, "device": t.device}


class _Frame:
    """One checkpointed call: what it takes to run it again, and what came of that."""

    def __init__(self, function, args, kwargs, preserve_rng_state, context, early_stop, check, debug):
        self.function, self.args, self.kwargs = function, args, kwargs
        self.surroundings = _Surroundings(preserve_rng_state)
        self.context = context
        self.early_stop, self.check, self.debug = early_stop, check, debug
        self.versions = [(x, x._version) for x in (*args, *kwargs.values())
                         if isinstance(x, Tensor) and not x.is_inference()]  # fmt: skip
        self.holders = []  # weak: a saved tensor that nobody waits for need not be computed
        self.saved = []  # descriptions
        self.again = {}  # index -> tensor, as long as nobody has asked for it
        self.names = []  # of operators, with debug

    def pack(self, t):
        holder = _Holder(len(self.holders))
        self.holders.append(weakref.ref(holder))
        self.saved.append(_description(t))
        return holder

    def unpack(self, holder):
        if holder.index not in self.again:
            self.run_again()
        if holder.index not in self.again:
            raise CheckpointError(
                "torch.utils.checkpoint: trying to access a tensor that was saved in the forward pass but not when it was "
                "computed again."
            )
        return self.again.pop(holder.index)

    def run_again(self):
        for x, version in self.versions:
            if x._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: an "
                    f"input of a checkpointed function, of shape {list(x.shape)}, is at version {x._version}; expected "
                    f"version {version} instead."
                )
        waiting = [i for i, holder in enumerate(self.holders) if holder() is not None]
        found = []

        def pack(t):
            found.append(t.detach())
            if self.early_stop and len(found) > waiting[-1]:
                raise _Stop
            return found[-1]

        names = []
        with self.surroundings.restored(), enable_grad(), self.context, saved_tensors_hooks(pack, lambda t: t):
            try:
                with _listed(names if self.debug else None):
                    self.function(*self.args, **self.kwargs)
            except _Stop:
                pass
        self.again = {i: found[i] for i in waiting if i < len(found)}
        self.compare(found, names)

    def compare(self, found, names):
        if self.early_stop and len(found) == max(i for i, h in enumerate(self.holders) if h() is not None) + 1:
            expected = self.saved[: len(found)]
        else:
            expected = self.saved
        if len(found) != len(expected):
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.saved)}\n"
                f"Number of tensors saved during recomputation: {len(found)}.\n{self.advice(names)}"
            )
        if not self.check:
            return
        differ = [(i, a, _description(t)) for i, (a, t) in enumerate(zip(expected, found)) if a != _description(t)]
        if differ:
            lines = "".join(
                f"tensor at position {i}:\nsaved metadata: {a}\nrecomputed metadata: {b}\n" for i, a, b in differ
            )
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than during "
                f"the forward pass.\n{lines}.\n{self.advice(names)}"
            )

    def advice(self, names):
        if not self.debug:
            return (
                "\nTip: To see a more detailed error message, either pass `debug=True` to\n"
                "`torch.utils.checkpoint.checkpoint(...)` or wrap the code block\n"
                "with `with torch.utils.checkpoint.set_checkpoint_debug_enabled(True):` to\n"
                "enable checkpoint debug mode globally.\n"
            )
        return f"\nOperators of the original forward: {self.names}\nOperators of the recomputation: {names}\n"


@contextlib.contextmanager
def _listed(names):
    """Adds the names of the operators that run inside; while a profiler is active they are not known."""
    if names is None or _C._profiler_enabled():
        yield
        return
    _C._profiler_start(False, False, False)
    try:
        yield
    finally:
        names.extend(event[0] for event in _C._profiler_stop())


def checkpoint(
    function,
    *args,
    use_reentrant=None,
    context_fn=noop_context_fn,
    determinism_check="default",
    debug=False,
    early_stop=True,
    **kwargs,
):
    """function(*args, **kwargs), whose intermediate values are computed again for backward instead of being kept.

    Args:
        preserve_rng_state: draw the same random numbers again (default True).
        use_reentrant: False is the better way: it works with autograd.grad, keyword arguments and nested structures.
        context_fn: gives two context managers, for the first run and for the second.
        determinism_check: "default" compares shape, dtype and device of what both runs save, "none" does not.
        debug: an error lists the operators of both runs.
        early_stop: end the second run when everything that backward reads is there.

    Errors: CheckpointError where the second run saves other tensors than the first.

    >>> x = rl.ones(2, requires_grad=True)
    >>> y = rl.utils.checkpoint.checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False)
    >>> y.sum().backward()
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but if "
            "you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for more "
            "details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs and use_reentrant:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    if use_reentrant:
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    if not _C.is_grad_enabled():
        with context_fn()[0]:
            return function(*args, **kwargs)
    first, second = context_fn()
    debug = debug if _debug is None else _debug
    early_stop = early_stop if _early_stop is None else _early_stop
    frame = _Frame(function, args, kwargs, preserve, second, early_stop, determinism_check == "default", debug)
    with first, saved_tensors_hooks(frame.pack, frame.unpack), _listed(frame.names if debug else None):
        return function(*args, **kwargs)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """The functions one after the other, in segments of which all but the last are checkpointed.

    Args:
        functions: a Sequential, or a list of modules or functions.
        segments: how many.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. In "
            "version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is recommended, "
            "but if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    from ..nn import Sequential

    if isinstance(functions, Sequential):
        functions = list(functions.children())

    def segment(start, end):
        def run(x):
            for f in functions[start : end + 1]:
                x = f(x)
            return x

        return run

    size, end = len(functions) // segments, -1
    for start in range(0, size * (segments - 1), size):
        end = start + size - 1
        input = checkpoint(segment(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return segment(end + 1, len(functions) - 1)(input)
