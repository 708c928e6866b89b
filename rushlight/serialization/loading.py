"""load: checkpoints of rushlight and of PyTorch, read without running code."""

import io
import os
import pickle
import sys
import warnings

import rushlight as rl

from ..storage import MetaStorage, StorageType, TypedStorage
from . import names, npz, options, unpickler
from .archive import ArchiveReader
from .files import is_path, is_zip, opened
from .places import empty_storage, only_meta, restorer, swap_bytes

_DOCS = (
    "\n\nCheck the documentation of torch.load to learn more about types accepted by default with weights_only "
    "https://pytorch.org/docs/stable/generated/torch.load.html."
)
CHANGED = (
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
            f"steps only if you trust the source of the checkpoint\033[0m. \n\t(1) {CHANGED}\n\t(2) Alternatively, to "
            "load with `weights_only=True` please check the recommended steps in the following error message.\n\t"
            f"WeightsUnpickler error: {text}{_DOCS}"
        )
    request = (
        ""
        if isinstance(error, unpickler.BlockedGlobal)
        else "Please file an issue with the following so that we can make `weights_only=True` compatible with your use "
        "case: WeightsUnpickler error: "
    )
    return pickle.UnpicklingError(f"Weights only load failed. {CHANGED}\n{request}\n\n{text}{_DOCS}")


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
    """Read what save wrote, here or in PyTorch; or a .safetensors or .npz file, as a dict of tensors.

    Args:
        f: a path, or a seekable file object open in binary mode.
        map_location: where storages go: a device, a dict from saved to new locations, or a function
            (storage, location) -> storage.
        weights_only: True (the default) builds only tensors, containers and numbers, and what add_safe_globals
            allows; no code of the file runs. False unpickles anything: only for files you trust.
        mmap: map the file into memory instead of reading it (paths in the zip format only); None: as
            utils.serialization.config.load.mmap says.
    """
    weights_only = _decide_weights_only(weights_only, pickle_module)
    if is_path(f) and os.fspath(f).endswith(".safetensors"):
        from .. import safetensors

        return safetensors.load_file(f, device=map_location if map_location is not None else "cpu")
    pickle_load_args.setdefault("encoding", "utf-8")
    if mmap is None:
        from ..utils.serialization import config

        mmap = config.load.mmap
    if mmap and not is_path(f):
        raise ValueError("f must be a file path in order to use the mmap argument")
    restore = restorer(map_location)
    try:
        with opened(f) as file:
            if is_zip(file):
                archive = ArchiveReader(file, options.get_crc32_options())
                if npz.is_npz(archive):
                    return npz.tensors_of(archive)
                reader = _ZipLoader(archive, map_location, restore, f if mmap else None)
                return reader.load(weights_only, pickle_module, pickle_load_args)
            if mmap:
                raise RuntimeError(
                    f"mmap can only be used with files saved with `torch.save({f}, "
                    "_use_new_zipfile_serialization=True), please torch.save your checkpoint with this option in "
                    "order to use mmap."
                )
            from .legacy import legacy_load

            return legacy_load(file, map_location, restore, weights_only, pickle_module, pickle_load_args)
    except _WeightsOnlyError as error:
        raise _explain(error.__cause__) from None


class _WeightsOnlyError(Exception):
    """Carries an UnpicklingError of the safe unpickler out to load()."""


def read_pickle(file, persistent_load, weights_only, pickle_module, pickle_load_args):
    """One pickle from a file, by the safe unpickler or by a full one with PyTorch's names resolved."""
    if weights_only:
        reader = unpickler.SafeUnpickler(file, pickle_load_args["encoding"])
        reader.persistent_load = persistent_load
        try:
            return reader.load()
        except unpickler.DamagedPickle:
            raise
        except pickle.UnpicklingError as error:
            raise _WeightsOnlyError from error
    module = pickle_module or pickle

    class Unpickler(module.Unpickler):
        def find_class(self, module_name, name):
            if module_name.partition(".")[0] in ("torch", "rushlight"):
                return names.find_global(module_name, name)
            return super().find_class(module_name, name)

    reader = Unpickler(file, **pickle_load_args)
    reader.persistent_load = persistent_load
    return reader.load()


def check_storage_id(pid):
    """('storage', type, key, location, numel, ...) -> its checked parts."""
    if len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], StorageType):
        raise unpickler.DamagedPickle(f"unknown kind of persistent id, for {unpickler._brief(pid[0])}")
    key, location, numel = (part.decode("ascii") if isinstance(part, bytes) else part for part in pid[2:5])
    if not isinstance(key, str) or not isinstance(location, str) or type(numel) is not int or numel < 0:
        raise unpickler.DamagedPickle("damaged description of a storage")
    return pid[1].dtype, key, location, numel


def typed(storage, dtype):
    return storage if dtype is None else TypedStorage(storage, dtype)


class _ZipLoader:
    """Loads the object of one archive."""

    def __init__(self, archive, map_location, restore, map_path):
        self._archive = archive
        self._map_location, self._restore, self._map_path = map_location, restore, map_path
        self._mapping = None
        self._storages = {}
        if "constants.pkl" in archive:
            raise RuntimeError(
                "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. "
                + CHANGED
            )
        self._check_version(archive)
        order = archive.read("byteorder").decode("latin1") if "byteorder" in archive else None
        if order is None:
            default = options.get_default_load_endianness()
            order = {options.LoadEndianness.BIG: "big", options.LoadEndianness.NATIVE: sys.byteorder}.get(
                default, "little"
            )
        if order not in ("little", "big"):
            raise ValueError(f"Unknown endianness type: {order[:20]}")
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
        if only_meta(self._map_location, location):
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
            storage = empty_storage(nbytes)
            if nbytes:
                self._archive.read_into(name, storage)
        if self._swap and dtype is not None:
            swap_bytes(storage, dtype)
        return self._restore(storage, location)

    def _map(self, name, nbytes):
        """The record's bytes in the mapped file; None where they are compressed or not aligned."""
        offset = self._archive.offset(name)
        if offset is None or offset % 16:
            return None
        if self._mapping is None:
            import mmap

            shared = options.get_default_mmap_options() == mmap.MAP_SHARED
            access = mmap.ACCESS_WRITE if shared else mmap.ACCESS_COPY
            with open(self._map_path, "r+b" if shared else "rb") as file:
                self._mapping = mmap.mmap(file.fileno(), 0, access=access)
        return rl.UntypedStorage._from_buffer(self._mapping, offset, nbytes)
