"""make_tensor: a tensor of random numbers in a range that suits its dtype."""

import math

from .. import _C

_BITS = {_C.uint8: (0, 256), _C.int8: (-(2**7), 2**7), _C.int16: (-(2**15), 2**15), _C.int32: (-(2**31), 2**31),
         _C.int64: (-(2**63), 2**63 - 1), _C.bool: (0, 2)}  # fmt: skip
_FLOATS = {_C.float16: 65504.0, _C.bfloat16: 3.3895313892515355e38, _C.float32: 3.4028234663852886e38,
           _C.complex64: 3.4028234663852886e38}  # fmt: skip


def make_tensor(
    *shape,
    dtype,
    device="cpu",
    low=None,
    high=None,
    requires_grad=False,
    noncontiguous=False,
    exclude_zero=False,
    memory_format=None,
):
    """A tensor of random numbers, uniform in [low, high).

    Args:
        shape: sizes, or one tuple of them.
        low, high: by default [-9, 9) for floats, [-9, 10) for signed and [0, 10) for unsigned integers, [0, 2) for bool.
        noncontiguous: leave gaps between the elements.
        exclude_zero: replace zeros by the smallest positive number (1 for integers).

    >>> rl.testing.make_tensor((2, 3), dtype=rl.int64, low=0, high=5).shape
    torch.Size([2, 3])
    """
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"{noncontiguous=} and {memory_format=}"
        )
    floating = dtype.is_floating_point or dtype.is_complex
    if requires_grad and not floating:
        raise ValueError("`requires_grad=True` is only supported for floating point and complex dtypes, "
                         f"but got dtype={dtype}")  # fmt: skip
    low, high = _bounds(dtype, low, high)
    stored = (*shape[:-1], 2 * shape[-1]) if noncontiguous and shape and math.prod(shape) > 1 else shape
    if floating:
        values = _uniform(stored, dtype, low, high)
    else:
        low, high = math.ceil(low), math.ceil(high)
        if low >= high:
            raise RuntimeError(
                f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
            )
        values = _C.randint(low, high, stored, dtype=dtype)
    if stored != shape:
        values = values[..., 1::2]
    if memory_format is not None:
        values = values.contiguous(memory_format=memory_format)
    if exclude_zero:
        values[values == 0] = _smallest(dtype)
    return values.to(device).requires_grad_(requires_grad)


def _bounds(dtype, low, high):
    floating = dtype.is_floating_point or dtype.is_complex
    default = (
        (-9, 9) if floating else (0, 2) if dtype == _C.bool else (0, 10) if dtype == _C.uint8 else (-9, 10)
    )
    low, high = default[0] if low is None else low, default[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low > high or (low == high and not floating):
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    if floating:
        largest = _FLOATS.get(dtype, 1.7976931348623157e308)
        lowest = -largest
    else:
        lowest, largest = _BITS[dtype]
    if low >= largest or high <= lowest and floating or low < lowest and high < lowest:
        raise ValueError(f"The value interval specified by `low` and `high` is [{low}, {high}), "
                         f"but {dtype} only supports [{lowest}, {largest})")  # fmt: skip
    return max(low, lowest), min(high, largest)


def _uniform(shape, dtype, low, high):
    if dtype.is_complex:
        part = _C.float32 if dtype == _C.complex64 else _C.float64
        return _C.view_as_complex(_uniform((*shape, 2), part, low, high))
    if low == high:
        return _C.full(shape, low, dtype=dtype)
    return _C.empty(shape, dtype=dtype).uniform_(low, high)


def _smallest(dtype):
    if not (dtype.is_floating_point or dtype.is_complex):
        return 1
    return {_C.float16: 2.0**-14, _C.float64: 2.0**-1022, _C.complex128: 2.0**-1022}.get(dtype, 2.0**-126)
