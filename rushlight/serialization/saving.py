"""save: checkpoints in PyTorch's file formats, under PyTorch's names."""

import io
import os
import pickle
import sys
from collections import OrderedDict

import rushlight as rl

from .. import _utils
from ..storage import StorageType
from . import names, options
from .archive import ArchiveWriter
from .files import is_path, written_atomically
from .safe_globals import _get_layout
from .storages import StorageTable

DEFAULT_PROTOCOL = 2
_PLAIN = frozenset({dict, list, tuple, set, str, bytes, int, float, bool, complex, type(None), OrderedDict})


class CheckpointPickler(pickle._Pickler):
    """Writes rushlight's objects under PyTorch's names. (The C pickler has no hook for names.)

    Args:
        table: the StorageTable of this save.
        extra: what the persistent id of a storage ends with.
        whole: write all of every storage.
    """

    def __init__(self, file, protocol, table, extra=(), whole=False):
        super().__init__(file, protocol)
        self._table, self._extra = table, extra
        self._part_of = None if whole else table.part_of
        self._own_reduce = {rl.Tensor.__reduce_ex__, rl.nn.Parameter.__reduce_ex__, object.__reduce_ex__}

    def persistent_id(self, obj):
        place = self._table.place(obj)
        return None if place is None else ("storage", *place, *self._extra)

    def reducer_override(self, obj):
        if type(obj) in _PLAIN:
            return NotImplemented
        if isinstance(obj, rl.Tensor):
            if type(obj).__reduce_ex__ not in self._own_reduce:
                return NotImplemented  # the class knows better
            if isinstance(obj, rl.nn.Parameter):
                return _utils.reduce_parameter(obj)
            return _utils.reduce_tensor(obj, part_of=self._part_of)
        if isinstance(obj, rl.dtype):
            return str(obj).rpartition(".")[2]
        if isinstance(obj, rl.device):
            return rl.device, (obj.type,) if obj.index is None else (obj.type, obj.index)
        if isinstance(obj, rl.Size):
            return rl.Size, (tuple(obj),)
        if isinstance(obj, rl.layout):
            return _get_layout, (str(obj),)
        if isinstance(obj, StorageType):
            return obj.__name__
        if isinstance(obj, type) or callable(obj):
            module = getattr(obj, "__module__", None)
            if isinstance(module, str) and module.partition(".")[0] in ("rushlight", "torch"):
                name = getattr(obj, "__qualname__", None)
                if name is not None and "<" not in name:
                    return name if _is_reachable(obj, module, name) else NotImplemented
        return NotImplemented

    def save_global(self, obj, name=None):
        if isinstance(obj, StorageType):
            module, name = ("torch.storage" if name == "UntypedStorage" else "torch"), obj.__name__
        elif isinstance(obj, rl.dtype):
            module = "torch"
        else:
            module = getattr(obj, "__module__", None)
            if name is None or not isinstance(module, str) or not module.startswith(("rushlight", "torch")):
                return super().save_global(obj, name)
            module, name = names.to_torch(module, name)
        if self.proto >= 4:
            self.save(sys.intern(module))
            self.save(sys.intern(name))
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)


def _is_reachable(obj, module, name):
    """Whether module.name is this object, so that a reader will find it."""
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is obj


def save(
    obj,
    f,
    pickle_module=None,
    pickle_protocol=DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization=True,
    _disable_byteorder_record=False,
    *,
    whole_storages=False,
):
    """Write any picklable object with tensors in it to a file that rushlight and PyTorch read.

    Tensors on one storage are still aliases of one another after loading. Bytes of a storage that none of the saved
    tensors reaches are left out: a view of ten elements takes ten elements in the file, whatever it is a view of.
    A path is replaced only when everything is on disk: an interrupted save leaves the old file whole.

    Args:
        f: a path, or a file object open for writing in binary mode.
        _use_new_zipfile_serialization: False writes the format that PyTorch used before 1.6.
        whole_storages: write all of every storage, as PyTorch does.
    """
    if not _use_new_zipfile_serialization:
        from .legacy import legacy_save

        with written_atomically(f) as file:
            legacy_save(obj, file, pickle_module, pickle_protocol, whole_storages)
        return
    content, records = pickled(obj, pickle_module, pickle_protocol, whole=whole_storages)
    with written_atomically(f) as file:
        archive = ArchiveWriter(file, _top_folder(f), _alignment(), options.get_crc32_options())
        archive.write("data.pkl", content)
        archive.write(".format_version", b"1")
        archive.write(".storage_alignment", str(_alignment()).encode())
        if not _disable_byteorder_record:
            archive.write("byteorder", sys.byteorder.encode())
        for part, _ in records:
            archive.write(f"data/{part.key}", part.bytes())
        archive.write("version", b"3\n")
        archive.write(".data/serialization_id", archive.serialization_id())
        archive.finish()


def pickled(obj, pickle_module, protocol, extra=(), whole=False):
    """The object as a pickle, and the records that it refers to: pairs of a part of a storage and its type."""
    table = StorageTable()
    content = io.BytesIO()
    _pickler(pickle_module, content, protocol, table, extra, whole).dump(obj)
    records = table.records
    if table.trim():  # see Note [Saving views]
        content = io.BytesIO()
        _pickler(pickle_module, content, protocol, table, extra, whole).dump(obj)
        records = table.records
    return content.getvalue(), records


def _pickler(pickle_module, file, protocol, table, extra, whole):
    if pickle_module is None or pickle_module is pickle:
        return CheckpointPickler(file, protocol, table, extra, whole)

    class Pickler(pickle_module.Pickler):
        """A pickler of the caller's module: storages are placed, names stay as that module writes them."""

        def persistent_id(self, obj):
            place = table.place(obj)
            return None if place is None else ("storage", *place, *extra)

    return Pickler(file, protocol)


def _alignment():
    from ..utils.serialization import config

    return config.save.storage_alignment


def _top_folder(f):
    """The folder inside the archive: the file's name up to its last dot."""
    if not is_path(f) or not os.fspath(f).isascii():
        return "archive"
    name = os.path.basename(os.fspath(f))
    stem = name.rpartition(".")[0] if "." in name else name
    if not stem:
        raise RuntimeError(f"invalid file name: {name}")
    return stem
