"""Methods of Tensor that are written in Python: conversions, printing, copying and pickling, NumPy protocols, subclassing.

Importing this module attaches them to the C type.
"""

import warnings

from . import _C
from ._C import Tensor

_float_dtypes = {
    "float": _C.float32, "double": _C.float64, "half": _C.float16, "bfloat16": _C.bfloat16, "long": _C.int64,
    "int": _C.int32, "short": _C.int16, "char": _C.int8, "byte": _C.uint8, "bool": _C.bool,
    "chalf": _C.complex32, "cfloat": _C.complex64, "cdouble": _C.complex128,
}  # fmt: skip


def _method(function):
    """Attach a function to Tensor under its own name (less the "_method" of one that would hide a builtin)."""
    function.__name__ = function.__name__.removesuffix("_method")
    function.__qualname__ = f"Tensor.{function.__name__}"
    setattr(Tensor, function.__name__, function)
    return function


def _overridden(function, self, args, kwargs):
    """Result of __torch_function__ where self is a subclass that overrides it, else NotImplemented."""
    if type(self) is not Tensor and _C._has_overrides(function, self):
        return type(self).__torch_function__(function, (type(self),), (self, *args), kwargs)
    return NotImplemented


# ---- subclassing ----


class _DisableTorchFunctionSubclass:
    """Context in which __torch_function__ of subclasses is not asked."""

    def __enter__(self):
        self.before = _C._swap_overrides_off(True)

    def __exit__(self, *exc):
        _C._swap_overrides_off(self.before)


def _disabled_torch_function_impl(func, types, args=(), kwargs=None):
    with _DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


def _convert(result, cls):
    if cls is Tensor:
        return result
    if isinstance(result, Tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)
    if isinstance(result, (tuple, list)):
        converted = [_convert(r, cls) for r in result]
        return type(result)(converted)
    return result


_plain_results = {"shape", "dtype", "device", "size", "stride", "numel", "item", "tolist", "data_ptr", "grad_fn"}


