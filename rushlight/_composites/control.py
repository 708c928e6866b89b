"""Control flow as functions, symbolic numbers (which are plain numbers here), and small facts that programs ask for."""

import math
import warnings

from .. import _C
from .._C import Tensor
from ._method import method

__all__ = [
    "cond", "fill", "get_device_module", "has_lapack", "has_mkl", "has_openmp", "has_spectral",
    "is_anomaly_enabled", "is_deterministic_algorithms_warn_only_enabled", "sym_float", "sym_int",
    "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum", "to_dlpack", "while_loop", "AcceleratorError",
    "FatalError", "OutOfMemoryError",
]  # fmt: skip

has_lapack, has_spectral = True, True  # linear algebra and Fourier transforms work, through NumPy
has_mkl = has_openmp = False


class AcceleratorError(RuntimeError):
    """An error of a device."""


class FatalError(RuntimeError):
    """An error after which the process cannot go on."""


class OutOfMemoryError(RuntimeError):
    """A device has no memory left."""


def cond(pred, true_fn, false_fn, operands=()):
    """true_fn(*operands) if pred else false_fn(*operands)."""
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def while_loop(cond_fn, body_fn, carried_inputs):
    """body_fn applied to the carried inputs as long as cond_fn of them is true."""
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        result = body_fn(*carried)
        carried = result if isinstance(result, tuple) else (result,)
    return carried


def sym_max(a, b):
    """The larger number; a float if one of them is."""
    return _common(max, a, b)


def sym_min(a, b):
    """The smaller number; a float if one of them is."""
    return _common(min, a, b)


def _common(choose, a, b):
    result = choose(a, b)
    return float(result) if isinstance(a, float) or isinstance(b, float) else result


def sym_not(a):
    """not a."""
    return not a


def sym_ite(b, t, f):
    """t if b else f."""
    return t if b else f


def sym_int(a):
    """a as an integer, rounded towards zero."""
    return int(a)


def sym_float(a):
    """a as a float."""
    return float(a)


def sym_sum(args):
    """The sum of numbers."""
    return sum(args)


def sym_sqrt(a):
    """The square root of a number."""
    return math.sqrt(a)


def is_anomaly_enabled():
    """Whether backward looks for nan."""
    return _C.is_anomaly_enabled()


def is_deterministic_algorithms_warn_only_enabled():
    """Whether operators without a deterministic form would only warn: there are none."""
    return False


def get_device_module(device=None):
    """The module of a device type, such as rushlight.cpu."""
    from .. import cpu, cuda

    kind = "cpu" if device is None else _C.device(device).type
    modules = {"cpu": cpu, "cuda": cuda}
    if kind not in modules:
        raise RuntimeError(
            f"Device '{kind}' does not have a corresponding module registered as 'torch.{kind}'."
        )
    return modules[kind]


def to_dlpack(tensor):
    """A DLPack capsule of the tensor's memory."""
    return tensor.__dlpack__()


def fill(input, value):
    """A tensor like input with value in every element."""
    return input.clone().fill_(value)


# ---- methods ----


@method
def resize(self, *sizes):
    """reshape(), under its old name."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    return _old_resize(self, sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes)


def _old_resize(self, shape):
    wanted = math.prod(shape)
    if wanted != self.numel():
        raise RuntimeError(
            f"requested resize to {'x'.join(map(str, shape))} ({wanted} elements in total), but the given tensor has a size of "
            f"{'x'.join(map(str, self.shape))} ({self.numel()} elements). autograd's resize can only change the shape of a given "
            "tensor, while preserving the number of elements. "
        )
    return self.reshape(shape)


@method
def resize_as(self, tensor):
    """reshape() to the shape of tensor, under its old name."""
    warnings.warn("non-inplace resize_as is deprecated", stacklevel=2)
    return _old_resize(self, tensor.shape)


@method
def storage_type(self):
    """The legacy class of the tensor's storage."""
    return type(self.storage())


@method
def module_load(self, other, assign=False):
    """What a parameter becomes when a module loads `other` into it: other itself, or this tensor with its values."""
    return other.detach() if assign else self.detach().copy_(other)


@method
def sum_to_size(self, *size):
    """The sum over dimensions that broadcasting size to the tensor's shape would make."""
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    extra = self.dim() - len(size)
    fits = extra >= 0 and all(n in (1, m) for n, m in zip(size, self.shape[max(extra, 0) :]))
    if not fits:
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(self.shape)}}}.")
    dims = [d for d in range(self.dim()) if d < extra or (size[d - extra] == 1 and self.shape[d] != 1)]
    return self.sum(dims, keepdim=True).reshape(size) if dims else self


@method
def where(self, condition, other):
    """Elements of self where condition is true, of other elsewhere."""
    return _C.where(condition, self, other)


Tensor.is_ipu = property(lambda self: False)
