"""The state of every random stream of the process, in a form that checkpoints can hold: PyTorch's, Python's, NumPy's."""

import random

import numpy as np

import rushlight as rl


def capture():
    """The present states, as a dict of tensors and numbers."""
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, cached = np.random.get_state()
    return {
        "default": rl.get_rng_state(),
        "python": (version, words, gauss),
        "numpy": (name, rl.tensor(key.astype(np.int64)), int(position), int(has_gauss), float(cached)),
    }


def restore(states):
    """Go back to captured states."""
    rl.set_rng_state(states["default"])
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, key, *rest = states["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), *rest))


def fingerprint():
    """A value that changes whenever a number is drawn from any of the streams."""
    numpy_state = np.random.get_state()
    return (
        bytes(memoryview(rl.get_rng_state().untyped_storage())),
        random.getstate(),
        (numpy_state[1].tobytes(), *numpy_state[2:]),
    )
