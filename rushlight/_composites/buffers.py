"""Tensors over memory that somebody else owns: buffers and mapped files; and factories of special layouts."""

import warnings

import numpy as np

from .. import _C

__all__ = ["empty_permuted", "from_file", "frombuffer"]

_AS_BYTES_OF = {_C.bfloat16: "int16"}  # NumPy has no such numbers: the bits of others


def _array_type(dtype):
    return np.dtype(_AS_BYTES_OF.get(dtype) or repr(dtype).removeprefix("torch."))


def _tensor_over(array, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = _C.from_numpy(array)
    return tensor.view(dtype) if tensor.dtype is not dtype else tensor


def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A tensor over the memory of an object with the buffer protocol.

    >>> rl.frombuffer(bytearray([1, 0, 2, 0]), dtype=rl.int16)
    tensor([1, 2], dtype=torch.int16)
    """
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    if view.readonly:
        warnings.warn("The given buffer is not writable, and PyTorch does not support non-writable tensors. This means you can "
                      "write to the underlying (supposedly non-writable) buffer using the tensor. You may want to copy the "
                      "buffer to protect its data or make it writable before converting it to a tensor. This type of warning "
                      "will be suppressed for the rest of this program.", stacklevel=2)  # fmt: skip
    total, size = view.nbytes, dtype.itemsize
    if total == 0 or count == 0:
        raise ValueError(f"both buffer length ({total}) and count ({count}) must not be 0")
    if not 0 <= offset < total:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({total} bytes) minus 1"
        )
    if count < 0 and (total - offset) % size:
        raise ValueError(f"buffer length ({total} bytes) after offset ({offset} bytes) must be a multiple of element size "
                         f"({size})")  # fmt: skip
    if count > 0 and offset + count * size > total:
        raise ValueError(f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater "
                         f"than actual buffer length ({total} bytes)")  # fmt: skip
    array = np.frombuffer(buffer, dtype=_array_type(dtype), count=count, offset=offset)
    return _tensor_over(array, dtype).requires_grad_(requires_grad)


def from_file(
    filename,
    shared=False,
    size=0,
    *,
    dtype=None,
    layout=None,
    device=None,
    requires_grad=False,
    pin_memory=False,
):
    """A tensor over the bytes of a file; shared=True writes changes back to it, and makes the file large enough."""
    dtype = dtype or _C.get_default_dtype()
    if shared:
        import os

        mode = "r+" if os.path.exists(filename) else "w+"
        if mode == "r+" and os.path.getsize(filename) < size * dtype.itemsize:
            os.truncate(filename, size * dtype.itemsize)
    else:
        mode = "c"
    array = np.memmap(filename, dtype=_array_type(dtype), mode=mode, shape=(size,))
    return _tensor_over(array, dtype).requires_grad_(requires_grad)


def empty_permuted(size, physical_layout, **options):
    """An empty tensor whose dimensions lie in memory in the order physical_layout, outermost first."""
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError("Number of dimensions in size does not match the length of the physical_layout; i.e. "
                           f"len(size) = {len(size)} is not equal to len(physical_layout) = {len(physical_layout)}"
                           if len(size) != len(physical_layout) else "Duplicate dim not allowed")  # fmt: skip
    order = [0] * len(size)
    for place, dim in enumerate(physical_layout):
        order[dim] = place
    return _C.empty([size[d] for d in physical_layout], **options).permute(order)
