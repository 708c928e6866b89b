"""Which storages a saved object uses, and which bytes of them: what goes into a file beside the pickle."""

import rushlight as rl

from ..storage import StorageType, TypedStorage
from .places import host_bytes, location_tag


class _Part:
    """A stretch of a storage that becomes one record of the file."""

    def __init__(self, storage, begin, end, packed=None):
        self.storage, self.begin, self.end = storage, begin, end
        self.packed = packed  # a small contiguous tensor that is written instead of a mostly unused stretch
        self.key = None

    def nbytes(self):
        return self.end - self.begin if self.packed is None else self.packed.untyped_storage().nbytes()

    def bytes(self):
        if self.packed is not None:
            return host_bytes(self.packed.untyped_storage())
        return host_bytes(self.storage)[self.begin : self.end]


class _TensorPart:
    """Stands in a tensor's reduction for its storage: the part and the dtype."""

    def __init__(self, part, dtype):
        self.part, self.dtype = part, dtype


class StorageTable:
    """The storages of one save.

    Note [Saving views]
    Tensors that share bytes must share a record, so that they are aliases again after loading, but bytes that no
    saved tensor can reach stay out of the file. The object is therefore pickled once while the table notes the stretch
    of every tensor (`records` is then one per storage, whole). Where stretches leave gaps in a storage, every run of
    touching stretches becomes a part with a record of its own, and the object is pickled again with these parts.
    A lone view that leaves out more than half of its own stretch, such as a column, is written contiguously.
    """

    def __init__(self):
        self._storages = {}  # address of the storage -> (storage, its whole part)
        self._spans = {}  # the same -> {(begin, end, offset, shape, stride): tensor}; None: all is used
        self._parts = {}  # the same -> parts in order of their begin; filled by `trim`
        self._kinds = {}
        self.records = []

    def part_of(self, tensor):
        """(what stands for the storage, offset, stride) in the reduction of a tensor."""
        storage, dtype = tensor.untyped_storage(), tensor.dtype
        offset, shape, stride = tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())
        whole = self._whole(storage)
        last = 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if tensor.numel() else 0
        begin, end = offset * dtype.itemsize, (offset + last) * dtype.itemsize
        parts = self._parts.get(storage._cdata)
        if parts is None:
            spans = self._spans.setdefault(storage._cdata, {})
            if spans is not None:
                spans[begin, end, offset, shape, stride] = tensor
            return _TensorPart(whole, dtype), offset, stride
        if begin == end:
            part = next((p for p in parts if p.packed is None), parts[0])
            return _TensorPart(part, dtype), 0, stride
        part = next(p for p in parts if p.begin <= begin and end <= p.end)
        if part.packed is not None:
            return _TensorPart(part, dtype), 0, tuple(part.packed.stride())
        return _TensorPart(part, dtype), (begin - part.begin) // dtype.itemsize, stride

    def trim(self):
        """After the first pickling: whether a second one, with parts, makes the file smaller."""
        for address, spans in self._spans.items():
            storage, whole = self._storages[address]
            if spans is None or not spans or not whole.nbytes():
                continue
            parts = _runs(storage, spans, self._kinds.get(storage.data_ptr()))
            if sum(part.nbytes() for part in parts) < whole.nbytes():
                self._parts[address] = parts
        if not self._parts:
            return False
        self.records = []
        for _, whole in self._storages.values():
            whole.key = None
        return True

    def _whole(self, storage):
        address = storage._cdata
        if address not in self._storages:
            # the storage is kept alive, so that its address stays its own
            self._storages[address] = (storage, _Part(storage, 0, storage.nbytes()))
        return self._storages[address][1]

    def place(self, obj):
        """(type, key, location, number of elements) of a storage or a tensor's part; None for other objects."""
        if isinstance(obj, _TensorPart):
            part, dtype = obj.part, obj.dtype
        elif isinstance(obj, TypedStorage):
            part, dtype = self._use_all(obj._untyped_storage), obj.dtype
        elif isinstance(obj, rl.UntypedStorage):
            part, dtype = self._use_all(obj), None
        else:
            return None
        kind = StorageType.of(dtype) if dtype is not None else StorageType("UntypedStorage")
        address = part.storage.data_ptr()
        if address and self._kinds.setdefault(address, kind) is not kind:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types"
            )
        if part.key is None:
            part.key = str(len(self.records))
            self.records.append((part, kind))
        return kind, part.key, location_tag(part.storage), part.nbytes() // item_size(kind)

    def _use_all(self, storage):
        whole = self._whole(storage)
        self._spans[storage._cdata] = None
        return whole


def item_size(kind):
    return kind.dtype.itemsize if kind.dtype is not None else 1


def _runs(storage, spans, kind):
    """The parts of a storage that the given stretches make up."""
    parts, members = [], []
    for span in sorted(span for span in spans if span[1] > span[0]):
        begin, end = span[:2]
        if kind is not None and kind.dtype is None:
            begin -= begin % 16  # tensors of different sizes of element may meet here
        if parts and begin <= parts[-1].end:
            parts[-1].end = max(parts[-1].end, end)
            members[-1].append(span)
        else:
            parts.append(_Part(storage, begin, end))
            members.append([span])
    for part, inside in zip(parts, members, strict=True):
        if len(inside) == 1:
            tensor = spans[inside[0]]
            if 2 * tensor.numel() * tensor.element_size() <= part.nbytes():
                part.packed = tensor.detach().clone(memory_format=rl.contiguous_format)
    return parts or [_Part(storage, 0, 0)]