@classmethod
def __torch_function__(cls, func, types, args=(), kwargs=None):
    """Default of the override protocol: compute as for plain tensors, give the result the subclass's type."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with _DisableTorchFunctionSubclass():
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _plain_results:
            return result
        return _convert(result, cls)


Tensor.__torch_function__ = __torch_function__
_C._set_override_hooks(Tensor.__dict__["__torch_function__"], _disabled_torch_function_impl)
_C._disabled_torch_function_impl = _disabled_torch_function_impl
_C.DisableTorchFunctionSubclass = _DisableTorchFunctionSubclass
_C.DisableTorchFunction = _DisableTorchFunctionSubclass


# ---- autograd ----


@_method
def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """Add the gradient of this tensor with respect to the leaves of its graph to their .grad.

    Args:
        gradient: gradient with respect to this tensor, of its shape; may be left out for a scalar.
        retain_graph: keep the graph for another backward (default: create_graph).
        create_graph: record the gradient computation, for higher derivatives.
        inputs: leaves to accumulate into (default: all).
    """
    if gradient is None and inputs is None and not create_graph and retain_graph is None:
        return _C._backward(self, False, False)  # by far the most frequent call
    from . import autograd

    return autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)


# ---- printing ----


@_method
def __repr__(self, *, tensor_contents=None):
    from ._printing import tensor_repr

    return tensor_repr(self)


@_method
def __format__(self, spec):
    from ._printing import tensor_format

    return tensor_format(self, spec)


# ---- conversion ----


def _convert_dtype(name, dtype):
    def convert(self, memory_format=None):
        if memory_format is None:
            return self if self.dtype is dtype else self.to(dtype)
        return self.to(dtype, memory_format=memory_format)

    convert.__name__ = name
    convert.__doc__ = f"This tensor as {dtype}; itself where it has that dtype already."
    setattr(Tensor, name, convert)


for _name, _dtype in _float_dtypes.items():
    _convert_dtype(_name, _dtype)


def _is_format(memory_format, name):
    return memory_format is not None and repr(memory_format) == "torch." + name


def _with_format(tensor, memory_format):
    """tensor in another order of memory; itself where nothing changes."""
    if memory_format is None or _is_format(memory_format, "preserve_format"):
        return tensor
    if tensor.is_contiguous(memory_format=memory_format):
        return tensor
    if _is_format(memory_format, "contiguous_format"):
        return tensor.contiguous()
    spatial = 2 if _is_format(memory_format, "channels_last") else 3
    if tensor.dim() != spatial + 2:
        raise RuntimeError(f"required rank {spatial + 2} tensor to use {str(memory_format)[6:]} format")
    order = [0, *range(2, spatial + 2), 1]
    back = [0, spatial + 1, *range(1, spatial + 1)]
    return tensor.permute(order).contiguous().permute(back)


_plain_contiguous = Tensor.contiguous


@_method
def contiguous(self, memory_format=None):
    """The tensor itself where its elements lie in row-major order (or memory_format), otherwise a copy that does."""
    if memory_format is None or _is_format(memory_format, "contiguous_format"):
        return _plain_contiguous(self)
    return _with_format(self, memory_format)


@_method
def _to(self, *args, **kwargs):
    """What Tensor.to does with anything but the dtype of a plain tensor."""
    overridden = _overridden(Tensor.to, self, args, kwargs)
    if overridden is not NotImplemented:
        return overridden
    dtype, device = kwargs.pop("dtype", None), kwargs.pop("device", None)
    copy, memory_format = kwargs.pop("copy", False), kwargs.pop("memory_format", None)
    other = kwargs.pop("other", None)
    kwargs.pop("non_blocking", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
    elif rest and (isinstance(rest[0], _C.dtype)):
        dtype = rest.pop(0)
    elif rest and (rest[0] is None or isinstance(rest[0], (str, int, _C.device))):
        device = rest.pop(0)
        if rest and isinstance(rest[0], _C.dtype):
            dtype = rest.pop(0)
        elif rest and rest[0] is None:
            rest.pop(0)
    elif rest:
        raise TypeError(f"to() received an invalid combination of arguments - got ({type(rest[0]).__name__}), "
                        "but expected one of:\n * (torch.device device, torch.dtype dtype, bool non_blocking, bool copy)\n"
                        " * (torch.dtype dtype, bool non_blocking, bool copy)\n * (Tensor tensor, bool non_blocking, bool copy)")
    if rest:
        rest.pop(0)  # non_blocking
    if rest:
        copy = rest.pop(0)
    if other is not None:
        dtype, device = other.dtype, other.device
    out = self
    if device is not None:
        out = _on_device(out, _C.device(device), isinstance(device, int))
    if dtype is not None and dtype is not out.dtype:
        out = _C.to_dtype(out, dtype)
    out = _with_format(out, memory_format)
    return out.clone() if copy and out is self else out


def _on_device(tensor, device, index_only=False):
    here = tensor.device.type
    if device.type == here:
        return tensor
    if device.type == "cuda":
        if device.index is not None and index_only:
            raise RuntimeError("Cannot access accelerator device when none is available.")
        raise AssertionError("Torch not compiled with CUDA enabled")
    if device.type == "meta":
        return _C.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    raise NotImplementedError("Cannot copy out of meta tensor; no data!")


@_method
def cpu(self, memory_format=None):
    """This tensor in the memory of the CPU."""
    return _with_format(_on_device(self, _C.device("cpu")), memory_format)


@_method
def cuda(self, device=None, non_blocking=False, memory_format=None):
    """This tensor in the memory of a CUDA device."""
    raise AssertionError("Torch not compiled with CUDA enabled")


def _absent(name, error):
    def move(self, device=None, non_blocking=False, memory_format=None):
        raise error

    move.__name__ = move.__qualname__ = name
    move.__doc__ = f"This tensor in the memory of such a device: there is none ({name})."
    setattr(Tensor, name, move)


_absent("ipu", RuntimeError("PyTorch is not linked with support for ipu devices"))
_absent("xpu", AssertionError("Torch not compiled with XPU enabled"))
_absent("mtia", AssertionError("Torch not compiled with MTIA enabled."))


@_method
def record_stream(self, stream):
    """Tell a device's allocator that a stream uses this tensor: there is no device."""
    raise RuntimeError("unknown parameter type")


@_method
def to_mkldnn(self, dtype=None):
    """Not part of rushlight: tensors have no other layout for the kernels of one library."""
    raise NotImplementedError("to_mkldnn: the layout torch._mkldnn is not part of rushlight")


@_method
def to_padded_tensor(self, padding, output_size=None):
    """A nested tensor as one padded tensor; no tensor is nested here, and on others it raises NotImplementedError."""
    raise NotImplementedError(
        "Could not run 'aten::to_padded_tensor' with arguments from the 'CPU' backend.\nThe tensor is not nested."
    )


@_method
def index(self, positions, dims):
    """Not part of rushlight: a tensor whose dimensions are bound to first-class dimensions."""
    raise NotImplementedError("Tensor.index: first-class dimensions are not part of rushlight")


