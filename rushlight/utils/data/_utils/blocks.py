"""Batches of worker processes: the values of their tensors travel through shared memory, the rest as a pickle.

Note [Blocks of shared memory]
A worker writes the tensors of a batch into one block, an anonymous piece of shared memory. The first time, the
block's file descriptor goes through the pipe and the loader's process maps it; both then close the descriptor and keep
the mapping. When the last tensor on a batch's block is gone, its number goes back to the worker with the next request,
and the worker uses the block again: no memory is mapped, cleared or copied then, except into the block. Blocks have
no names, so whatever happens to a process, the system frees them.
"""

import collections
import io
import pickle
import threading
import weakref
from multiprocessing import reduction

import rushlight as rl
from rushlight import _C
from rushlight._utils import _contiguous_strides, _tensor_bytes, _tensor_from_bytes

_SMALL = 1 << 15  # fewer bytes than this in a batch are sooner copied than shared
_ALIGNMENT = 64
_KEPT = 8  # free blocks beyond which a worker gives unsuitable ones back

_incoming = threading.local()  # .memory: the block of the batch that is being unpickled in this thread


def _rebuild(place, dtype, shape, requires_grad, parameter):
    if isinstance(place, int):
        nbytes = dtype.itemsize
        for n in shape:
            nbytes *= n
        storage = rl.UntypedStorage._from_buffer(_incoming.memory, place, nbytes)
        tensor = _C._rebuild(storage, dtype, 0, tuple(shape), _contiguous_strides(shape), False)
    else:
        tensor = _tensor_from_bytes(place, dtype, shape)
    if parameter:
        return rl.nn.Parameter(tensor, requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor


class _BatchPickler(pickle.Pickler):
    """Notes the tensors of a batch and gives each its place in the block; strides become contiguous."""

    def __init__(self, file, share):
        super().__init__(file, protocol=5)
        self._share = share
        self.tensors, self.nbytes = [], 0

    def reducer_override(self, obj):
        plain = type(obj) is rl.Tensor
        if not plain and type(obj) is not rl.nn.Parameter:
            return NotImplemented
        if obj.device.type != "cpu" or obj.layout is not rl.strided:
            return NotImplemented
        if obj.requires_grad and not obj.is_leaf:
            raise RuntimeError(
                "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
                "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor "
                "before serializing (e.g., putting it on the queue)."
            )
        shape, size = tuple(obj.shape), obj.numel() * obj.element_size()
        if self._share and size:
            place = -(-self.nbytes // _ALIGNMENT) * _ALIGNMENT
            self.tensors.append((obj, place))
            self.nbytes = place + size
        else:
            place = bytearray(_tensor_bytes(obj))  # unlike bytes, writable on the other side
        return _rebuild, (place, obj.dtype, shape, obj.requires_grad, not plain)


class BlockWriter:
    """The worker's side: packs messages."""

    def __init__(self):
        self._blocks = {}  # number -> storage
        self._free = []
        self._count = 0

    def release(self, numbers):
        """The loader's process has no tensors any more on these blocks."""
        self._free += numbers

    def pack(self, message):
        """(bytes for the pipe, the block's storage if the other side has yet to get it)."""
        buffer = io.BytesIO()
        pickler = _BatchPickler(buffer, share=True)
        pickler.dump(message)
        if pickler.nbytes < _SMALL:
            if pickler.tensors:
                buffer = io.BytesIO()
                _BatchPickler(buffer, share=False).dump(message)
            return pickle.dumps((None, 0, (), buffer.getvalue())), None
        number, dropped, is_new = self._take(pickler.nbytes)
        block = self._blocks[number]
        for tensor, place in pickler.tensors:
            shape = tuple(tensor.shape)
            size = tensor.numel() * tensor.element_size()
            part = rl.UntypedStorage._from_buffer(block, place, size)
            _C._rebuild(part, tensor.dtype, 0, shape, _contiguous_strides(shape), False).copy_(tensor.detach())
        header = pickle.dumps((number, block.nbytes() if is_new else 0, dropped, buffer.getvalue()))
        return header, block if is_new else None

    def _take(self, nbytes):
        """(number of a block of at least nbytes, numbers of blocks given up, whether it is new)."""
        suitable = [n for n in self._free if nbytes <= self._blocks[n].nbytes() <= 4 * nbytes]
        if suitable:
            number = min(suitable, key=lambda n: self._blocks[n].nbytes())
            self._free.remove(number)
            return number, (), False
        dropped = self._free[: len(self._free) - _KEPT] if len(self._free) > _KEPT else []
        for number in dropped:
            self._free.remove(number)
            del self._blocks[number]
        self._count += 1
        self._blocks[self._count] = _C._shared_storage(-(-nbytes // 4096) * 4096)
        return self._count, dropped, True


def send(connection, packed):
    """Send what BlockWriter.pack gave."""
    data, block = packed
    connection.send_bytes(data)
    if block is not None:
        reduction.send_handle(connection, _C._shared_fd(block), None)
        _C._close_shared_fd(block)


class BlockReader:
    """The loader's side, for one worker."""

    def __init__(self):
        self._blocks = {}  # number -> storage
        self._leases = {}  # number -> weak reference to the memory that a batch's tensors hold on to
        self._returned = collections.deque()

    def returned(self):
        """Numbers of the blocks that have become free since the last call."""
        numbers = []
        while self._returned:
            number = self._returned.popleft()
            self._leases.pop(number, None)
            numbers.append(number)
        return numbers

    def receive(self, connection):
        """The next message."""
        number, nbytes, dropped, data = pickle.loads(connection.recv_bytes())
        for old in dropped:
            del self._blocks[old]
        if number is None:
            return pickle.loads(data)
        if nbytes:
            block = _C._open_shared(reduction.recv_handle(connection), nbytes)
            _C._close_shared_fd(block)
            self._blocks[number] = block
        memory = memoryview(self._blocks[number])
        self._leases[number] = weakref.ref(memory, lambda _, done=self._returned: done.append(number))
        _incoming.memory = memory
        try:
            return pickle.loads(data)
        finally:
            del _incoming.memory
