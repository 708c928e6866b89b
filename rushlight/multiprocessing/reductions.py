"""How tensors and storages cross to other processes: as file descriptors of shared memory."""

from multiprocessing.reduction import DupFd, ForkingPickler

import rushlight as rl
from rushlight import _C
from rushlight.storage import TypedStorage


def rebuild_storage(handle, nbytes):
    """The storage on memory that arrived; the same one where it is known here already."""
    return _C._open_shared(handle.detach(), nbytes)


def reduce_storage(storage):
    """Moves the storage to shared memory first."""
    _C._share(storage)
    return rebuild_storage, (DupFd(_C._shared_fd(storage)), storage.nbytes())


def rebuild_tensor(cls, storage, dtype, offset, size, stride, requires_grad):
    tensor = _C._rebuild(storage, dtype, offset, size, stride, False)
    if cls is rl.nn.Parameter:
        return rl.nn.Parameter(tensor, requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor


def reduce_tensor(tensor):
    """A tensor travels as its storage and its layout, so that writes are seen on both sides."""
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
            "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor before "
            "serializing (e.g., putting it on the queue)."
        )
    if tensor.device.type != "cpu" or tensor.layout is not rl.strided:
        return tensor.__reduce_ex__(2)
    storage = tensor.untyped_storage()
    layout = tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())
    return rebuild_tensor, (type(tensor), storage, tensor.dtype, *layout, tensor.requires_grad)


def _reduce_typed(storage):
    return TypedStorage, (storage.untyped(), storage.dtype)


def init_reductions():
    """Teach multiprocessing's pickler."""
    ForkingPickler.register(rl.UntypedStorage, reduce_storage)
    ForkingPickler.register(TypedStorage, _reduce_typed)
    ForkingPickler.register(rl.Tensor, reduce_tensor)
    ForkingPickler.register(rl.nn.Parameter, reduce_tensor)
