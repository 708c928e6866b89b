"""The 8-bit floats: values of all codes, rounding, conversions, what is possible with them and what is refused, files."""

import copy
import io
import pickle

import numpy as np
import pytest

import rushlight as rl
from rushlight import safetensors

# name: (bits of the fraction, exponent bias, largest number, what lies beyond it)
FORMATS = {
    "float8_e4m3fn": (3, 7, 448.0, "largest"),
    "float8_e5m2": (2, 15, 57344.0, "inf"),
    "float8_e4m3fnuz": (3, 8, 240.0, "nan"),
    "float8_e5m2fnuz": (2, 16, 57344.0, "nan"),
}
NAMES = list(FORMATS)
OTHERS = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128", *NAMES,
]  # fmt: skip

torch = None
try:
    import torch
except ImportError:
    pass
with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


def values_of_codes(name):
    """The 256 values by the definition of the format, in float64."""
    fraction, bias, _, beyond = FORMATS[name]
    code = np.arange(256)
    magnitude, sign = code & 0x7F, np.where(code & 0x80, -1.0, 1.0)
    exponent, part = magnitude >> fraction, (magnitude & ((1 << fraction) - 1)) / (1 << fraction)
    value = np.where(exponent == 0, part * 2.0 ** (1 - bias), (1 + part) * 2.0 ** (exponent - bias))
    if name.endswith("fnuz"):
        value[0x80] = np.nan
    elif beyond == "largest":
        value[magnitude == 0x7F] = np.nan
    else:
        value[exponent == 31] = np.nan
        value[magnitude == 0x7C] = np.inf
    return sign * value


def nearest_codes(name, numbers):
    """Codes of the numbers (float64) rounded to the nearest value, ties to the even code; NaN where that is the answer."""
    _, _, largest, beyond = FORMATS[name]
    value = values_of_codes(name)
    codes = np.flatnonzero(np.isfinite(value) & (np.arange(256) < 128))  # the non-negative ones, ascending
    ladder = np.append(value[codes], 2 * largest - value[codes[-2]])  # one step beyond the largest: overflow
    size = np.minimum(np.abs(numbers), ladder[-1])
    upper = np.clip(np.searchsorted(ladder, size), 1, len(ladder) - 1)
    low, high = ladder[upper - 1], ladder[upper]
    up = (size - low > high - size) | ((size - low == high - size) & (upper % 2 == 0))
    index = np.where(up, upper, upper - 1)
    result = ladder[index]
    result = np.where(index == len(ladder) - 1, {"largest": largest, "nan": np.nan, "inf": np.inf}[beyond], result)
    result = np.copysign(result, numbers)
    result[np.isnan(numbers)] = np.nan
    return result


@pytest.mark.parametrize("name", NAMES)
def test_values_of_all_codes(name):
    x = rl.arange(256).to(rl.uint8).view(getattr(rl, name))
    np.testing.assert_array_equal(x.double().numpy(), values_of_codes(name))
    np.testing.assert_array_equal(x.tolist(), values_of_codes(name))
    # and back: every value is its own nearest
    back = x.float().to(x.dtype).view(rl.uint8)
    known = ~np.isnan(values_of_codes(name))
    np.testing.assert_array_equal(back.numpy()[known], np.arange(256)[known])


