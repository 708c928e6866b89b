"""Quantised tensors: rounding and ranges, what can be asked of them, views and copies, printing, files, refusals."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest

import rushlight as rl

torch = None
try:
    import torch
except ImportError:
    pass
with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

DTYPES = {"qint8": ("int8", -128, 127), "quint8": ("uint8", 0, 255), "qint32": ("int32", -(2**31), 2**31 - 1)}


def numbers():
    values = np.random.default_rng(0).standard_normal(999).astype(np.float32) * 8
    values[::3] = np.round(values[::3] * 10) / 10 + 0.05  # halfway between two integers, where scale is 0.1
    return values


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("scale", "zero_point"), [(0.5, 0), (0.25, 7), (2.0, 100)])
def test_integers_by_the_definition(name, scale, zero_point):
    integer, low, high = DTYPES[name]
    x = numbers()
    q = rl.quantize_per_tensor(rl.from_numpy(x), scale, zero_point, getattr(rl, name))
    expected = np.clip(np.rint(x.astype(np.float64) / scale + zero_point), low, high)  # exact: the scale is a power of two
    assert q.int_repr().dtype is getattr(rl, integer) and q.shape == (999,)
    np.testing.assert_array_equal(q.int_repr().numpy(), expected)
    np.testing.assert_array_equal(q.dequantize().numpy(), ((expected - zero_point) * scale).astype(np.float32))
    assert q.dequantize().dtype is rl.float32


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_integers_per_channel_by_the_definition(name, axis):
    _, low, high = DTYPES[name]
    x = numbers()[:600].reshape((3, 200) if axis == 0 else (200, 3))
    scales, zero_points = np.array([0.5, 0.125, 4.0]), np.array([0, 9, 100])
    made = rl.quantize_per_channel(rl.from_numpy(x), rl.from_numpy(scales), rl.from_numpy(zero_points), axis, getattr(rl, name))
    shape = (3, 1) if axis == 0 else (1, 3)
    s, z = scales.reshape(shape), zero_points.reshape(shape)
    expected = np.clip(np.rint(x.astype(np.float64) / s + z), low, high)
    np.testing.assert_array_equal(made.int_repr().numpy(), expected)
    np.testing.assert_array_equal(made.dequantize().numpy(), ((expected - z) * s).astype(np.float32))
    assert made.qscheme() is rl.per_channel_affine and made.q_per_channel_axis() == axis
    assert made.q_per_channel_scales().tolist() == scales.tolist() and made.q_per_channel_scales().dtype is rl.float64
    assert made.q_per_channel_zero_points().tolist() == zero_points.tolist()


@with_torch
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("scale", "zero_point"), [(0.1, 0), (0.1, 5), (0.037, 17), (1 / 3, 3)])
def test_rounding_equals_pytorch(name, scale, zero_point):
    x = np.concatenate([numbers(), np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2147483520.0], np.float32)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.quantize_per_tensor(torch.from_numpy(x), scale, zero_point, getattr(torch, name))
        rows = torch.from_numpy(x[:999].reshape(3, 333))
        their_rows = torch.quantize_per_channel(rows, torch.tensor([scale, 0.2, 1.7]), torch.tensor([zero_point, 1, 2]), 0,
                                                getattr(torch, name))  # fmt: skip
    ours = rl.quantize_per_tensor(rl.from_numpy(x), scale, zero_point, getattr(rl, name))
    np.testing.assert_array_equal(ours.int_repr().numpy(), theirs.int_repr().numpy())
    usual = slice(999 if name == "qint32" else None)  # integers at the ends wrap around in PyTorch's int32 difference
    np.testing.assert_array_equal(ours.dequantize().numpy()[usual], theirs.dequantize().numpy()[usual])
    our_rows = rl.quantize_per_channel(rl.from_numpy(rows.numpy()), rl.tensor([scale, 0.2, 1.7]), rl.tensor([zero_point, 1, 2]),
                                       0, getattr(rl, name))  # fmt: skip
    np.testing.assert_array_equal(our_rows.int_repr().numpy(), their_rows.int_repr().numpy())
    np.testing.assert_array_equal(our_rows.dequantize().numpy(), their_rows.dequantize().numpy())
    assert repr(our_rows) == repr(their_rows)


def sample():
    return rl.quantize_per_tensor(rl.arange(6.0).view(2, 3), 0.5, 10, rl.quint8)


def test_what_can_be_asked():
    q = sample()
    assert q.is_quantized and not rl.ones(1).is_quantized and q.dtype is rl.quint8 and q.layout is rl.strided
    assert (q.q_scale(), q.q_zero_point(), q.qscheme()) == (0.5, 10, rl.per_tensor_affine)
    assert q.shape == (2, 3) and q.stride() == (3, 1) and q.numel() == 6 and q.element_size() == 1 and q.nbytes == 6
    assert q.type() == "torch.quantized.QUInt8Tensor" and not q.is_floating_point() and not q.requires_grad
    assert q[1, 2].item() == 5.0 and float(q[0, 1]) == 1.0 and f"{q[1, 0]}" == "3.0"
    assert rl.dequantize([q, q])[1].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and rl.int_repr(q).equal(q.int_repr())
    assert rl.ones(1).dequantize().tolist() == [1.0]
    one = rl.quantize_per_tensor([rl.ones(1), rl.ones(1)], rl.tensor([0.5, 0.25]), rl.tensor([0, 1]), rl.qint8)
    assert [t.int_repr().item() for t in one] == [2, 5]
    with pytest.raises(RuntimeError, match="isSignedType not supported for quantized types"):
        q.is_signed()


def test_views_and_copies():
    q = sample()
    for view in (lambda t: t[1], lambda t: t[:, 1:], lambda t: t.t(), lambda t: t.view(3, 2), lambda t: t.permute(1, 0),
                 lambda t: t[None], lambda t: t[rl.tensor([1, 0])], lambda t: t.flip(0), lambda t: t.reshape(-1),
                 lambda t: t.expand(2, 2, 3), lambda t: t.unbind(1)[2], lambda t: t.split(1)[1], lambda t: t.clone()):  # fmt: skip
        seen = view(q)
        assert seen.is_quantized and (seen.q_scale(), seen.q_zero_point()) == (0.5, 10)
        assert seen.dequantize().tolist() == view(q.dequantize()).tolist()
    row, kept = q[0], q.clone()
    q[0, 1] = 7.0  # a view shares the memory, a clone does not
    assert row.dequantize().tolist() == [0.0, 7.0, 2.0] and kept.dequantize()[0, 1] == 1.0
    q.copy_(rl.ones(2, 3))
    assert q.dequantize().tolist() == [[1.0] * 3] * 2 and row.dequantize().tolist() == [1.0] * 3
    again = copy.deepcopy(q)
    again[0] = 3.0
    assert q.dequantize().tolist() == [[1.0] * 3] * 2 and again.dequantize()[0].tolist() == [3.0] * 3


def test_printing():
    q = rl.quantize_per_tensor(rl.tensor([1.0, 2.0]), 0.1, 0, rl.qint8)
    assert repr(q) == (
        "tensor([1., 2.], size=(2,), dtype=torch.qint8,\n"
        "       quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=0)"
    )
    c = rl.quantize_per_channel(rl.tensor([[-1.0, 1.25], [2.0, 3.49]]), rl.tensor([0.1, 0.5]), rl.tensor([0, 3]), 0, rl.qint8)
    assert repr(c) == (
        "tensor([[-1.0000,  1.2000],\n        [ 2.0000,  3.5000]], size=(2, 2), dtype=torch.qint8,\n"
        "       quantization_scheme=torch.per_channel_affine,\n"
        "       scale=tensor([0.1000, 0.5000], dtype=torch.float64),\n"
        "       zero_point=tensor([0, 3]), axis=0)"
    )
    names = ["per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric"]
    assert [str(getattr(rl, name)) for name in names] == [f"torch.{name}" for name in names]
    assert isinstance(rl.per_tensor_affine, rl.qscheme) and pickle.loads(pickle.dumps(rl.per_tensor_affine)) is rl.per_tensor_affine


def both():
    c = rl.quantize_per_channel(rl.arange(6.0).view(2, 3), rl.tensor([0.5, 0.25]), rl.tensor([1, 2]), 0, rl.qint8)
    return [sample(), c]


def same(a, b):
    assert a.dtype is b.dtype and a.qscheme() is b.qscheme() and a.stride() == b.stride()
    assert a.int_repr().tolist() == b.int_repr().tolist() and a.dequantize().tolist() == b.dequantize().tolist()


def test_pickles_and_files():
    for q in both():
        same(pickle.loads(pickle.dumps(q)), q)
        file = io.BytesIO()
        rl.save({"q": q}, file)
        file.seek(0)
        same(rl.load(file)["q"], q)


@with_torch
def test_files_with_pytorch(tmp_path):
    for q in both():
        rl.save(q, tmp_path / "ours.pt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = torch.load(tmp_path / "ours.pt")
            assert repr(theirs) == repr(q)
            torch.save(theirs, tmp_path / "theirs.pt")
        same(rl.load(tmp_path / "theirs.pt"), q)


REFUSED = ["q + q", "q * 2", "q.sum()", "q.abs()", "rl.relu(q)", "rl.cat([q, q])", "q == q", "rl.ones(2, 3) + q", "q.add_(1)",
           "rl.zeros(2, dtype=rl.qint8)", "rl.empty(2, dtype=rl.qint32)", "rl.ones(2).to(rl.quint8)", "rl.tensor([1], dtype=rl.qint8)",
           "rl.ones(2, dtype=rl.int8).view(rl.qint8)", "c[0]", "rl.ones(1).q_scale()", "rl.iinfo(rl.qint8)", "rl.softmax(q, 0)",
           "q @ q.t()", "q.to(rl.quint8) * 1", "rl.exp(q)", "q.max()", "rl.empty(2, device='meta', dtype=rl.qint8)"]  # fmt: skip


@pytest.mark.parametrize("code", REFUSED)
def test_the_rest_is_refused(code):
    q, c = both()
    with pytest.raises(NotImplementedError):
        eval(code, {"rl": rl, "q": q, "c": c})
    same(q, both()[0])


ERRORS = [
    ("rl.quantize_per_tensor(rl.ones(1), 0.1, 300, rl.quint8)", "quantize_tensor_per_tensor_affine zero_point 300 is above upper bound."),
    ("rl.quantize_per_tensor(rl.ones(1), 0.1, 0, rl.int8)", "ScalarType Char is not supported in new_qtensor."),
    ("rl.quantize_per_tensor(rl.ones(1).long(), 0.1, 0, rl.qint8)", "Quantize only works on Float Tensor, got Long"),
    ("rl.quantize_per_channel(rl.ones(2, 3), rl.ones(2), rl.tensor([0, 1]), 2, rl.qint8)",
     "Channel axis out of range in per channel affine quantization. Got: 2Expected: [0, 2)"),
    ("rl.quantize_per_channel(rl.ones(2, 3), rl.ones(2), rl.tensor([0, 1]), 1, rl.qint8)",
     "length of scales must equal to channel, expected 3 got, 2"),
    ("rl.quantize_per_channel(rl.ones(2, 3), rl.ones(3), rl.tensor([0, 1]), 1, rl.qint8)",
     "number of elements in scales and zero_points must match"),
    ("rl.promote_types(rl.qint8, rl.float32)", "promoteTypes with quantized numbers is not handled yet; figure out what the "
     "correct rules should be, offending types: QInt8 Float"),
    ("rl.ones(2).copy_(q)", "Copying from quantized Tensor to non-quantized Tensor is not allowed, please use dequantize to "
     "get a float Tensor from a quantized Tensor"),
    ("q.float()", "Creation of quantized tensor requires quantized dtype like torch.quint8"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text"), ERRORS, ids=[code for code, _ in ERRORS])
def test_errors(code, text):
    with pytest.raises(RuntimeError) as caught:
        eval(code, {"rl": rl, "q": sample()})
    assert str(caught.value).splitlines()[0] == text


@pytest.mark.parametrize(
    "values, dtype, reduce_range, scale, zero_point",  # as PyTorch chooses them
    [
        ([-1.0, 0.0, 2.5], rl.qint8, False, 0.013725490196078431, -55),
        ([-1.0, 0.0, 2.5], rl.quint8, True, 0.027559055118110236, 36),
        ([1.0, 2.0, 2.5], rl.quint8, False, 0.00980392156862745, 0),
        ([0.0, 0.0], rl.quint8, False, 0.1, 0),
        ([-100.0, 0.0, 2.5], rl.qint8, True, 0.8070866141732284, 60),
        ([-100.0, -5.0], rl.qint8, False, 0.39215686274509803, 127),
    ],
)
def test_scale_chosen_from_the_values(values, dtype, reduce_range, scale, zero_point):
    q = rl.quantize_per_tensor_dynamic(rl.tensor(values), dtype, reduce_range)
    assert (q.q_scale(), q.q_zero_point(), q.dtype) == (scale, zero_point, dtype)
    with pytest.raises(RuntimeError, match="dtype QInt32not supported"):
        rl.quantize_per_tensor_dynamic(rl.tensor(values), rl.qint32, reduce_range)
