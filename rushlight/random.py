"""Random number state: seeds, generators, saving and restoring the stream."""

from contextlib import contextmanager as _contextmanager

from . import _C
from ._C import Generator as Generator

default_generator = _C.default_generator


def manual_seed(seed):
    """Seed the default generator with int(seed) and return it. Negative seeds count from 2**64."""
    return default_generator.manual_seed(int(seed))


def seed():
    """Seed the default generator from the operating system; returns the seed."""
    return default_generator.seed()


def initial_seed():
    """The last seed that was set, as a Python int."""
    return default_generator.initial_seed()


def get_rng_state():
    """State of the default generator: a uint8 tensor of 5056 bytes."""
    return default_generator.get_state()


def set_rng_state(new_state):
    """Restore a state given by get_rng_state."""
    default_generator.set_state(new_state)


@_contextmanager
def fork_rng(devices=None, enabled=True, _caller="fork_rng", _devices_kw="devices", device_type="cuda"):
    """Restore the state of the default generator when the block ends."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def thread_safe_generator():
    """The generator of the current data-loading worker, if that is a thread; None elsewhere."""
    from .utils.data import get_worker_info

    info = get_worker_info()
    return info.rng.torch_generator if info is not None and info.rng is not None else None
