"""Small functions of the top-level namespace: predicates on tensors, type information, threads and determinism."""

from . import _C
from ._C import Tensor

__all__ = [
    "are_deterministic_algorithms_enabled", "as_tensor", "asarray", "compile", "finfo", "from_dlpack", "get_default_device",
    "get_deterministic_debug_mode", "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads", "iinfo",
    "is_complex", "is_floating_point", "is_nonzero", "is_storage", "is_tensor", "is_warn_always_enabled", "numel",
    "result_type", "set_default_tensor_type", "set_deterministic_debug_mode", "set_flush_denormal",
    "set_float32_matmul_precision", "set_num_interop_threads", "set_num_threads", "set_warn_always", "typename",
    "use_deterministic_algorithms", "is_same_size", "is_signed", "is_inference", "is_conj", "is_neg", "set_default_device",
]  # fmt: skip


def is_tensor(obj):
    """Whether obj is a Tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj):
    """Whether obj is a storage."""
    from .storage import TypedStorage

    return isinstance(obj, (_C.UntypedStorage, TypedStorage))


def _tensor_argument(name, input):
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input


def is_floating_point(input):
    """Whether the dtype is a floating point type."""
    return _tensor_argument("is_floating_point", input).is_floating_point()


def is_complex(input):
    """Whether the dtype is complex."""
    return _tensor_argument("is_complex", input).is_complex()


def is_signed(input):
    """Whether the dtype is signed."""
    return _tensor_argument("is_signed", input).is_signed()


def is_inference(input):
    """Whether the tensor was made in inference mode."""
    return _tensor_argument("is_inference", input).is_inference()


def is_conj(input):
    """Whether conjugation is pending: never, it is carried out at once."""
    return _tensor_argument("is_conj", input).is_conj()


def is_neg(input):
    """Whether negation is pending: never, it is carried out at once."""
    return _tensor_argument("is_neg", input).is_neg()


def numel(input):
    """Number of elements."""
    return _tensor_argument("numel", input).numel()


def is_nonzero(input):
    """Truth of a tensor with one element."""
    return bool(input)


def is_same_size(input, other):
    """Whether two tensors have the same sizes."""
    return input.shape == other.shape


Tensor.is_nonzero = is_nonzero
Tensor.is_same_size = is_same_size


def typename(obj):
    """The legacy type name of a tensor, the qualified class name of anything else."""
    if isinstance(obj, Tensor):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    module = "" if cls.__module__ in ("builtins", "__builtin__") else cls.__module__ + "."
    return module + cls.__qualname__


def as_tensor(data, dtype=None, device=None):
    """data as a tensor: itself, or sharing memory, wherever dtype and device allow."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype) if (dtype or device) else data
    if type(data).__module__ == "numpy" and type(data).__name__ == "ndarray":
        out = _C.from_numpy(data)
        return out.to(device=device, dtype=dtype) if (dtype or device) else out
    return _C.tensor(data, dtype=dtype, device=device)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """obj (tensor, array, buffer, number or sequence) as a tensor; copy=True always copies, copy=False never."""
    shares = isinstance(obj, Tensor) or hasattr(obj, "__array_interface__")
    if isinstance(obj, Tensor):
        out = obj if requires_grad or not obj.requires_grad else obj.detach()
        out = out.to(device=device, dtype=dtype)
    elif hasattr(obj, "__array_interface__"):
        import numpy as np

        out = as_tensor(np.asarray(obj), dtype=dtype, device=device)
    else:
        out = _C.tensor(obj, dtype=dtype, device=device)
    if copy is False and (not shares or (isinstance(obj, Tensor) and out.data_ptr() != obj.data_ptr())):
        raise ValueError("can't alias the given object without copying it")
    if copy and shares:
        out = out.clone()
    if requires_grad and not out.requires_grad:
        out = out.detach().requires_grad_()
    return out


def from_dlpack(ext_tensor, *, device=None, copy=None):
    """A tensor that shares memory with another library's array, by the DLPack protocol."""
    if hasattr(ext_tensor, "__dlpack__"):
        import numpy as np

        if isinstance(ext_tensor, Tensor):
            out = ext_tensor.detach()
        elif isinstance(ext_tensor, np.ndarray):
            out = _C.from_numpy(ext_tensor)
        else:
            out = _C._from_dlpack(ext_tensor.__dlpack__())
    else:
        out = _C._from_dlpack(ext_tensor)
    return out.clone() if copy else out


def result_type(tensor1, tensor2):
    """The dtype that an operation on both gives."""
    return _C._result_type(tensor1, tensor2)


# binary digits after the point, exponent of the smallest normal number, largest number, decimal resolution
_FLOATS = {
    "float64": (52, -1022, (2 - 2.0**-52) * 2.0**1023, 1e-15),
    "float32": (23, -126, (2 - 2.0**-23) * 2.0**127, 1e-6),
    "float16": (10, -14, 65504.0, 1e-3),
    "bfloat16": (7, -126, (2 - 2.0**-7) * 2.0**127, 1e-2),
    "float8_e4m3fn": (3, -6, 448.0, 1.0),
    "float8_e5m2": (2, -14, 57344.0, 1.0),
    "float8_e4m3fnuz": (3, -7, 240.0, 1.0),
    "float8_e5m2fnuz": (2, -15, 57344.0, 1.0),
    "float8_e8m0fnu": (0, -127, 2.0**127, 1.0),
}


