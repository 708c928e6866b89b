"""Small shared helpers: functions that pickles name to rebuild tensors, exceptions that cross process boundaries."""

import copyreg
import sys
import threading
import traceback
from contextlib import contextmanager

import rushlight as rl


class _KeyErrorText(str):
    """A KeyError prints repr of its argument; with this text the line breaks of a traceback survive."""

    def __repr__(self):
        return str(self)


class ExceptionWrapper:
    """An exception as type and traceback text, so that it can be raised again in another process."""

    def __init__(self, exc_info=None, where="in background"):
        exc_info = exc_info or sys.exc_info()
        self.exc_type = exc_info[0]
        self.exc_msg = "".join(traceback.format_exception(*exc_info))
        self.where = where

    def __reduce__(self):
        return _rebuild_exception, (
            _transferable(self.exc_type),
            self.exc_type.__name__,
            self.exc_msg,
            self.where,
        )

    def reraise(self):
        """Raise an exception of the original type whose message holds the original traceback."""
        name = getattr(self, "exc_name", self.exc_type.__name__)
        text = f"Caught {name} {self.where}.\nOriginal {self.exc_msg}"
        try:
            error = self.exc_type(_KeyErrorText(text) if self.exc_type is KeyError else text)
        except Exception:  # a constructor that wants other arguments
            error = RuntimeError(text)
        raise error


def _transferable(exc_type):
    """The type itself if the other process can find it by name."""
    import pickle

    try:
        pickle.dumps(exc_type)
        return exc_type
    except Exception:
        return RuntimeError


def _rebuild_exception(exc_type, name, message, where):
    wrapper = ExceptionWrapper.__new__(ExceptionWrapper)
    wrapper.exc_type, wrapper.exc_name, wrapper.exc_msg, wrapper.where = exc_type, name, message, where
    return wrapper


def _contiguous_strides(shape):
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def _tensor_bytes(tensor):
    """The values in row-major order as a buffer of bytes."""
    values = tensor.detach()
    if values.is_complex():
        values = values.resolve_conj()
    values = values.resolve_neg().contiguous()
    size = values.element_size()
    begin = values.storage_offset() * size
    return memoryview(values.untyped_storage())[begin : begin + values.numel() * size]


def _tensor_from_bytes(data, dtype, shape):
    """A contiguous tensor on the memory of a writable buffer."""
    if not len(data):
        return rl.empty(shape, dtype=dtype)
    storage = rl.UntypedStorage._from_buffer(data, 0, len(data))
    return rl._C._rebuild(storage, dtype, 0, tuple(shape), _contiguous_strides(shape), False)


# ---- taking tensors apart and putting them together, under the names that PyTorch's files use


def _set_state(obj, state):
    """Attributes out of a file: a dict, or (dict, slots). They go past any `__setattr__` of the class."""
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if not all(part is None or isinstance(part, dict) for part in (attributes, slots)):
        raise RuntimeError(f"Invalid serialized state: {type(state)}")
    if attributes:
        obj.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        if name.startswith("__"):
            raise RuntimeError(f"Invalid serialized state: slot {name!r}")
        object.__setattr__(obj, name, value)
    return obj


def _reduce_plain(tensor, part_of=None):
    """(function, arguments) that rebuild the values of a tensor, whatever its class.

    Args:
        part_of: function(tensor) -> (what stands for its storage, offset, stride), where not all of the storage is kept.
    """
    from collections import OrderedDict

    from . import _quantized
    from .sparse._tensors import tensor_parts
    from .storage import StorageType, TypedStorage

    if tensor.device.type == "meta":
        arguments = (tensor.dtype, tuple(tensor.shape), tuple(tensor.stride()), tensor.requires_grad)
        return _rebuild_meta_tensor_no_storage, arguments
    if tensor.layout is not rl.strided:
        return _rebuild_sparse_tensor, (tensor.layout, tensor_parts(tensor))
    if tensor.is_quantized:
        return _quantized.reduce(tensor)
    storage, dtype = tensor.untyped_storage(), tensor.dtype
    typed = StorageType.of(dtype).__name__ != "UntypedStorage"
    if part_of is not None:
        place, offset, stride = part_of(tensor)
    else:
        place = TypedStorage(storage, dtype) if typed else storage
        offset, stride = tensor.storage_offset(), tuple(tensor.stride())
    hooks = OrderedDict()  # they are not saved
    arguments = (place, offset, tuple(tensor.shape), stride, tensor.requires_grad, hooks)
    if not typed:
        arguments += (dtype,)
    bits = {"conj": tensor.is_conj(), "neg": tensor.is_neg()}
    bits = {name: True for name, is_set in bits.items() if is_set}
    return (_rebuild_tensor_v2 if typed else _rebuild_tensor_v3), arguments + ((bits,) if bits else ())


def reduce_tensor(tensor, protocol=None, part_of=None):
    """What Tensor.__reduce_ex__ returns."""
    state = dict(getattr(tensor, "__dict__", None) or {})
    function, arguments = _reduce_plain(tensor, part_of)
    if type(tensor) is rl.Tensor and not state:
        return function, arguments
    return _rebuild_from_type_v2, (function, type(tensor), arguments, state or None)


def reduce_parameter(parameter, protocol=None):
    """What Parameter.__reduce_ex__ returns."""
    from collections import OrderedDict

    state = dict(getattr(parameter, "__dict__", None) or {})
    arguments = (parameter.data, parameter.requires_grad, OrderedDict())
    if state:
        return _rebuild_parameter_with_state, (*arguments, state)
    return _rebuild_parameter, arguments


