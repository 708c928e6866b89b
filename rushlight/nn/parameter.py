"""Parameter and Buffer: the tensors that a Module registers by itself when they are assigned to it; and their
uninitialised forms, which lazy modules use until they have seen an input."""

from collections import OrderedDict

import rushlight as rl
from rushlight import _C, Tensor


class Parameter(Tensor):
    """A tensor that a Module counts among its parameters.

    Args:
        data: the values; shared, not copied.
        requires_grad: record operations on it (also inside no_grad, since it is a leaf).

    >>> Parameter(rl.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = rl.empty(0)
        kind = type(data)
        if kind is Tensor or kind is Parameter or issubclass(kind, cls):
            return Tensor._make_subclass(cls, data, requires_grad)
        # another subclass of Tensor keeps its class and is marked instead
        alias = data.detach().requires_grad_(requires_grad)
        if type(alias) is not kind:
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {kind.__name__} requires that detach() returns an "
                f"instance of the same type, but return type {type(alias).__name__} was found instead. To use the "
                "type as a Parameter, please correct the detach() semantics defined by its __torch_dispatch__() "
                "implementation."
            )
        alias._is_param = True
        return alias

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        values = self.data.clone(memory_format=rl.preserve_format)
        copied = type(self)(values, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self, **kwargs):
        return "Parameter containing:\n" + self.detach().requires_grad_(self.requires_grad).__repr__(**kwargs)

    def __reduce_ex__(self, protocol):
        from rushlight import _utils

        state = self.__dict__
        # hooks are not kept; the empty dictionary stands in their place in the format
        if not state:
            return _utils._rebuild_parameter, (self.data, self.requires_grad, OrderedDict())
        return _utils._rebuild_parameter_with_state, (self.data, self.requires_grad, OrderedDict(), state)

    # operations on a Parameter give plain tensors
    __torch_function__ = _C._disabled_torch_function_impl


class _BufferMeta(type):
    """isinstance(x, Buffer) holds for tensors that Buffer() marked."""

    def __instancecheck__(self, instance):
        return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(metaclass=_BufferMeta):
    """Marks a tensor so that a Module registers it as a buffer when it is assigned. Calling it returns a plain
    tensor that shares `data`.

    Args:
        persistent: save it in the state_dict.
    """

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = rl.empty(0)
        alias = data.detach().requires_grad_(data.requires_grad)
        alias.persistent = persistent
        alias._is_buffer = True
        return alias


def is_parameter(value):
    """True for a Parameter and for a tensor of another subclass that was passed through Parameter()."""
    return isinstance(value, Parameter) or (isinstance(value, Tensor) and getattr(value, "_is_param", False))


# what may be done to a tensor that has no shape yet
_ALLOWED_METHODS = {
    "__hash__", "size", "copy_", "to_dtype", "is_complex", "is_floating_point", "half", "float", "double", "char", "short",
    "int", "long", "bfloat16", "type", "cuda", "cpu", "to", "get_device", "detach", "requires_grad_", "is_shared", "numel",
}  # fmt: skip


class UninitializedTensorMixin:
    """What uninitialised parameters and buffers share: no shape yet, and materialize() to give them one."""

    def materialize(self, shape, device=None, dtype=None):
        """Allocates the values and turns the object, in place, into its initialised class."""
        device = self.data.device if device is None else device
        dtype = self.data.dtype if dtype is None else dtype
        self.data = rl.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. "
            "This error usually happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their attributes."
        )

    def share_memory_(self):
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. "
            "Call `forward` to initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad,)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") in _ALLOWED_METHODS:
            return super().__torch_function__(func, types, args, kwargs or {})
        raise ValueError(
            f"Attempted to use an uninitialized parameter in {func}. This error happens when you are using a "
            f"`LazyModule` or explicitly manipulating `torch.nn.parameter.{cls.__name__}` objects. When using "
            "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch functions"
        )


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return Tensor._make_subclass(cls, rl.empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        memo[id(self)] = copied
        return copied


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is not known yet."""

    cls_to_become = Tensor
    persistent = True
    _is_buffer = True

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        buffer = Tensor._make_subclass(cls, rl.empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        return buffer


def is_lazy(value):
    """True for parameters and buffers that are not initialised yet."""
    return isinstance(value, UninitializedTensorMixin)