class finfo:  # noqa: N801
    """Limits of a floating point dtype."""

    def __init__(self, dtype=None):
        dtype = _C.get_default_dtype() if dtype is None else dtype
        if not isinstance(dtype, _C.dtype):
            raise TypeError(
                f"finfo(): argument 'type' (position 1) must be torch.dtype, not {type(dtype).__name__}"
            )
        if not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{repr(dtype)}'"
            )
        dtype = dtype.to_real()
        self.dtype = repr(dtype)[6:]
        self.bits = dtype.itemsize * 8
        digits, low, self.max, self.resolution = _FLOATS[self.dtype]
        self.eps = 2.0**-digits
        self.tiny = self.smallest_normal = 2.0**low
        self.min = -self.max if dtype is not _C.float8_e8m0fnu else self.tiny  # it has no signs

    def __repr__(self):
        from ._printing import finfo_repr

        return finfo_repr(self)

    def __eq__(self, other):
        return isinstance(other, finfo) and other.dtype == self.dtype

    def __hash__(self):
        return hash(self.dtype)


class iinfo:  # noqa: N801
    """Limits of an integer dtype."""

    def __init__(self, dtype):
        if not isinstance(dtype, _C.dtype):
            raise TypeError(
                f"iinfo(): argument 'type' (position 1) must be torch.dtype, not {type(dtype).__name__}"
            )
        if dtype.is_floating_point or dtype.is_complex:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{repr(dtype)}'"
            )
        if dtype is _C.bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if dtype in (_C.qint8, _C.quint8, _C.qint32, _C.quint4x2, _C.quint2x4):
            raise NotImplementedError(f"\"dtype\" not implemented for '{dtype._scalar_name}'")
        self.dtype = repr(dtype)[6:]
        self.bits = dtype.itemsize * 8
        self.min = -(2 ** (self.bits - 1)) if dtype.is_signed else 0
        self.max = 2 ** (self.bits - dtype.is_signed) - 1

    def __repr__(self):
        from ._printing import iinfo_repr

        return iinfo_repr(self)

    def __eq__(self, other):
        return isinstance(other, iinfo) and other.dtype == self.dtype

    def __hash__(self):
        return hash(self.dtype)


def get_num_threads():
    """Threads that one operation may use."""
    return _C._num_threads()


def set_num_threads(num):
    """Choose how many threads one operation may use. Results do not depend on it."""
    if not isinstance(num, int):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _C._set_num_threads(num)


def get_num_interop_threads():
    """Threads that run independent operations: one, the caller."""
    return 1


def set_num_interop_threads(num):
    """Accepted; independent operations run on the caller's thread."""


_state = {"deterministic": False, "precision": "highest", "warn_always": False}


def _choose_products():
    """Tells the kernels how many bfloat16 parts of a float32 number matrix products may take to the processor's matrix unit."""
    parts = {"highest": 3, "high": 2, "medium": 1}[_state["precision"]]
    _C._set_float32_parts(0 if _state["deterministic"] else parts)


def use_deterministic_algorithms(mode, *, warn_only=False):
    """Results are the same for any number of threads in either mode. With True float32 products are the same on every
    processor with fused multiply-adds, too: they do without the matrix unit that some have."""
    _state["deterministic"] = bool(mode)
    _choose_products()


def are_deterministic_algorithms_enabled():
    """What use_deterministic_algorithms was last told."""
    return _state["deterministic"]


def set_deterministic_debug_mode(debug_mode):
    """0 or "default", 1 or "warn", 2 or "error"."""
    use_deterministic_algorithms(debug_mode not in (0, "default"))


def get_deterministic_debug_mode():
    """0 or 2, as use_deterministic_algorithms was told."""
    return 2 if _state["deterministic"] else 0


def set_float32_matmul_precision(precision):
    """How exact products of float32 matrices have to be: "highest" as exact as float32, "high" about 16 significant bits of
    each number, "medium" the 8 of bfloat16. The sums are float32 always. Processors without a matrix unit compute the highest."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision} is not one of 'highest', 'high' or 'medium'")
    _state["precision"] = precision
    _choose_products()


def get_float32_matmul_precision():
    """What set_float32_matmul_precision was last told."""
    return _state["precision"]


def set_flush_denormal(mode):
    """Not supported: denormal numbers are kept. Returns False."""
    return False


def set_warn_always(b):
    """Whether warnings that appear once should appear always."""
    _state["warn_always"] = bool(b)
    _C._set_warn_always(b)


def is_warn_always_enabled():
    """What set_warn_always was last told."""
    return _state["warn_always"]


def set_default_tensor_type(t):
    """Set the default dtype by the name of a legacy tensor type."""
    from ._legacy import dtype_of_name

    _C._warn_once(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() and "
        "torch.set_default_device() as alternatives.",
        1,
    )
    _C.set_default_dtype(dtype_of_name(t))


def get_default_device():
    """The device of new tensors."""
    return _C._get_default_device()


def set_default_device(device):
    """Set the device of new tensors: "cpu", or "meta" for tensors without memory; None for the CPU."""
    _C._set_default_device(device)


def compile(model=None, **options):  # noqa: A001
    """Return the function or module as it is: it runs eagerly, with the same results."""
    if model is None:
        return lambda function: function
    return model
