"""Quantised tensors: integers that stand for scale * (integer - zero_point), with one scale for the tensor or one per channel.

A quantised tensor has a delegate (Note [Delegates] in core/tensor/tensor.h): a Quantized object with the integers, an
ordinary tensor, and the parameters. It can be looked at, viewed, copied, written to files and converted back; arithmetic
on it is not implemented: dequantize() gives a tensor that has all operators.
"""

import math

import numpy as np

from . import _C
from ._C import Tensor

__all__ = ["dequantize", "int_repr", "q_per_channel_axis", "q_per_channel_scales", "q_per_channel_zero_points", "q_scale",
           "q_zero_point", "quantize_per_channel", "quantize_per_tensor", "quantize_per_tensor_dynamic"]  # fmt: skip

INTEGERS = {_C.qint8: _C.int8, _C.quint8: _C.uint8, _C.qint32: _C.int32}
_QUANTIZED = {integer: dtype for dtype, integer in INTEGERS.items()}


class Quantized:
    """Delegate of a quantised tensor. Per tensor: scale a float, zero_point an int, axis None. Per channel: 1-d tensors
    (float64, int64) with an entry for each position along axis."""

    __slots__ = ("axis", "integers", "scale", "zero_point")
    layout, backend = _C.strided, "QuantizedCPU"
    is_quantized, is_sparse, is_sparse_csr = True, False, False
    table = {}  # name of an operator -> function; filled below

    def __init__(self, integers, scale, zero_point, axis=None):
        self.integers, self.scale, self.zero_point, self.axis = integers.detach(), scale, zero_point, axis

    @property
    def scheme(self):
        return _C.per_tensor_affine if self.axis is None else _C.per_channel_affine

    @property
    def nbytes(self):
        return self.integers.nbytes

    def tensor(self, integers):
        """Other integers with the same parameters, as a tensor."""
        made = Quantized(integers, self.scale, self.zero_point, self.axis)
        dtype, place = _QUANTIZED[integers.dtype], integers.storage_offset()
        return _C._with_delegate(tuple(integers.shape), dtype, made, integers.stride(), place)

    def per_element(self):
        """Scale and zero point in a shape that broadcasts over the integers."""
        if self.axis is None:
            return self.scale, self.zero_point
        shape = [1] * self.integers.dim()
        shape[self.axis] = -1
        return self.scale.view(shape), self.zero_point.view(shape)

    def call(self, name, args):
        function = self.table.get(name)
        with _C._no_grad():
            if function is not None:
                return function(*args)
            if name in _MOVES and self.axis is None:
                moved = getattr(_C, name.partition(".")[0])(self.integers, *args[1 : 1 + _MOVES[name]])
                return tuple(map(self.tensor, moved)) if isinstance(moved, (list, tuple)) else self.tensor(moved)
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'QuantizedCPU' backend. rushlight has no such operator for "
            "quantised tensors; dequantize() gives a tensor that has all."
        )


# Operators that move or pick elements, and how many arguments they take beside the tensor: done on the integers where all
# have the same scale. Views of a quantised tensor share its memory.
_MOVES = {"chunk": 2, "diagonal": 3, "expand": 1, "flatten": 2, "flip": 1, "index": 1, "index_select": 2, "permute": 1,
          "repeat": 1, "reshape": 1, "roll": 2, "select": 2, "slice": 4, "split": 2, "split.sizes": 2, "squeeze": 0,
          "squeeze.dim": 1, "t": 0, "transpose": 2, "unbind": 1, "unfold": 3, "unsqueeze": 1, "view": 1}  # fmt: skip


def _parts(tensor, name):
    """The Quantized object of a tensor."""
    found = _C._delegate_of(tensor)
    if not isinstance(found, Quantized):
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: the tensor is not quantised."
        )
    return found


def _warn_deprecated():
    _C._warn_once(
        "torch.quantize_per_tensor, torch.quantize_per_channel and other quantized tensor creation functions that produce "
        "tensors with dtype torch.quint8, torch.qint8, and torch.qint32 are deprecated and will be removed in a future "
        "PyTorch release. Please see https://github.com/pytorch/pytorch/issues/184982 for more information.",
        2,
    )


