"""Devices beside the CPU: there are none."""


def is_available():
    """Whether there is a device beside the CPU."""
    return False


def device_count():
    """The number of devices beside the CPU."""
    return 0


def current_accelerator(check_available=False):
    """The device beside the CPU: None."""
    return None


def _none(*args, **kwargs):
    raise RuntimeError("Cannot access accelerator device when none is available.")


current_device_index = current_device_idx = set_device_index = set_device_idx = current_stream = set_stream = _none
synchronize = device_index = memory_allocated = max_memory_allocated = memory_reserved = _none


def empty_cache():
    """Give cached device memory back: nothing to do without a device."""
