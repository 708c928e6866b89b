"""Small shared helpers: functions that pickles name to rebuild tensors, exceptions that cross process boundaries."""

import sys
import traceback

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
        return _rebuild_exception, (_transferable(self.exc_type), self.exc_type.__name__, self.exc_msg, self.where)

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
    """The values in row-major order as a uint8 NumPy array."""
    values = tensor.detach()
    if values.is_complex():
        values = values.resolve_conj()
    values = values.resolve_neg().contiguous()
    size = values.element_size()
    begin = values.storage_offset() * size
    return values.untyped_storage()._as_numpy()[begin : begin + values.numel() * size]


def _tensor_from_bytes(data, dtype, shape):
    """A contiguous tensor on the memory of a writable buffer."""
    if not len(data):
        return rl.empty(shape, dtype=dtype)
    storage = rl.UntypedStorage._from_buffer(data, 0, len(data), True)
    return rl._C._rebuild(storage, dtype, 0, tuple(shape), _contiguous_strides(shape), False)