def _integers(input, scale, zero_point, dtype, fused):
    """round(input / scale + zero_point), limited to the range of dtype, in float32 as PyTorch computes it. fused: product and
    sum are rounded once (float64 is wide enough for that), not each."""
    low, high = -(2 ** (8 * dtype.itemsize - 1)), 2 ** (8 * dtype.itemsize - 1) - 1
    if dtype is _C.quint8:
        low, high = 0, 255
    scale = scale.to(_C.float32) if isinstance(scale, Tensor) else _C.tensor(scale, dtype=_C.float32)
    inverse = 1 / scale
    if fused:
        value = (input.double() * inverse.double() + zero_point).float()
    else:
        zero_point = zero_point.to(_C.float32) if isinstance(zero_point, Tensor) else float(zero_point)
        value = input * inverse + zero_point
    nothing = low if dtype is _C.qint32 else high  # what nan becomes
    value = value.round().double().nan_to_num(nan=nothing, posinf=high, neginf=low).clamp(low, high)
    return value.to(INTEGERS[dtype])


def _check(input, dtype, name):
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if dtype in (_C.quint4x2, _C.quint2x4):
        raise NotImplementedError(f"{name}: {dtype}, whose elements share bytes, is not implemented")
    if dtype not in INTEGERS:
        kind = dtype._scalar_name if isinstance(dtype, _C.dtype) else type(dtype).__name__
        raise RuntimeError(f"ScalarType {kind} is not supported in new_qtensor.")
    if input.dtype is not _C.float32:
        raise RuntimeError(f"Quantize only works on Float Tensor, got {input.dtype._scalar_name}")


def _check_zero_point(zero_point, dtype, name):
    unsigned, bits = dtype is _C.quint8, 8 * dtype.itemsize
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if zero_point > high:
        raise RuntimeError(f"{name} zero_point {zero_point} is above upper bound.")
    if zero_point < low:
        raise RuntimeError(f"{name} zero_point {zero_point} is below lower bound.")


def quantize_per_tensor(input, scale, zero_point, dtype):
    """input, of dtype float32, as integers with one scale: round(input / scale) + zero_point, limited to the range of dtype.

    Args:
        scale, zero_point: numbers or tensors of one element. Where input is a list, 1-d tensors with an entry for each.
        dtype: quint8, qint8 or qint32.

    >>> rl.quantize_per_tensor(rl.tensor([1.0, 2.0]), 0.1, 0, rl.qint8).int_repr()
    tensor([10, 20], dtype=torch.int8)
    """
    _warn_deprecated()
    if isinstance(input, (list, tuple)):
        return tuple(
            quantize_per_tensor(x, s, z, dtype) for x, s, z in zip(input, scale.tolist(), zero_point.tolist(), strict=True)
        )
    _check(input, dtype, "quantize_per_tensor")
    scale, zero_point = float(scale), int(zero_point)
    _check_zero_point(zero_point, dtype, "quantize_tensor_per_tensor_affine")
    integers = _integers(input.detach(), scale, zero_point, dtype, fused=dtype is not _C.qint32)
    return _per_tensor(integers, scale, zero_point)


def quantize_per_tensor_dynamic(input, dtype, reduce_range):
    """quantize_per_tensor() with a scale and zero point that make use of the whole range of dtype: from the least to the
    greatest element, and zero exactly.

    Args:
        dtype: qint8 or quint8; float16 gives an ordinary tensor of that dtype.
        reduce_range: use one bit less, which some processors need.
    """
    _warn_deprecated()
    if dtype is _C.float16:
        return input.to(dtype)
    if dtype not in (_C.qint8, _C.quint8):
        raise RuntimeError(f"dtype {dtype._scalar_name}not supported")
    _check(input, dtype, "quantize_per_tensor_dynamic")
    low, high = (-128, 127) if dtype is _C.qint8 else (0, 255)
    if reduce_range:
        low, high = low // 2, high // 2
    return quantize_per_tensor(input, *_chosen(float(input.min()), float(input.max()), low, high), dtype)


_LEAST_SCALE = float(np.float32(6.1e-5))  # a smaller one would not survive the arithmetic of 16-bit floats


def _chosen(least, most, low, high):
    """Scale and zero point that map [least, most], widened to hold zero, to the integers from low to high."""
    if not least <= most:
        raise RuntimeError("In ChooseQuantizationParams, min should be less than or equal to max")
    least, most = min(least, 0.0), max(most, 0.0)
    scale = (most - least) / (high - low)
    if scale == 0 or math.isinf(1 / scale):
        scale = 0.1
    if scale < _LEAST_SCALE:
        wider, scale = _LEAST_SCALE / scale, _LEAST_SCALE
        if least == 0:
            most = scale * (high - low)
        elif most == 0:
            least = -scale * (high - low)
        else:
            least, most = least * wider, most * wider
    from_low, from_high = low - least / scale, high - most / scale
    # the end of which the rounding errors are smaller
    exact = from_low if abs(low) + abs(least / scale) < abs(high) + abs(most / scale) else from_high
    return scale, min(max(round(exact), low), high)


