"""Storages as checkpoints name them: one class name per dtype, and the typed view of an untyped storage."""

import warnings

import rushlight as rl

from .misc import is_warn_always_enabled

# class name in checkpoints -> dtype name; every other dtype is written as an UntypedStorage plus the dtype
STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
}
PACKED_STORAGES = {"QUInt4x2Storage", "QUInt2x4Storage"}  # several elements per byte: not part of rushlight


class StorageType:
    """A storage class by name: what the class of a storage is in a checkpoint. One object per name."""

    _known = {}

    def __new__(cls, name):
        self = cls._known.get(name)
        if self is None:
            self = super().__new__(cls)
            self.__name__ = self.__qualname__ = name
            cls._known[name] = self
        return self

    def __repr__(self):
        return f"<class 'torch.{self.__name__}'>"

    @property
    def dtype(self):
        """The element dtype, None for raw bytes."""
        name = self.__name__
        if name == "UntypedStorage":
            return None
        if name in PACKED_STORAGES:
            raise NotImplementedError(f"{name}: several elements in a byte are not part of rushlight")
        return getattr(rl, STORAGE_DTYPES[name])

    def __call__(self, *args, wrap_storage=None):
        """A storage of that many elements, of the elements of a sequence, or around an untyped one."""
        if wrap_storage is not None:
            return TypedStorage(wrap_storage, self.dtype)
        if len(args) > 1:
            raise RuntimeError(f"{self.__name__}.__new__: takes at most one argument, {len(args)} were given")
        first = args[0] if args else 0
        if isinstance(first, rl.UntypedStorage):
            return TypedStorage(first, self.dtype)
        quantized = self.dtype in (rl.qint8, rl.quint8, rl.qint32)
        plain = {rl.qint8: rl.int8, rl.quint8: rl.uint8, rl.qint32: rl.int32}[self.dtype] if quantized else self.dtype
        made = rl.empty(first, dtype=plain) if isinstance(first, int) else rl.tensor(first, dtype=plain)
        return TypedStorage(made.untyped_storage(), self.dtype)

    def __instancecheck__(self, instance):
        if self.__name__ == "UntypedStorage":
            return isinstance(instance, rl.UntypedStorage)
        return isinstance(instance, TypedStorage) and instance.dtype is self.dtype

    @staticmethod
    def of(dtype):
        """The storage type that holds this dtype in checkpoints."""
        return _type_of_dtype().get(dtype) or StorageType("UntypedStorage")


def _type_of_dtype(_table={}):  # noqa: B006  filled once, on first use
    if not _table:
        _table.update((getattr(rl, dtype), StorageType(name)) for name, dtype in STORAGE_DTYPES.items())
    return _table


class MetaStorage:
    """Stands for a storage on the meta device: a size without memory."""

    def __init__(self, nbytes):
        self._nbytes = nbytes

    def nbytes(self):
        return self._nbytes


_DEPRECATED = (
    "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage class. "
    "This should only matter to you if you are using storages directly.  To access UntypedStorage directly, use "
    "tensor.untyped_storage() instead of tensor.storage()"
)
_warned = []


def _warn():
    """Once per process, when a program (not this package) reads a TypedStorage."""
    if not _warned or is_warn_always_enabled():
        _warned.append(True)
        warnings.warn(_DEPRECATED, UserWarning, stacklevel=3)


class TypedStorage:
    """An untyped storage seen as elements of one dtype."""

    def __init__(self, wrap_storage, dtype, _internal=True):
        self._untyped_storage = wrap_storage
        self.dtype = dtype

    def __reduce__(self):
        """In plain pickles: the storage as a small legacy file."""
        import io

        from . import serialization

        buffer = io.BytesIO()
        serialization.save(self, buffer, _use_new_zipfile_serialization=False)
        return _load_from_bytes, (buffer.getvalue(),)

    def untyped(self):
        return self._untyped_storage

    @property
    def device(self):
        return self._untyped_storage.device

    def element_size(self):
        return self.dtype.itemsize

    def share_memory_(self):
        self._untyped_storage.share_memory_()
        return self

    def is_shared(self):
        return self._untyped_storage.is_shared()

    def nbytes(self):
        return self._untyped_storage.nbytes()

    def data_ptr(self):
        return self._untyped_storage.data_ptr()

    def _count(self):
        return self._untyped_storage.nbytes() // self.dtype.itemsize

    def _tensor(self):
        return rl._C._rebuild(self._untyped_storage, self.dtype, 0, (self._count(),), (1,), False)

    def __len__(self):
        _warn()
        return self._count()

    def size(self):
        _warn()
        return self._count()

    def __getitem__(self, index):
        _warn()
        return self._tensor()[index].item()

    def __setitem__(self, index, value):
        _warn()
        self._tensor()[index] = value

    def __iter__(self):
        _warn()
        return iter(self._tensor().tolist())

    def tolist(self):
        _warn()
        return self._tensor().tolist()

    def __repr__(self):
        lines = "".join(f" {value}\n" for value in self._tensor().tolist())
        return f"{lines}[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {self._count()}]"


# ---- methods of UntypedStorage that need no C++


def _untyped_tolist(self):
    """The bytes as a list of ints."""
    return list(memoryview(self))


def _untyped_getitem(self, index):
    if isinstance(index, slice):
        begin, end, step = index.indices(self.nbytes())
        if step != 1:
            raise RuntimeError(f"Trying to slice with a step of {step}, but only a step of 1 is supported")
        return rl.UntypedStorage._from_buffer(self, begin, max(end - begin, 0))
    return memoryview(self)[index]


def _untyped_setitem(self, index, value):
    memoryview(self)[index] = value


def _untyped_repr(self):
    lines = "".join(f" {value}\n" for value in memoryview(self))
    return f"{lines}[torch.storage.UntypedStorage(device={self.device}) of size {self.nbytes()}]"


def _untyped_deepcopy(self, memo):
    key = ("storage", self._cdata)  # the key under which deepcopy of tensors keeps their storages
    if key not in memo:
        memo[key] = self.clone()
        memo["kept", self._cdata] = self
    return memo[key]


def _untyped_share_memory(self):
    rl._C._share(self)
    return self


def _untyped_is_shared(self):
    return rl._C._is_shared(self)


for _name, _method in {
    "share_memory_": _untyped_share_memory,
    "is_shared": _untyped_is_shared,
    "tolist": _untyped_tolist,
    "__getitem__": _untyped_getitem,
    "__setitem__": _untyped_setitem,
    "__repr__": _untyped_repr,
    "__deepcopy__": _untyped_deepcopy,
}.items():
    setattr(rl.UntypedStorage, _name, _method)


def _load_from_bytes(data):
    """Storage out of a legacy-format file in bytes: how storages travel inside plain pickles."""
    import io

    from . import serialization

    return serialization.load(io.BytesIO(data), weights_only=False)


def __getattr__(name):
    if name == "UntypedStorage":
        return rl.UntypedStorage
    if name in STORAGE_DTYPES or name in PACKED_STORAGES:
        return StorageType(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