@pytest.mark.parametrize("name", NAMES)
def test_rounding_to_nearest_even(name):
    value = values_of_codes(name)
    finite = np.sort(value[np.isfinite(value)])
    halfway = (finite[1:] + finite[:-1]) / 2  # exact in float32
    largest = FORMATS[name][2]
    edges = [largest * f for f in (1, 1 + 2**-6, 1 + 2**-4, 1 + 2**-3, 1.2, 2, 1e5)] + [np.inf, np.nan, 1e-30, 0.0]
    numbers = np.concatenate([finite, halfway, edges, np.negative(edges)]).astype(np.float32)
    around = [numbers, np.nextafter(numbers, np.float32(np.inf)), np.nextafter(numbers, np.float32(-np.inf))]
    random = np.random.default_rng(0).standard_normal(4000) * 2.0 ** np.random.default_rng(1).integers(-20, 18, 4000)
    numbers = np.concatenate([*around, random.astype(np.float32)])
    got = rl.from_numpy(numbers).to(getattr(rl, name)).double().numpy()
    expected = nearest_codes(name, numbers.astype(np.float64))
    np.testing.assert_array_equal(got, expected)
    zero = got == 0
    if name.endswith("fnuz"):
        assert not np.signbit(got[zero]).any()
    else:
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(numbers[zero]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", OTHERS)
def test_conversion_both_ways_goes_through_float32(name, other):
    dtype, other = getattr(rl, name), getattr(rl, other)
    whole = rl.tensor([0, 1, 2, 3, 5, 7, 100, 127]).to(other)
    assert whole.to(dtype).view(rl.uint8).equal(whole.float().to(dtype).view(rl.uint8))
    small = rl.tensor([0.0, 0.25, 1.0, 1.75, 3.0, 112.0]).to(dtype)
    bits = {1: rl.uint8, 2: rl.int16, 4: rl.int32, 8: rl.int64}.get(other.itemsize)
    back, expected = small.to(other), small.float().to(other)
    if bits is not None:
        back, expected = back.view(bits), expected.view(bits)
    assert back.equal(expected)


@with_torch
@pytest.mark.parametrize("name", NAMES)
def test_conversion_of_any_bits_equals_pytorch(name):
    words = np.random.default_rng(2).integers(0, 2**32, 200_000, dtype=np.uint32)
    near = np.random.default_rng(3).integers(0x38000000, 0x48000000, 200_000, dtype=np.uint32)  # 2^-15 to 2^17
    numbers = np.concatenate([words, near]).view(np.float32)
    ours = rl.from_numpy(numbers).to(getattr(rl, name)).view(rl.uint8).numpy()
    theirs = torch.from_numpy(numbers).to(getattr(torch, name)).view(torch.uint8).numpy()
    np.testing.assert_array_equal(ours, theirs)
    for other in ("float16", "bfloat16", "float64", "int32", "complex64"):
        codes = torch.arange(256).to(torch.uint8).view(getattr(torch, name))
        known = ~torch.isnan(codes.float())
        known &= torch.isfinite(codes.float()) | (other != "int32")
        mine = rl.arange(256).to(rl.uint8).view(getattr(rl, name)).to(getattr(rl, other))
        kept = codes.to(getattr(torch, other))[known]
        assert [complex(v) for v in mine[rl.from_numpy(known.numpy())].tolist()] == [complex(v) for v in kept.tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_creation_and_writes(name):
    dtype = getattr(rl, name)
    assert rl.tensor([1, 2.25, True], dtype=dtype).tolist() == [1.0, 2.25 if "e4m3" in name else 2.0, 1.0]
    assert rl.tensor(2, dtype=dtype).item() == 2.0 and float(rl.ones((), dtype=dtype)) == 1.0
    assert rl.zeros(3, dtype=dtype).tolist() == [0.0] * 3 and rl.ones(2, 1, dtype=dtype).tolist() == [[1.0], [1.0]]
    assert rl.full((2,), 1.3, dtype=dtype).tolist() == [1.25, 1.25]
    assert rl.empty(2, 3, dtype=dtype).shape == (2, 3) and rl.empty_like(rl.zeros(2, dtype=dtype)).dtype is dtype
    assert rl.eye(2, dtype=dtype).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    x = rl.zeros(4, dtype=dtype)
    assert x.element_size() == 1 and x.nbytes == 4 and x.is_floating_point() and x.is_signed()
    x.copy_(rl.arange(4))
    x[0] = 3
    x[2:] = rl.tensor([1.0, 0.5])
    assert x.tolist() == [3.0, 1.0, 1.0, 0.5]
    x[rl.tensor([1, 2])] = 8.0
    assert x.tolist() == [3.0, 8.0, 8.0, 0.5] and x.fill_(2).tolist() == [2.0] * 4 and x.zero_().tolist() == [0.0] * 4
    assert x.new_tensor([1.0]).dtype is dtype and x.new_zeros(2).dtype is dtype


@pytest.mark.parametrize("name", NAMES)
def test_moving_and_looking_up(name):
    x = rl.arange(6.0).to(getattr(rl, name)).view(2, 3)
    assert x.t().contiguous().tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert x[1].tolist() == [3.0, 4.0, 5.0] and x[:, ::2].tolist() == [[0.0, 2.0], [3.0, 5.0]]
    assert x[:, [2, 0]].tolist() == [[2.0, 0.0], [5.0, 3.0]] and x[x.float() > 3].tolist() == [4.0, 5.0]
    assert rl.cat([x, x[:1]]).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
    assert rl.stack([x[0], x[1]], 1).tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert x.index_select(1, rl.tensor([1])).tolist() == [[1.0], [4.0]]
    assert rl.where(rl.tensor([True, False, True]), x[0], x[1]).tolist() == [0.0, 4.0, 2.0]
    assert x.repeat(1, 2)[0].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0] and x[0].flip(0).tolist() == [2.0, 1.0, 0.0]
    assert x.equal(x.clone()) and not x.equal(x.t().reshape(2, 3))
    assert (x == 4).tolist() == [[False, False, False], [False, True, False]] and (x != x).sum().item() == 0
    assert (x == x).all() and not x.isnan().any() and rl.any(x)
    assert x.abs().tolist() == x.tolist() and (x[0] * x[1]).tolist() == [0.0, 4.0, 10.0]
    assert x.sum(dtype=rl.float32).item() == 15.0
    assert x.view(rl.uint8).dtype is rl.uint8 and x.view(rl.uint8).view(x.dtype).tolist() == x.tolist()
    assert copy.deepcopy(x).tolist() == x.tolist()


def test_types_and_limits():
    for name, (fraction, _, largest, _) in FORMATS.items():
        dtype, info = getattr(rl, name), rl.finfo(getattr(rl, name))
        assert (dtype.itemsize, dtype.is_floating_point, dtype.is_signed, dtype.is_complex) == (1, True, True, False)
        assert repr(dtype) == f"torch.{name}" and rl.zeros(1, dtype=dtype).type() == f"torch.{name.capitalize()}Tensor"
        normal = values_of_codes(name)[1 << fraction]
        assert (info.bits, info.eps, info.max, info.min, info.tiny) == (8, 2.0**-fraction, largest, -largest, normal)
        assert rl.can_cast(dtype, rl.float32) and rl.can_cast(rl.int64, dtype) and not rl.can_cast(dtype, rl.int64)
        assert rl.promote_types(dtype, dtype) is dtype and rl.result_type(rl.zeros(1, dtype=dtype), 1.5) is dtype
    text = "finfo(resolution=1, min=-448, max=448, eps=0.125, smallest_normal=0.015625, tiny=0.015625, dtype=float8_e4m3fn)"
    assert repr(rl.finfo(rl.float8_e4m3fn)) == text


REFUSED = [
    ("x + 1", "\"add_stub\" not implemented for 'Float8_e4m3fn'"),
    ("x - x", "\"add_stub\" not implemented for 'Float8_e4m3fn'"),
    ("x / x", "\"div_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("-x", "\"neg_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x < x", "\"lt_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.exp()", "\"exp_vml_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.sqrt()", "\"sqrt_vml_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.sum()", "\"sum_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.mean()", "\"sum_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.max()", "\"max_all\" not implemented for 'Float8_e4m3fn'"),
    ("x.argmax()", "\"argmax_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.cumsum(0)", "\"cumsum_out_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.topk(1)", "\"topk_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("x.masked_fill(x == 1, 2)", "\"masked_fill\" not implemented for 'Float8_e4m3fn'"),
    ("rl.arange(3, dtype=x.dtype)", "\"arange_cpu\" not implemented for 'Float8_e4m3fn'"),
    ("rl.softmax(x, 0)", "\"softmax_lastdim_kernel_impl\" not implemented for 'Float8_e4m3fn'"),
    ("rl.dot(x, x)", "\"dot\" not implemented for 'Float8_e4m3fn'"),
]


@pytest.mark.parametrize(("code", "text"), REFUSED, ids=[code for code, _ in REFUSED])
def test_other_operators_are_refused_by_name(code, text):
    x = rl.tensor([1.0, 2.0]).to(rl.float8_e4m3fn)
    with pytest.raises(NotImplementedError) as caught:
        eval(code, {"rl": rl, "x": x})
    assert str(caught.value).splitlines()[0] == text
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("code", ["x + y", "x == y", "rl.cat([x, y])", "rl.promote_types(x.dtype, y.dtype)"])
@pytest.mark.parametrize("other", ["float16", "int32", "bool", "uint16", "float8_e5m2", "complex64"])
def test_no_promotion(code, other):
    x, y = rl.ones(2, dtype=rl.float8_e4m3fn), rl.ones(2, dtype=getattr(rl, other))
    with pytest.raises(RuntimeError, match="Promotion for Float8 Types is not supported, attempted to promote Float8_e4m3fn and "):
        eval(code, {"rl": rl, "x": x, "y": y})
    with pytest.raises(RuntimeError, match="attempted to promote [A-Za-z0-9]+(_e5m2)? and Float8_e4m3fn"):
        rl.promote_types(y.dtype, x.dtype)


def test_default_dtype_and_complex_partner():
    with pytest.raises(TypeError, match="couldn't find storage object Float8_e5m2Storage"):
        rl.set_default_dtype(rl.float8_e5m2)
    with pytest.raises(RuntimeError, match="Unknown Complex ScalarType for Float8_e4m3fn"):
        rl.float8_e4m3fn.to_complex()
    with pytest.raises(TypeError, match="Got unsupported ScalarType Float8_e4m3fn"):
        rl.ones(1, dtype=rl.float8_e4m3fn).numpy()


def test_gradients_pass_through_the_conversion():
    x = rl.tensor([1.0, 2.3], requires_grad=True)
    y = x.to(rl.float8_e4m3fn)
    assert y.requires_grad and "ToCopyBackward0" in repr(y)
    y.float().sum().backward()
    assert x.grad.dtype is rl.float32 and x.grad.tolist() == [1.0, 1.0]


def test_powers_of_two():
    """float8_e8m0fnu: exponents without signs, zeros or infinities."""
    dtype = rl.float8_e8m0fnu
    codes = rl.arange(256).to(rl.uint8)
    powers = codes.view(dtype).double().numpy()
    np.testing.assert_array_equal(powers[:255], 2.0 ** np.arange(-127, 128))
    assert np.isnan(powers[255]) and codes.view(dtype).float().to(dtype).view(rl.uint8).equal(codes)
    numbers = rl.tensor([1.0, 1.49, 1.5, -3.0, 2.9, 0.0, float("inf"), float("nan"), 3e38, 2.0**-127 * 1.1])
    assert numbers.to(dtype).float().nan_to_num(-1).tolist() == [1, 1, 2, 4, 2, 2.0**-127, -1, -1, -1, 2.0**-126]
    x = rl.tensor([1.5, 8], dtype=dtype)
    assert repr(x) == "tensor([2., 8.], dtype=torch.float8_e8m0fnu)" and (x == x).all() and (x * x).tolist() == [4, 64]
    assert not dtype.is_signed and rl.finfo(dtype).max == 2.0**127 and rl.finfo(dtype).min == rl.finfo(dtype).tiny == 2.0**-127
    assert through_file(x).tolist() == [2, 8] and rl.from_dlpack(x).dtype is dtype
    with pytest.raises(NotImplementedError, match="add_stub"):
        x + x


@with_torch
def test_powers_of_two_as_pytorch():
    words = np.random.default_rng(5).integers(0, 2**32, 300_000, dtype=np.uint32)
    ties = (np.arange(512, dtype=np.uint32) << 23)[:, None] + np.array([0, 0x3FFFFF, 0x400000, 0x400001, 0x7FFFFF], np.uint32)
    numbers = np.concatenate([words, ties.ravel()]).view(np.float32)
    ours = rl.from_numpy(numbers).to(rl.float8_e8m0fnu).view(rl.uint8).numpy()
    np.testing.assert_array_equal(ours, torch.from_numpy(numbers).to(torch.float8_e8m0fnu).view(torch.uint8).numpy())


def test_printing():
    x = rl.tensor([1, 2, 3]).to(rl.float8_e4m3fn)
    assert repr(x) == "tensor([1., 2., 3.], dtype=torch.float8_e4m3fn)"
    assert repr(rl.tensor([0.5, 300.0, float("nan")]).to(rl.float8_e5m2)) == "tensor([  0.5000, 320.0000,      nan], dtype=torch.float8_e5m2)"
    assert f"{x[1]}" == "2.0" and str(x[1]) == "tensor(2., dtype=torch.float8_e4m3fn)"


@pytest.mark.parametrize("name", NAMES)
def test_pickles_and_files(name, tmp_path):
    x = rl.arange(256).to(rl.uint8).view(getattr(rl, name)).view(16, 16)[::2]
    for again in (pickle.loads(pickle.dumps(x)), through_file(x)):
        assert again.dtype is x.dtype and again.stride() == x.stride()
        assert again.view(rl.uint8).tolist() == x.view(rl.uint8).tolist()
    if not name.endswith("fnuz"):
        safetensors.save_file({"x": x.contiguous()}, tmp_path / "f.safetensors")
        again = safetensors.load_file(tmp_path / "f.safetensors")["x"]
        assert again.dtype is x.dtype and again.view(rl.uint8).tolist() == x.view(rl.uint8).tolist()


def through_file(x):
    file = io.BytesIO()
    rl.save({"x": x}, file)
    file.seek(0)
    return rl.load(file)["x"]


@with_torch
@pytest.mark.parametrize("name", NAMES)
def test_files_and_dlpack_with_pytorch(name, tmp_path):
    x = rl.arange(256).to(rl.uint8).view(getattr(rl, name)).view(16, 16)
    rl.save(x, tmp_path / "ours.pt")
    theirs = torch.load(tmp_path / "ours.pt")
    assert theirs.dtype is getattr(torch, name) and theirs.view(torch.uint8).tolist() == x.view(rl.uint8).tolist()
    torch.save(theirs, tmp_path / "theirs.pt")
    back = rl.load(tmp_path / "theirs.pt")
    assert back.dtype is x.dtype and back.view(rl.uint8).tolist() == x.view(rl.uint8).tolist()
    shared = rl.from_dlpack(theirs)
    assert shared.dtype is x.dtype and shared.view(rl.uint8).tolist() == x.view(rl.uint8).tolist()
    assert torch.from_dlpack(x).view(torch.uint8).tolist() == x.view(rl.uint8).tolist()