def quantize_per_channel(input, scales, zero_points, axis, dtype):
    """As quantize_per_tensor, with a scale and a zero point for each position along axis.

    Args:
        scales, zero_points: 1-d tensors of input.shape[axis] elements; zero_points of an integer dtype.
    """
    _warn_deprecated()
    _check(input, dtype, "quantize_per_channel")
    if zero_points.is_floating_point():
        raise NotImplementedError("quantize_per_channel: zero points that are not whole numbers are not implemented")
    if scales.dim() != 1 or zero_points.dim() != 1:
        raise RuntimeError(f"{'scale' if scales.dim() != 1 else 'zero_points'} tensor must have dimension 1")
    if scales.numel() != zero_points.numel():
        raise RuntimeError("number of elements in scales and zero_points must match")
    if not 0 <= axis < input.dim():
        raise RuntimeError(
            f"Channel axis out of range in per channel affine quantization. Got: {axis}Expected: [0, {input.dim()})"
        )
    if scales.numel() != input.shape[axis]:
        raise RuntimeError(f"length of scales must equal to channel, expected {input.shape[axis]} got, {scales.numel()}")
    for zero_point in zero_points.tolist():
        _check_zero_point(zero_point, dtype, "quantize_tensor_per_channel_affine")
    made = Quantized(input.detach(), scales.detach().double(), zero_points.detach().long(), axis)
    scale, zero_point = made.per_element()
    made.integers = _integers(input.detach(), scale, zero_point, dtype, fused=False)
    return made.tensor(made.integers)


def _per_tensor(integers, scale, zero_point):
    made = Quantized(integers, scale, zero_point)
    return made.tensor(integers)


def _per_channel(integers, scales, zero_points, axis):
    made = Quantized(integers, scales.double(), zero_points.long(), axis)
    return made.tensor(integers)


def dequantize(input):
    """The numbers that a quantised tensor stands for, in float32. Of a list of tensors, each."""
    if isinstance(input, (list, tuple)):
        return tuple(map(dequantize, input))
    if not input.is_quantized:
        return input.to(_C.float32)
    return _numbers(input)


def _numbers(tensor):
    parts = _parts(tensor, "dequantize")
    scale, zero_point = parts.per_element()
    if parts.axis is None:
        return (parts.integers.long() - zero_point).float() * _C.tensor(scale, dtype=_C.float32)
    return ((parts.integers.long() - zero_point).double() * scale).float()


def int_repr(input):
    """The integers of a quantised tensor, as a tensor of uint8, int8 or int32."""
    return _parts(input, "int_repr").integers.clone()


def q_scale(input):
    """The scale of a tensor that is quantised per tensor."""
    return _with_scheme(input, "q_scale", _C.per_tensor_affine).scale


def q_zero_point(input):
    """The zero point of a tensor that is quantised per tensor."""
    return _with_scheme(input, "q_zero_point", _C.per_tensor_affine).zero_point


def q_per_channel_scales(input):
    """The scales of a tensor that is quantised per channel, in float64."""
    return _with_scheme(input, "q_per_channel_scales", _C.per_channel_affine).scale


def q_per_channel_zero_points(input):
    """The zero points of a tensor that is quantised per channel, in int64."""
    return _with_scheme(input, "q_per_channel_zero_points", _C.per_channel_affine).zero_point


def q_per_channel_axis(input):
    """The dimension whose positions have a scale each."""
    return _with_scheme(input, "q_per_channel_axis", _C.per_channel_affine).axis


def _with_scheme(tensor, name, scheme):
    parts = _parts(tensor, name)
    if parts.scheme is not scheme:
        raise RuntimeError(f"{name}: expected a tensor quantised with {scheme}, got {parts.scheme}")
    return parts


def qscheme(self):
    """How the tensor is quantised: torch.per_tensor_affine or torch.per_channel_affine."""
    return _parts(self, "qscheme").scheme


for _function in (
    dequantize, int_repr, q_scale, q_zero_point, q_per_channel_scales, q_per_channel_zero_points, q_per_channel_axis, qscheme,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)


# ---- operators; the names are those of the operator table ----


