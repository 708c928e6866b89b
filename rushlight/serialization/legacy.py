"""The checkpoint format of before PyTorch 1.6: five pickles one after another, then the storages' bytes."""

import os
import pickle
import struct

import rushlight as rl

from .._utils import sparse_tensors_checked_at_the_end
from ..storage import MetaStorage
from . import unpickler
from .loading import CHANGED, check_storage_id, read_pickle, typed
from .places import empty_storage, only_meta
from .storages import item_size

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def legacy_save(obj, file, pickle_module, protocol, whole=False):
    """Write obj and then its storages."""
    from .saving import pickled

    content, records = pickled(obj, pickle_module, protocol, extra=(None,), whole=whole)
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": _PROTOCOL, "little_endian": True, "type_sizes": sizes}
    for header in (_MAGIC, _PROTOCOL, system):
        pickle.dump(header, file, protocol=protocol)
    file.write(content)
    records = sorted(records, key=lambda record: record[0].key)
    pickle.dump([part.key for part, _ in records], file, protocol=protocol)
    file.flush()
    for part, kind in records:
        file.write(struct.pack("<q", part.nbytes() // item_size(kind)))
        file.write(part.bytes())


def legacy_load(file, map_location, restore, weights_only, pickle_module, pickle_load_args):
    """Read what legacy_save wrote, from the file's present position."""
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    if end == start:
        raise EOFError("Ran out of input: the file is empty")
    file.seek(start + 257)
    if start == 0 and file.read(5) == b"ustar":
        if weights_only:
            raise RuntimeError(
                "Cannot use ``weights_only=True`` with files saved in the legacy .tar format. " + CHANGED
            )
        raise NotImplementedError(
            "the file has the .tar format of PyTorch before 0.2, which rushlight does not read"
        )
    file.seek(start)
    storages = _Storages(end - start, map_location, restore)

    def read(persistent_load):
        return read_pickle(file, persistent_load, weights_only, pickle_module, pickle_load_args)

    if read(_no_storages) != _MAGIC:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = read(_no_storages)
    if version != _PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {unpickler._brief(version)}")
    read(_no_storages)  # sizes of C types: of no use
    with sparse_tensors_checked_at_the_end():
        result = read(storages.find)
        storages.fill(file, read(_no_storages))
    return result


def _no_storages(pid):
    raise pickle.UnpicklingError("a storage where none can be")


class _Storages:
    """Storages are made while unpickling and filled afterwards, in place."""

    def __init__(self, available, map_location, restore):
        self._available, self._map_location, self._restore = available, map_location, restore
        self._made = {}  # key -> (storage in memory or None, storage to give, element size)
        self._views = {}

    def find(self, pid):
        """The storage, or for ('module', class, source, ...) the class."""
        if pid[0] == "module":
            return pid[1]
        dtype, key, location, numel = check_storage_id(pid)
        if key not in self._made:
            self._made[key] = self._make(dtype, location, numel)
        view = pid[5] if len(pid) > 5 else None
        storage = self._made[key][1] if view is None else self._view(key, view)
        return typed(storage, dtype)

    def _make(self, dtype, location, numel):
        size = 1 if dtype is None else dtype.itemsize
        nbytes = numel * size
        self._available -= nbytes
        if self._available < 0:  # before any memory is asked for
            raise RuntimeError(
                f"the file is too short for a storage of {nbytes} bytes: it is truncated or damaged"
            )
        if only_meta(self._map_location, location):
            return None, MetaStorage(nbytes), size
        storage = empty_storage(nbytes)
        return storage, self._restore(storage, location), size

    def _view(self, key, view):
        """A slice of a storage, in very old files: (key of the slice, offset, length) in elements."""
        if not isinstance(view, tuple) or [type(part) for part in view] != [str, int, int]:
            raise unpickler.DamagedPickle("damaged description of a view of a storage")
        view_key, offset, length = view
        if view_key not in self._views:
            storage, _, size = self._made[key]
            if min(offset, length) < 0 or storage is None or (offset + length) * size > storage.nbytes():
                raise RuntimeError("a view of a storage lies outside it: the file is damaged")
            self._views[view_key] = rl.UntypedStorage._from_buffer(storage, offset * size, length * size)
        return self._views[view_key]

    def fill(self, file, keys):
        """Read the bytes of every storage, in the order of keys."""
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise unpickler.DamagedPickle("the list of storages is damaged")
        if set(keys) != set(self._made) or len(keys) != len(self._made):
            raise RuntimeError("the file's list of storages is not that of its tensors: it is damaged")
        for key in keys:
            storage, given, size = self._made[key]
            header = file.read(8)
            if len(header) != 8:
                raise RuntimeError("unexpected end of file: it is truncated")
            nbytes = struct.unpack("<q", header)[0] * size
            if nbytes != given.nbytes():
                raise RuntimeError(f"storage has wrong byte size: expected {given.nbytes()} got {nbytes}")
            if storage is None:
                file.seek(nbytes, os.SEEK_CUR)
                continue
            data = file.read(nbytes)
            if len(data) != nbytes:
                missing = nbytes - len(data)
                raise RuntimeError(
                    f"unexpected EOF, expected {missing} more bytes. The file might be corrupted."
                )
            if nbytes:
                memoryview(storage)[:] = data
            if given is not storage and hasattr(given, "copy_"):
                given.copy_(storage)