@_method
def const_data_ptr(self):
    """Address of the first element, for reading."""
    return self.data_ptr()


Tensor.name = property(lambda self: None, doc="The name that tracers gave: None.")


def _set_grad_dtype(self, dtype):
    if dtype is not self.dtype:
        raise NotImplementedError("grad_dtype: gradients have the dtype of their tensor")


Tensor.grad_dtype = property(lambda self: self.dtype, _set_grad_dtype, doc="The dtype of .grad: the tensor's own.")


@_method
def pin_memory(self, device=None):
    """This tensor in page-locked memory (needs an accelerator)."""
    raise RuntimeError("Cannot access accelerator device when none is available.")


@_method
def type_method(self, dtype=None, non_blocking=False):
    """The name of the legacy tensor type ("torch.FloatTensor"), or this tensor converted to dtype."""
    from ._legacy import dtype_of_name, name_of_dtype

    if dtype is None:
        name = name_of_dtype(self.dtype)
        return name.replace("torch.", "torch.sparse.") if self.is_sparse else name
    return self.to(dtype_of_name(dtype))


@_method
def type_as(self, other):
    """This tensor with the dtype and device of other."""
    return self.to(other.dtype)


@_method
def share_memory_(self):
    """Move the storage to memory that other processes can see: a tensor sent through a rushlight.multiprocessing queue,
    or inherited by a forked process, is then the same memory there. All tensors on the storage follow."""
    if self.device.type == "cpu" and self.layout is _C.strided:
        _C._share(self.untyped_storage())
    return self


@_method
def is_shared(self):
    """Whether the storage lies in memory shared between processes."""
    return self.device.type == "cpu" and self.layout is _C.strided and _C._is_shared(self.untyped_storage())


@_method
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """A tensor of data with this tensor's dtype unless another is given."""
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than tensor.new_tensor(sourceTensor).",
            stacklevel=2,
        )
        data = data.detach().to(dtype or self.dtype, copy=True)
        return data.to(device or data.device).requires_grad_(requires_grad)
    return _C.tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


def _factory(name, like):
    def new(self, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, **kwargs):
        values = []
        if name == "new_full":
            if len(size) > 1:
                size, values = size[:1], [size[1]]
            else:
                values = [kwargs.pop("fill_value")]
        if "size" in kwargs:
            size = (kwargs.pop("size"),)
        if kwargs:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(kwargs))}'")
        if len(size) == 1 and not isinstance(size[0], int):
            size = tuple(size[0])
        make = getattr(_C, like)
        return make(size, *values, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)

    new.__name__ = name
    new.__doc__ = f"As rushlight.{like}, with this tensor's dtype and device unless others are given."
    setattr(Tensor, name, new)


for _name in ("empty", "zeros", "ones", "full"):
    _factory("new_" + _name, _name)


@_method
def new_empty_strided(self, size, stride, dtype=None, device=None, requires_grad=False):
    """An uninitialised tensor of the given sizes and strides with this tensor's dtype."""
    return _C.empty_strided(size, stride, dtype=dtype or self.dtype, device=device or self.device,
                            requires_grad=requires_grad)  # fmt: skip


@_method
def new(self, *args, **kwargs):
    """A tensor of this tensor's dtype, as the legacy constructor makes it."""
    return _C._legacy_tensor(self.dtype, "new", *args, **kwargs)


# ---- shapes ----


@_method
def view_as(self, other):
    """view(other.size())"""
    return self.view(other.size())


@_method
def reshape_as(self, other):
    """reshape(other.size())"""
    return self.reshape(other.size())


@_method
def expand_as(self, other):
    """expand(other.size())"""
    return self.expand(other.size())


def _in_place_view(name, view):
    def change(self, *args, **kwargs):
        if self.layout is not _C.strided or self.is_quantized:
            return self.set_(getattr(self.detach(), view)(*args, **kwargs))
        out = getattr(self, view)(*args, **kwargs)
        _C._become_view(self, out)
        shown = _IN_PLACE_HISTORY[view]
        if view == "squeeze":
            shown = "SqueezeBackward3" if not args and not kwargs else "SqueezeBackward4"
        return _C._show_history_as(self, shown)

    change.__name__ = name
    change.__doc__ = f"{view} in place: the geometry of this tensor itself changes."
    setattr(Tensor, name, change)


_IN_PLACE_HISTORY = {
    "t": "TBackward1", "transpose": "TransposeBackward1", "squeeze": "SqueezeBackward3", "unsqueeze": "UnsqueezeBackward1",
    "swapaxes": "TransposeBackward1", "swapdims": "TransposeBackward1",
}  # fmt: skip  (what PyTorch calls the derivatives)
for _name in _IN_PLACE_HISTORY:
    _in_place_view(_name + "_", _name)


