"""save and load: checkpoints in PyTorch's file formats, read without running code, written atomically.

The zip container is in _zipfile.py, the format of before 1.6 in _legacy_format.py, the safe reader of pickles in
_unpickler.py, and the names by which files call our objects in _torch_names.py.
"""

import io
import os
import pickle
import sys
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from enum import Enum

import rushlight as rl

from . import _torch_names, _unpickler, _utils
from ._zipfile import ArchiveReader, ArchiveWriter
from .storage import MetaStorage, StorageType, TypedStorage

DEFAULT_PROTOCOL = 2


class LoadEndianness(Enum):
    NATIVE = 1
    LITTLE = 2
    BIG = 3


_settings = {"endianness": None, "crc32": True, "mmap": None}


def set_crc32_options(compute_crc32):
    """Whether saving computes the checksums that zip tools verify; loading never needs them."""
    _settings["crc32"] = bool(compute_crc32)


def get_crc32_options():
    return _settings["crc32"]


def get_default_load_endianness():
    return _settings["endianness"]


def set_default_load_endianness(endianness):
    """The byte order of files that do not name one."""
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _settings["endianness"] = endianness


def get_default_mmap_options():
    import mmap

    return _settings["mmap"] if _settings["mmap"] is not None else mmap.MAP_PRIVATE


class set_default_mmap_options:
    """mmap.MAP_PRIVATE (changes stay in memory) or mmap.MAP_SHARED (changes go to the file); also for `with`."""

    def __init__(self, flags):
        import mmap

        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or "
                f"mmap.MAP_SHARED, but got {flags}"
            )
        self._before = _settings["mmap"]
        _settings["mmap"] = flags

    def __enter__(self):
        return None

    def __exit__(self, *error):
        _settings["mmap"] = self._before


# ---- safe globals


def add_safe_globals(safe_globals):
    """Allow classes and functions in load(weights_only=True).

    Args:
        safe_globals: list of them, or of pairs (object, "full.path") for a name other than their own.
    """
    for entry in safe_globals:
        obj = entry[0] if isinstance(entry, tuple) else entry
        if not callable(obj):
            raise TypeError(f"add_safe_globals expects classes and functions, got {obj!r}")
        _unpickler._user_globals[id(obj)] = entry


def get_safe_globals():
    return list(_unpickler._user_globals.values())


def clear_safe_globals():
    _unpickler._user_globals.clear()


class safe_globals:
    """add_safe_globals for the length of a `with` block."""

    def __init__(self, safe_globals):
        self._added = safe_globals

    def __enter__(self):
        self._before = dict(_unpickler._user_globals)
        add_safe_globals(self._added)

    def __exit__(self, *error):
        _unpickler._user_globals.clear()
        _unpickler._user_globals.update(self._before)