def _reduce_storage(storage):
    """How plain pickles hold a storage: as a small legacy file."""
    import io

    from . import serialization
    from .storage import _load_from_bytes

    buffer = io.BytesIO()
    serialization.save(storage, buffer, _use_new_zipfile_serialization=False)
    return _load_from_bytes, (buffer.getvalue(),)


copyreg.pickle(rl.UntypedStorage, _reduce_storage)


def _with_bits(tensor, metadata):
    if metadata.get("conj"):
        tensor = tensor.conj()
    if metadata.get("neg"):
        tensor = tensor._neg_view()
    return tensor


_MAX_DIMENSIONS = 64


def _strided(storage, dtype, offset, size, stride, requires_grad, metadata=None):
    """A tensor on a storage, after a check that all of it lies inside: the numbers come from a file."""
    from .storage import MetaStorage

    if not isinstance(size, (tuple, list)) or not isinstance(stride, (tuple, list)):
        raise TypeError("size and stride of a tensor must be tuples")
    size, stride = tuple(size), tuple(stride)
    if len(size) > _MAX_DIMENSIONS:
        raise RuntimeError(f"a tensor cannot have {len(size)} dimensions")
    if not all(type(n) is int for n in (offset, *size, *stride)):
        raise TypeError("offset, size and stride of a tensor must be ints")
    if len(size) != len(stride):
        raise RuntimeError(f"unequal size length ({len(size)}) and stride length ({len(stride)})")
    if any(n < 0 or n >= 2**63 for n in (offset, *size, *stride)):
        raise RuntimeError(f"offset {offset}, size {size} or stride {stride} of a tensor is out of range")
    last = 0 if 0 in size else 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if (offset + last) * dtype.itemsize > storage.nbytes():
        raise RuntimeError(
            f"a tensor of size {size}, stride {stride} and offset {offset} needs {(offset + last) * dtype.itemsize} "
            f"bytes, but its storage has {storage.nbytes()}"
        )
    if isinstance(storage, MetaStorage):
        return rl.empty_strided(size, stride, dtype=dtype, device="meta", requires_grad=bool(requires_grad))
    tensor = rl._C._rebuild(storage, dtype, offset, size, stride, False)
    if metadata:
        tensor = _with_bits(tensor, metadata)
    return tensor.requires_grad_() if requires_grad else tensor


def _rebuild_tensor(storage, offset, size, stride):
    return _strided(storage._untyped_storage, storage.dtype, offset, size, stride, False)


def _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks, metadata=None):
    return _strided(storage._untyped_storage, storage.dtype, offset, size, stride, requires_grad, metadata)


def _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    storage = getattr(storage, "_untyped_storage", storage)
    return _strided(storage, dtype, offset, size, stride, requires_grad, metadata)


def _rebuild_qtensor(storage, offset, size, stride, quantizer_params, requires_grad, backward_hooks):
    from ._quantized import INTEGERS, rebuild

    if storage.dtype not in INTEGERS:
        raise RuntimeError(f"a quantised tensor needs a storage of quantised dtype, not {storage.dtype}")
    integers = _strided(storage._untyped_storage, INTEGERS[storage.dtype], offset, size, stride, False)
    return rebuild(integers, quantizer_params)


def _rebuild_parameter(data, requires_grad, backward_hooks):
    if not isinstance(data, rl.Tensor):
        raise TypeError(f"a parameter must be rebuilt from a tensor, not {type(data).__name__}")
    return rl.nn.Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    return _set_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _rebuild_from_type_v2(function, cls, arguments, state):
    tensor = function(*arguments)
    if type(tensor) is not cls:
        tensor = tensor.as_subclass(cls)
    return _set_state(tensor, state) if state else tensor


def _rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad):
    return rl.empty_strided(size, stride, dtype=dtype, device="meta", requires_grad=requires_grad)


def _rebuild_device_tensor_from_numpy(data, dtype, device, requires_grad):
    tensor = rl.from_numpy(data).to(dtype=dtype)
    return tensor.requires_grad_() if requires_grad else tensor


_waiting = threading.local()  # .parts: of sparse tensors that are to be checked later


def _rebuild_sparse_tensor(layout, data):
    waiting = getattr(_waiting, "parts", None)
    if waiting is not None:
        waiting.append((layout, data))
    return _sparse(layout, data, check_invariants=waiting is None)


def _sparse(layout, data, check_invariants):
    if layout is rl.sparse_coo:
        coalesced = data[3] if len(data) > 3 else None
        return rl.sparse_coo_tensor(*data[:3], check_invariants=check_invariants, is_coalesced=coalesced)
    return rl.sparse_compressed_tensor(*data, layout=layout, check_invariants=check_invariants)


@contextmanager
def sparse_tensors_checked_at_the_end():
    """For files that hold the numbers after the objects: indices are checked when the numbers are there."""
    _waiting.parts = []
    try:
        yield
        for layout, data in _waiting.parts:
            _sparse(layout, data, check_invariants=True)
    finally:
        _waiting.parts = None


def _refuse(what):
    def rebuild(*arguments):
        raise NotImplementedError(f"the file holds {what}, and rushlight has none")

    return rebuild


_rebuild_wrapper_subclass = _refuse("a wrapper subclass")
_rebuild_nested_tensor = _refuse("a nested tensor")
_rebuild_xla_tensor = _rebuild_device_tensor_from_numpy


def _rebuild_device_tensor_from_cpu_tensor(data, dtype, device, requires_grad):
    tensor = data.to(dtype=dtype)
    return tensor.requires_grad_() if requires_grad else tensor
