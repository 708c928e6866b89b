"""The CPU as a device: memory figures, and the functions that every device module has."""

from .. import _C


def is_available():
    """Whether the CPU can be used: always."""
    return True


def device_count():
    """Number of CPU devices: one."""
    return 1


def current_device():
    """Name of the current device."""
    return "cpu"


def synchronize(device=None):
    """Wait for the device: calls on the CPU have finished when they return."""


def memory_stats(device=None):
    """Figures of the caching allocator, in bytes."""
    return _C._memory_stats()


def empty_cache():
    """Give cached blocks back to the operating system."""
    _C._empty_cache()


def reset_peak_memory_stats(device=None):
    """Start the peak figures again."""
    _C._reset_peak_memory()


def __getattr__(name):
    if name == "amp":  # few programs name it
        import importlib

        return importlib.import_module(".amp", __name__)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