def get_unsafe_globals_in_checkpoint(f):
    """The globals of a checkpoint that load(weights_only=True) would refuse, without loading it."""
    import pickletools

    with _opened(f) as file:
        if not _is_zip(file):
            raise ValueError("Expected input to be a checkpoint returned by torch.save")
        data = ArchiveReader(file).read("data.pkl")
    found, strings = [], []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            found.append(tuple(argument.split(" ", 1)))
        elif opcode.name == "STACK_GLOBAL":
            found.append(tuple(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    unsafe = set()
    for module, name in found:
        try:
            _unpickler.find_allowed(module, name)
        except NotImplementedError:
            pass
        except pickle.UnpicklingError:
            unsafe.add(".".join(_unpickler._modern(module, name)))
    return sorted(unsafe)


def _get_layout(name):
    """The layout object of a name such as "torch.strided"."""
    word = name.rpartition(".")[2]
    known = ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "_mkldnn")
    if word not in known or not hasattr(rl, word):
        raise pickle.UnpicklingError(f"unknown layout {name}")
    return getattr(rl, word)


# ---- where storages go


def location_tag(storage):
    """The name of a storage's place in a file: "cpu", "cuda:0", "meta"."""
    if isinstance(storage, MetaStorage):
        return "meta"
    device = str(getattr(storage, "device", "cpu"))
    return sys.intern("cuda:0" if device == "cuda" else device)  # one object: pickled once, referred to after that


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


def _restorer(map_location):
    """map_location in any form -> function(storage, saved location) -> storage."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(storage, map_location.get(location, location))
    if isinstance(map_location, (str, bytes)) or isinstance(map_location, rl.device):
        place = map_location.decode() if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, location: default_restore_location(storage, place)
    if not callable(map_location):
        raise TypeError(f"'{type(map_location).__name__}' object is not callable: map_location={map_location!r}")

    def restore(storage, location):
        moved = map_location(storage, location)
        if moved is None:
            return default_restore_location(storage, location)
        if not isinstance(moved, (rl.UntypedStorage, MetaStorage)):
            raise TypeError(f"map_location must return an UntypedStorage or None, got {type(moved).__name__}")
        return moved

    return restore


def _only_meta(map_location, location):
    """Whether the data need not be read at all."""
    if isinstance(map_location, dict):
        map_location = map_location.get(location, location)
    return str(map_location) == "meta" or (map_location is None and location == "meta")


def _swap_bytes(storage, dtype):
    """Turn the bytes of every element around (of complex numbers: of each part)."""
    size = dtype.itemsize // (2 if dtype.is_complex else 1)
    if size > 1:
        storage._as_numpy().view(f"u{size}").byteswap(inplace=True)


# ---- files


def _is_path(f):
    return isinstance(f, (str, os.PathLike))


@contextmanager
def _opened(f):
    if _is_path(f):
        with open(f, "rb") as file:
            yield file
        return
    for method in ("seek", "tell", "read", "readline"):
        if not hasattr(f, method):
            raise AttributeError(
                f"{type(f).__name__!r} object has no attribute {method!r}. You can only torch.load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    yield f


def _is_zip(file):
    start = file.tell()
    signature = file.read(4)
    file.seek(start)
    if not isinstance(signature, bytes):
        raise TypeError(f"expected a file opened in binary mode, but it gives {type(signature).__name__}")
    return signature == b"PK\x03\x04"


@contextmanager
def _written_atomically(f):
    """A file object for the content of f. A path gets all of it or keeps its old content, whatever happens."""
    if not _is_path(f):
        if not hasattr(f, "write"):
            raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
        yield f
        f.flush() if hasattr(f, "flush") else None
        return
    path = os.path.realpath(os.fspath(f))  # a link stays, its target is replaced
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {os.path.dirname(os.fspath(f))} does not exist.")
    if os.path.isdir(path):
        raise RuntimeError(f"{os.fspath(f)}: open file failed with strerror: Is a directory")
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe: nothing to protect
        with open(path, "wb") as file:
            yield file
        return
    temporary = os.path.join(folder, f".{os.path.basename(path)[:100]}.{os.getpid()}.{os.urandom(6).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(temporary, os.stat(path).st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # make the new name itself durable
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError:  # not every file system can
            pass
        finally:
            os.close(handle)


# ---- saving

_PLAIN = frozenset({dict, list, tuple, set, str, bytes, int, float, bool, complex, type(None), OrderedDict})


class CheckpointPickler(pickle._Pickler):
    """Writes rushlight's objects under PyTorch's names. (The C pickler has no hook for names.)

    Args:
        place: function(storage, dtype) -> the persistent id of a storage.
    """

    def __init__(self, file, protocol, place):
        super().__init__(file, protocol)
        self._place = place
        self._own_reduce = {rl.Tensor.__reduce_ex__, rl.nn.Parameter.__reduce_ex__, object.__reduce_ex__}

    def persistent_id(self, obj):
        if isinstance(obj, TypedStorage):
            return self._place(obj._untyped_storage, obj.dtype)
        if isinstance(obj, rl.UntypedStorage):
            return self._place(obj, None)
        return None

    def reducer_override(self, obj):
        if type(obj) in _PLAIN:
            return NotImplemented
        if isinstance(obj, rl.Tensor):
            if type(obj).__reduce_ex__ not in self._own_reduce:
                return NotImplemented  # the class knows better
            if isinstance(obj, rl.nn.Parameter):
                return _utils._reduce_parameter(obj)
            return _utils._reduce_tensor(obj)
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
            module, name = _torch_names.to_torch(module, name)
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
):
    """Write any picklable object with tensors in it to a file that rushlight and PyTorch read.

    Tensors on one storage are still on one storage after loading; the whole storage is written even for a small
    view. A path is replaced only when everything is on disk: an interrupted save leaves the old file whole.

    Args:
        f: a path, or a file object open for writing in binary mode.
        _use_new_zipfile_serialization: False writes the format that PyTorch used before 1.6.
    """
    if not _use_new_zipfile_serialization:
        from ._legacy_format import legacy_save

        with _written_atomically(f) as file:
            legacy_save(obj, file, pickle_module, pickle_protocol)
        return
    keys, storages, dtypes = {}, [], {}

    def place(storage, dtype):
        kind = StorageType.of(dtype) if dtype is not None else StorageType("UntypedStorage")
        address = storage.data_ptr()
        if address and dtypes.setdefault(address, kind) is not kind:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
        key = keys.get(_utils._storage_key(storage))
        if key is None:
            key = keys[_utils._storage_key(storage)] = str(len(keys))
            storages.append(storage)
        size = kind.dtype.itemsize if kind.dtype is not None else 1
        return ("storage", kind, key, location_tag(storage), storage.nbytes() // size)

    content = io.BytesIO()
    _make_pickler(pickle_module, content, pickle_protocol, place).dump(obj)
    with _written_atomically(f) as file:
        archive = ArchiveWriter(file, _top_folder(f), _alignment(), get_crc32_options())
        archive.write("data.pkl", content.getvalue())
        archive.write(".format_version", b"1")
        archive.write(".storage_alignment", str(_alignment()).encode())
        if not _disable_byteorder_record:
            archive.write("byteorder", sys.byteorder.encode())
        for key, storage in enumerate(storages):
            archive.write(f"data/{key}", _host_bytes(storage))
        archive.write("version", b"3\n")
        archive.write(".data/serialization_id", archive.serialization_id())
        archive.finish()


def _make_pickler(pickle_module, file, protocol, place):
    if pickle_module is None or pickle_module is pickle:
        return CheckpointPickler(file, protocol, place)

    class Pickler(pickle_module.Pickler):
        """A pickler of the caller's module: storages are placed, names stay as that module writes them."""

        def persistent_id(self, obj):
            return CheckpointPickler.persistent_id(self, obj)

        _place = staticmethod(place)

    return Pickler(file, protocol)


def _host_bytes(storage):
    if location_tag(storage) != "cpu":
        storage = storage.cpu()
    return storage._as_numpy()


def _alignment():
    from .utils.serialization import config

    return config.save.storage_alignment


def _top_folder(f):
    """The folder inside the archive: the file's name up to its last dot."""
    if not _is_path(f) or not os.fspath(f).isascii():
        return "archive"
    name = os.path.basename(os.fspath(f))
    stem = name.rpartition(".")[0] if "." in name else name
    if not stem:
        raise RuntimeError(f"invalid file name: {name}")
    return stem


# ---- loading

_DOCS = (
    "\n\nCheck the documentation of torch.load to learn more about types accepted by default with weights_only "
    "https://pytorch.org/docs/stable/generated/torch.load.html."
)
_CHANGED = (
    "In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from `False` to "
    "`True`. Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in "
    "arbitrary code execution. Do it only if you got the file from a trusted source."
)


def _explain(error):
    """An error of the safe unpickler with what can be done about it."""
    text = str(error)
    if text.startswith("Unsupported global"):
        return pickle.UnpicklingError(
            "Weights only load failed. This file can still be loaded, to do so you have two options, \033[1mdo those "
            f"steps only if you trust the source of the checkpoint\033[0m. \n\t(1) {_CHANGED}\n\t(2) Alternatively, to "
            "load with `weights_only=True` please check the recommended steps in the following error message.\n\t"
            f"WeightsUnpickler error: {text}{_DOCS}"
        )
    request = (
        ""
        if isinstance(error, _unpickler.BlockedGlobal)
        else "Please file an issue with the following so that we can make `weights_only=True` compatible with your use "
        "case: WeightsUnpickler error: "
    )
    return pickle.UnpicklingError(f"Weights only load failed. {_CHANGED}\n{request}\n\n{text}{_DOCS}")


def _decide_weights_only(weights_only, pickle_module):
    """weights_only after the environment variables have had their say."""

    def is_set(name):
        return os.environ.get(name, "0").lower() in ("1", "y", "yes", "true")

    force, relax = is_set("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), is_set("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if force and relax:
        raise RuntimeError(
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should be set, but both "
            "were set."
        )
    if weights_only is None:
        weights_only = pickle_module is None
        if relax:
            warnings.warn(
                "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the`weights_only` argument was "
                "not explicitly passed to `torch.load`, forcing weights_only=False.",
                UserWarning,
                stacklevel=3,
            )
            weights_only = False
    weights_only = weights_only or force
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    return weights_only


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args):
    """Read what save wrote, here or in PyTorch.

    Args:
        f: a path, or a seekable file object open in binary mode.
        map_location: where storages go: a device, a dict from saved to new locations, or a function
            (storage, location) -> storage.
        weights_only: True (the default) builds only tensors, containers and numbers, and what add_safe_globals
            allows; no code of the file runs. False unpickles anything: only for files you trust.
        mmap: map the file into memory instead of reading it (paths in the zip format only).
    """
    weights_only = _decide_weights_only(weights_only, pickle_module)
    if _is_path(f) and os.fspath(f).endswith(".safetensors"):
        from . import safetensors

        return safetensors.load_file(f, device=map_location if map_location is not None else "cpu")
    pickle_load_args.setdefault("encoding", "utf-8")
    if mmap and not _is_path(f):
        raise ValueError("f must be a file path in order to use the mmap argument")
    restore = _restorer(map_location)
    try:
        with _opened(f) as file:
            if _is_zip(file):
                reader = _ZipLoader(file, map_location, restore, f if mmap else None)
                return reader.load(weights_only, pickle_module, pickle_load_args)
            if mmap:
                raise RuntimeError(
                    f"mmap can only be used with files saved with `torch.save({f}, _use_new_zipfile_serialization=True), "
                    "please torch.save your checkpoint with this option in order to use mmap."
                )
            from ._legacy_format import legacy_load

            return legacy_load(file, map_location, restore, weights_only, pickle_module, pickle_load_args)
    except _WeightsOnlyError as error:
        raise _explain(error.__cause__) from None


class _WeightsOnlyError(Exception):
    """Carries an UnpicklingError of the safe unpickler out to load()."""


def read_pickle(file, persistent_load, weights_only, pickle_module, pickle_load_args):
    """One pickle from a file, by the safe unpickler or by a full one with PyTorch's names resolved."""
    if weights_only:
        unpickler = _unpickler.SafeUnpickler(file, pickle_load_args["encoding"])
        unpickler.persistent_load = persistent_load
        try:
            return unpickler.load()
        except _unpickler.DamagedPickle:
            raise
        except pickle.UnpicklingError as error:
            raise _WeightsOnlyError from error
    module = pickle_module or pickle

    class Unpickler(module.Unpickler):
        def find_class(self, module_name, name):
            if module_name.partition(".")[0] in ("torch", "rushlight"):
                return _torch_names.find_global(module_name, name)
            return super().find_class(module_name, name)

    unpickler = Unpickler(file, **pickle_load_args)
    unpickler.persistent_load = persistent_load
    return unpickler.load()


def check_storage_id(pid):
    """('storage', type, key, location, numel, ...) -> its checked parts."""
    if len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], StorageType):
        raise _unpickler.DamagedPickle(f"unknown kind of persistent id, for {_unpickler._brief(pid[0])}")
    key, location, numel = (part.decode("ascii") if isinstance(part, bytes) else part for part in pid[2:5])
    if not isinstance(key, str) or not isinstance(location, str) or type(numel) is not int or numel < 0:
        raise _unpickler.DamagedPickle("damaged description of a storage")
    return pid[1].dtype, key, location, numel


