"""The legacy tensor types: FloatTensor, IntTensor, ... as constructors and as operands of isinstance."""

from . import _C
from ._C import Tensor

_NAMES = {
    "FloatTensor": _C.float32, "DoubleTensor": _C.float64, "HalfTensor": _C.float16, "BFloat16Tensor": _C.bfloat16,
    "LongTensor": _C.int64, "IntTensor": _C.int32, "ShortTensor": _C.int16, "CharTensor": _C.int8,
    "ByteTensor": _C.uint8, "BoolTensor": _C.bool,
}  # fmt: skip


class TensorType:
    """torch.FloatTensor and its kind: call it to make a tensor, use it with isinstance to ask for the dtype."""

    def __init__(self, name, dtype):
        self.__name__ = self.__qualname__ = name
        self.dtype = dtype
        self.is_cuda = False

    def __call__(self, *args, **kwargs):
        return _C._legacy_tensor(self.dtype, self.__name__, *args, **kwargs)

    def __instancecheck__(self, instance):
        return isinstance(instance, Tensor) and instance.dtype is self.dtype and instance.is_cpu

    def __subclasscheck__(self, cls):
        return cls is self

    def __or__(self, other):
        """`torch.LongTensor | None` in annotations."""
        from typing import Union

        return Union[self, other]  # noqa: UP007

    def __ror__(self, other):
        from typing import Union

        return Union[other, self]  # noqa: UP007

    def __repr__(self):
        return f"<class 'torch.{self.__name__}'>"

    def __reduce__(self):
        return self.__name__

    __module__ = "rushlight"


types = {name: TensorType(name, dtype) for name, dtype in _NAMES.items()}


def name_of_dtype(dtype):
    """ "torch.FloatTensor" for float32."""
    return "torch." + dtype._type_name


def dtype_of_name(name):
    """The dtype behind a dtype, a legacy type or its name."""
    if isinstance(name, _C.dtype):
        return name
    if isinstance(name, TensorType):
        return name.dtype
    if isinstance(name, str) and name.startswith("torch.") and name[6:] in _NAMES:
        return _NAMES[name[6:]]
    raise ValueError(f"invalid type: '{name}'")