def _operator(*names):
    def add(function):
        for name in names:
            Quantized.table[name] = function
        return function

    return add


@_operator("clone")
def _clone(tensor, memory_format=None):
    parts = _parts(tensor, "clone")
    return parts.tensor(parts.integers.clone())


@_operator("alias", "detach", "contiguous", "positive", "resolve_conj", "resolve_neg")
def _alias(tensor, memory_format=None):
    parts = _parts(tensor, "alias")
    return parts.tensor(parts.integers)


@_operator("to_dtype")
def _to_dtype(tensor, dtype):
    raise RuntimeError("Creation of quantized tensor requires quantized dtype like torch.quint8")


@_operator("copy_")
def _copy_(tensor, source, non_blocking=False):
    parts = _C._delegate_of(tensor)
    if not isinstance(parts, Quantized):
        raise RuntimeError(
            "Copying from quantized Tensor to non-quantized Tensor is not allowed, please use dequantize to get a float "
            "Tensor from a quantized Tensor"
        )
    if source.is_quantized:
        theirs = _parts(source, "copy_")
        if source.dtype is not tensor.dtype or not _same_parameters(parts, theirs):
            raise RuntimeError("Quantized Copy only works with same scale, zero_point and dtype")
        parts.integers.copy_(theirs.integers)
        return tensor
    if parts.axis is not None:
        raise NotImplementedError("copy_: writing numbers into a tensor quantised per channel is not implemented")
    if source.dtype is not _C.float32:
        raise RuntimeError(f"Quantized copy only works with kFloat as source Tensor, got {source.dtype._scalar_name}")
    fused = tensor.dtype is not _C.qint32
    parts.integers.copy_(_integers(source, parts.scale, parts.zero_point, tensor.dtype, fused))
    return tensor


@_operator("fill_.Scalar")
def _fill_(tensor, value):
    return _copy_(tensor, _C.tensor(float(value), dtype=_C.float32))


@_operator("item", "bool")
def _item(tensor):
    return _numbers(tensor).item()


@_operator("tolist")
def _tolist(tensor):
    return _numbers(tensor).tolist()


@_operator("numpy")
def _numpy(tensor):
    raise TypeError(f"Got unsupported ScalarType {tensor.dtype._scalar_name}")


@_operator("untyped_storage")
def _untyped_storage(tensor):
    return _parts(tensor, "untyped_storage").integers.untyped_storage()


def _same_parameters(a, b):
    if a.axis is None or b.axis is None:
        return a.axis is b.axis and (a.scale, a.zero_point) == (b.scale, b.zero_point)
    return a.axis == b.axis and _same_values(a.scale, b.scale) and _same_values(a.zero_point, b.zero_point)


def _same_values(a, b):
    return tuple(a.shape) == tuple(b.shape) and a.tolist() == b.tolist()


def reduce(tensor):
    """(function, arguments) that rebuild a quantised tensor; the names and the order are those of PyTorch's files."""
    from collections import OrderedDict

    from . import _utils
    from .storage import TypedStorage

    parts = _parts(tensor, "__reduce_ex__")
    if parts.axis is None:
        parameters = (parts.scheme, parts.scale, parts.zero_point)
    else:
        parameters = (parts.scheme, parts.scale, parts.zero_point, parts.axis)
    integers = parts.integers
    storage = TypedStorage(integers.untyped_storage(), tensor.dtype)
    place = (integers.storage_offset(), tuple(integers.shape), tuple(integers.stride()))
    return _utils._rebuild_qtensor, (storage, *place, parameters, False, OrderedDict())


def rebuild(integers, parameters):
    """A quantised tensor from its integers and what a file says of their meaning."""
    scheme, *rest = parameters
    if scheme is _C.per_tensor_affine and len(rest) == 2:
        return _per_tensor(integers, float(rest[0]), int(rest[1]))
    if scheme is _C.per_channel_affine and len(rest) == 3:
        scales, zero_points, axis = rest
        if isinstance(scales, list) and isinstance(zero_points, list):  # as the first versions wrote them
            scales, zero_points = _C.tensor(scales, dtype=_C.float64), _C.tensor(zero_points, dtype=_C.int64)
        channels = integers.shape[axis] if isinstance(axis, int) and 0 <= axis < integers.dim() else -1
        if all(isinstance(t, Tensor) and t.shape == (channels,) for t in (scales, zero_points)):
            return _per_channel(integers, scales, zero_points, axis)
    raise RuntimeError(f"Can't deserialize quantized tensor with qscheme {scheme}")