def typed(storage, dtype):
    return storage if dtype is None else TypedStorage(storage, dtype)


class _ZipLoader:
    """Loads the object of one archive."""

    def __init__(self, file, map_location, restore, map_path):
        self._archive = ArchiveReader(file)
        self._map_location, self._restore, self._map_path = map_location, restore, map_path
        self._mapping = None
        self._storages = {}
        archive = self._archive
        if "constants.pkl" in archive:
            raise RuntimeError(
                "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. " + _CHANGED
            )
        self._check_version(archive)
        order = archive.read("byteorder").decode("latin1") if "byteorder" in archive else None
        if order is None:
            default = get_default_load_endianness()
            order = {LoadEndianness.BIG: "big", LoadEndianness.NATIVE: sys.byteorder}.get(default, "little")
        if order not in ("little", "big"):
            raise ValueError(f"Unknown endianness type: {order}")
        self._swap = order != sys.byteorder

    @staticmethod
    def _check_version(archive):
        name = "version" if "version" in archive else ".data/version"
        text = archive.read(name).strip()
        if not text.isdigit():
            raise RuntimeError(f"the checkpoint's version record is damaged: {text[:20]!r}")
        version = int(text[:9])
        if version > 10:
            raise RuntimeError(
                f"Attempted to read a PyTorch file with version {version}, but the maximum supported version for "
                "reading is 10. Your PyTorch installation may be too old."
            )
        if version < 1:
            raise RuntimeError(
                f"Attempted to read a PyTorch file with version {version}, but the minimum supported version for "
                "reading is 1. Your PyTorch script module file is too old. Please regenerate it with latest version of "
                "PyTorch to mitigate this issue."
            )

    def load(self, weights_only, pickle_module, pickle_load_args):
        file = io.BytesIO(self._archive.read("data.pkl"))
        return read_pickle(file, self._persistent_load, weights_only, pickle_module, pickle_load_args)

    def _persistent_load(self, pid):
        dtype, key, location, numel = check_storage_id(pid)
        if key not in self._storages:
            self._storages[key] = self._read_storage(key, dtype, location, numel)
        return typed(self._storages[key], dtype)

    def _read_storage(self, key, dtype, location, numel):
        nbytes = numel * (1 if dtype is None else dtype.itemsize)
        if _only_meta(self._map_location, location):
            return MetaStorage(nbytes)
        name = f"data/{key}"
        size = self._archive.size(name)
        if size != nbytes:
            raise RuntimeError(
                f"record size ({size} bytes) does not match expected size ({nbytes} bytes = {nbytes} elements * 1 "
                "bytes/element) for dtype Byte"
            )
        storage = self._map(name, nbytes) if self._map_path is not None and nbytes else None
        if storage is None:
            storage = rl.UntypedStorage(nbytes)
            if nbytes:
                self._archive.read_into(name, storage._as_numpy())
        if self._swap and dtype is not None:
            _swap_bytes(storage, dtype)
        return self._restore(storage, location)

    def _map(self, name, nbytes):
        """The record's bytes in the mapped file; None where they are compressed or not aligned."""
        offset = self._archive.offset(name)
        if offset is None or offset % 16:
            return None
        if self._mapping is None:
            import mmap

            shared = get_default_mmap_options() == mmap.MAP_SHARED
            access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
            with open(self._map_path, "r+b" if shared else "rb") as file:
                self._mapping = mmap.mmap(file.fileno(), 0, access=access)
        return rl.UntypedStorage._from_buffer(self._mapping, offset, nbytes, True)
