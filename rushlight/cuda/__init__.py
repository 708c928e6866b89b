"""CUDA, as a build without it answers: not available, no devices, clear errors."""

_MESSAGE = "Torch not compiled with CUDA enabled"


def is_available():
    """Whether a CUDA device can be used."""
    return False


def is_initialized():
    """Whether a CUDA context exists."""
    return False


def device_count():
    """Number of CUDA devices."""
    return 0


def is_bf16_supported(including_emulation=True):
    """Whether the device computes in bfloat16."""
    return False


def manual_seed(seed):
    """Seed the current CUDA device: nothing to do without one."""


def manual_seed_all(seed):
    """Seed all CUDA devices: nothing to do without one."""


def empty_cache():
    """Give cached device memory back: nothing to do without a device."""


def _lazy_init():
    raise AssertionError(_MESSAGE)


def _needs_device(name):
    def call(*args, **kwargs):
        _lazy_init()

    call.__name__ = name
    call.__doc__ = "Needs a CUDA device."
    return call


_NEED_DEVICE = (
    "current_device", "get_device_name", "get_device_properties", "get_device_capability", "set_device", "synchronize",
    "init", "current_stream", "default_stream", "memory_allocated", "max_memory_allocated", "memory_reserved",
    "max_memory_reserved", "memory_summary", "mem_get_info", "get_rng_state", "set_rng_state", "ipc_collect",
)  # fmt: skip
globals().update({name: _needs_device(name) for name in _NEED_DEVICE})


def memory_stats(device=None):
    """Figures of the device allocator: empty without a device."""
    return {}


def reset_peak_memory_stats(device=None):
    """Start the peak figures again."""
    _lazy_init()


class device:  # noqa: N801
    """Context that makes a CUDA device the current one; None or -1 changes nothing."""

    def __init__(self, device):
        self.idx = -1 if device is None else device

    def __enter__(self):
        if self.idx != -1:
            _lazy_init()

    def __exit__(self, *exc):
        return False


class Stream:
    """A CUDA stream (needs a device)."""

    def __init__(self, *args, **kwargs):
        _lazy_init()


class StreamContext:
    """Context of a CUDA stream; None changes nothing."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        if self.stream is not None:
            _lazy_init()

    def __exit__(self, *exc):
        return False


def stream(stream):
    """Context in which calls go to a stream; None changes nothing."""
    return StreamContext(stream)


class CUDAGraph:
    """A CUDA graph (needs a device)."""

    def __init__(self, *args, **kwargs):
        _lazy_init()


class graph:  # noqa: N801
    """Context that records a CUDA graph (needs a device)."""

    def __init__(self, *args, **kwargs):
        _lazy_init()


class Event:
    """A CUDA event (needs a device)."""

    def __init__(self, *args, **kwargs):
        _lazy_init()


def __getattr__(name):
    if name == "amp":  # few programs name it
        import importlib

        return importlib.import_module(".amp", __name__)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
