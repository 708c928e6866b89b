"""Names for annotations: what counts as a number, a device, a size or a file."""

import os
from typing import IO, Any, TypeAlias, Union

from ._C import Size as Size
from ._C import Tensor as Tensor
from ._C import UntypedStorage as Storage
from ._C import device as _device

__all__ = ["Device", "FileLike", "Number", "Size", "Storage", "Tensor"]

Number: TypeAlias = int | float | bool
BoolLikeType: TypeAlias = bool
IntLikeType: TypeAlias = int
FloatLikeType: TypeAlias = float
Device: TypeAlias = _device | str | int | None
FileLike: TypeAlias = str | os.PathLike | IO[bytes]

_TensorOrTensors: TypeAlias = Union[Tensor, "tuple[Tensor, ...]"]
_size: TypeAlias = Union[Size, "list[int]", "tuple[int, ...]"]
_int, _float, _bool, _complex = int, float, bool, complex
_dispatchkey: TypeAlias = Any
