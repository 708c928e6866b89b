"""Where storages go: location tags of files, map_location, byte order."""

import sys

import numpy as np

import rushlight as rl

from ..storage import MetaStorage


def location_tag(storage):
    """The name of a storage's place in a file: "cpu", "cuda:0", "meta"."""
    if isinstance(storage, MetaStorage):
        return "meta"
    device = str(getattr(storage, "device", "cpu"))
    return sys.intern(
        "cuda:0" if device == "cuda" else device
    )  # one object: pickled once, referred to after that


def default_restore_location(storage, location):
    """Move a storage that was read into CPU memory to where it was saved."""
    if location == "cpu":
        return storage
    if location == "meta":
        return MetaStorage(storage.nbytes())
    if location.startswith("cuda"):
        if not rl.cuda.is_available():
            raise RuntimeError(
                "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are "
                "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map "
                "your storages to the CPU."
            )
        return storage.to(device=rl.device(location))
    raise RuntimeError(
        f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with {location})"
    )


def restorer(map_location):
    """map_location in any form -> function(storage, saved location) -> storage."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(
            storage, map_location.get(location, location)
        )
    if isinstance(map_location, (str, bytes)) or isinstance(map_location, rl.device):
        place = map_location.decode() if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, location: default_restore_location(storage, place)
    if not callable(map_location):
        raise TypeError(
            f"'{type(map_location).__name__}' object is not callable: map_location={map_location!r}"
        )

    def restore(storage, location):
        moved = map_location(storage, location)
        if moved is None:
            return default_restore_location(storage, location)
        if not isinstance(moved, (rl.UntypedStorage, MetaStorage)):
            raise TypeError(f"map_location must return an UntypedStorage or None, got {type(moved).__name__}")
        return moved

    return restore


def only_meta(map_location, location):
    """Whether the data need not be read at all."""
    if isinstance(map_location, dict):
        map_location = map_location.get(location, location)
    return str(map_location) == "meta" or (map_location is None and location == "meta")


def empty_storage(nbytes):
    """A storage that is about to be filled."""
    return rl.empty(nbytes, dtype=rl.uint8).untyped_storage()


def swap_bytes(storage, dtype):
    """Turn the bytes of every element around (of complex numbers: of each part)."""
    size = dtype.itemsize // (2 if dtype.is_complex else 1)
    if size > 1:
        np.frombuffer(storage, f"u{size}").byteswap(inplace=True)


def host_bytes(storage):
    """The bytes of a storage as a buffer in this process's memory."""
    if location_tag(storage) != "cpu":
        storage = storage.cpu()
    return memoryview(storage)