@_method
def resize_as_(self, other):
    """resize_(other.size())"""
    return self.resize_(other.size())


# ---- Python protocols ----


@_method
def __iter__(self):
    if self.dim() == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


@_method
def __contains__(self, element):
    if isinstance(element, (Tensor, int, float, complex, bool)):
        return bool((self == element).any())
    raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {element.__class__}.")


@_method
def __reversed__(self):
    return self if self.dim() == 0 else self.flip(0)


@_method
def __dir__(self):
    return sorted(set(object.__dir__(self)))


@_method
def __array__(self, dtype=None, copy=None):
    out = self.numpy()
    if dtype is not None and out.dtype != dtype:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        return out.astype(dtype)
    return out.copy() if copy else out


@_method
def __array_wrap__(self, array):
    """What NumPy computed of tensors and arrays, as a tensor (booleans as uint8).

    As in PyTorch, without the two further arguments that NumPy 2 offers: NumPy says so in a DeprecationWarning.
    """
    import numpy as np

    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype("uint8")
    return _C.from_numpy(array if array.flags.writeable else array.copy())


Tensor.__array_priority__ = 1000


@_method
def __reduce_ex__(self, protocol):
    from ._utils import reduce_tensor

    return reduce_tensor(self, protocol)


@_method
def __deepcopy__(self, memo):
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If you "
            "were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, see "
            "https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    from copy import deepcopy

    with _C.DisableTorchFunctionSubclass():
        source = self.detach()
        if source.layout is not _C.strided or source.is_quantized:
            new = source.clone()
        elif source.is_meta:
            new = _C.empty_strided(self.shape, self.stride(), dtype=self.dtype, device="meta")
        else:
            storage = _deepcopied_storage(self.untyped_storage(), memo)
            new = _C._rebuild(storage, self.dtype, self.storage_offset(), self.shape, self.stride())
        if self.__class__ is not Tensor:
            new = Tensor._make_subclass(self.__class__, new, self.requires_grad)
        else:
            new.requires_grad_(self.requires_grad)
        memo[id(self)] = new
        if self.grad is not None:
            new.grad = deepcopy(self.grad, memo)
        for name, value in self.__dict__.items():
            new.__dict__[name] = deepcopy(value, memo)
    return new


def _deepcopied_storage(storage, memo):
    """Tensors that share memory still share it in the copy."""
    key = ("storage", storage._cdata)
    if key not in memo:
        memo[key] = storage.clone()
        memo[("kept", storage._cdata)] = storage  # the key is an address: keep its owner alive
    return memo[key]


@_method
def __setstate__(self, state):
    if len(state) == 4:
        self.set_(*state)
    elif len(state) == 5:
        self.data = state[0]
    self.requires_grad_(state[-2] if len(state) == 5 else False)


@_method
def storage(self):
    """The storage with this tensor's dtype (TypedStorage)."""
    from .storage import TypedStorage

    return TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype, _internal=True)


@_method
def apply_(self, function):
    """Replace each element by function(element), in Python."""
    flat = [function(x) for x in self.reshape(-1).tolist()]
    return self.copy_(_C.tensor(flat, dtype=self.dtype).view(self.shape))


@_method
def map_(self, other, function):
    """Replace each element x by function(x, y), y the element of other, in Python."""
    pairs = zip(self.reshape(-1).tolist(), other.expand_as(self).reshape(-1).tolist(), strict=True)
    return self.copy_(_C.tensor([function(x, y) for x, y in pairs], dtype=self.dtype).view(self.shape))


@_method
def dim_order(self):
    """Dimensions from the largest stride to the smallest."""
    return tuple(sorted(range(self.dim()), key=lambda d: -self.stride(d)))


@_method
def unflatten(self, dim, sizes):
    """The dimension dim as several dimensions of the given sizes (one may be -1)."""
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if not -self.dim() <= dim < max(self.dim(), 1):
        low, high = -max(self.dim(), 1), max(self.dim(), 1) - 1
        raise IndexError(f"Dimension out of range (expected to be in range of [{low}, {high}], but got {dim})")
    dim = dim % self.dim()
    if -1 not in sizes:
        product = 1
        for size in sizes:
            product *= size
        if product != self.shape[dim]:
            raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} "
                               f"({self.shape[dim]}) in the input tensor")  # fmt: skip
    return self.reshape(self.shape[:dim] + sizes + self.shape[dim + 1 :])
