"""Tensors from sizes and numbers: dtypes, ranges, layouts, errors; and exchange by DLPack."""

import gc
import os

import numpy as np
import pytest

import rushlight as rl


# ---- filled tensors ----
def test_default_dtype_applies():
    for make in (rl.zeros, rl.ones, rl.empty):
        assert make(2).dtype == rl.float32
    rl.set_default_dtype(rl.float64)
    assert rl.zeros(2).dtype == rl.full((2,), 1.5).dtype == rl.linspace(0, 1, 3).dtype == rl.float64
    assert rl.full((2,), 1j).dtype == rl.complex128 and rl.full((2,), 1).dtype == rl.int64


@pytest.mark.parametrize(
    "dtype", [rl.bool, rl.uint8, rl.int16, rl.int64, rl.float16, rl.bfloat16, rl.float64, rl.complex64]
)
def test_every_dtype_can_be_filled(dtype):
    assert rl.zeros(2, 3, dtype=dtype).tolist() == [[0] * 3] * 2
    assert rl.ones((2, 3), dtype=dtype).tolist() == [[1] * 3] * 2
    assert rl.full([2], True, dtype=dtype).tolist() == [1, 1]
    assert rl.eye(2, dtype=dtype).tolist() == [[1, 0], [0, 1]]
    assert rl.empty(2, dtype=dtype).dtype == rl.zeros_like(rl.ones(1), dtype=dtype).dtype == dtype


def test_sizes_in_every_form():
    assert (
        rl.zeros(2, 3).shape
        == rl.zeros((2, 3)).shape
        == rl.zeros([2, 3]).shape
        == rl.zeros(size=(2, 3)).shape
    )
    assert (
        rl.zeros(rl.Size([2, 3])).shape == (2, 3) and rl.zeros(()).shape == () and rl.zeros(0, 3).numel() == 0
    )


def test_keywords():
    assert rl.ones(2, requires_grad=True).requires_grad
    assert (
        rl.zeros(2, device="meta").is_meta
        and rl.zeros(2, device="cpu", layout=rl.strided, pin_memory=False).numel() == 2
    )
    out = rl.empty(3)
    assert rl.ones(3, out=out) is out and out.tolist() == [1, 1, 1]


def test_like_keeps_dtype_and_strides():
    x = rl.ones(3, 4, dtype=rl.int16).t()
    for like in (rl.zeros_like(x), rl.ones_like(x), rl.empty_like(x), rl.full_like(x, 7)):
        assert like.dtype == rl.int16 and like.stride() == (1, 4)
    assert rl.zeros_like(x, memory_format=rl.contiguous_format).stride() == (3, 1)
    assert rl.zeros_like(rl.ones(3, 4)[:, ::2]).stride() == (2, 1)
    assert rl.zeros_like(rl.ones(3, 4, 5).permute(2, 0, 1)[::2]).stride() == (1, 12, 3)
    assert rl.empty_like(rl.ones(1, 2, 3, 4), memory_format=rl.channels_last).stride() == (24, 1, 8, 2)
    assert not rl.zeros_like(rl.ones(2, requires_grad=True)).requires_grad


def test_empty_strided():
    x = rl.empty_strided((2, 3), (1, 2), dtype=rl.float64)
    assert x.stride() == (1, 2) and x.untyped_storage().nbytes() == 48
    assert rl.empty_strided((0, 3), (100, 1)).numel() == 0


# ---- ranges ----
@pytest.mark.parametrize(
    "args",
    [(5,), (0,), (2, 7), (7, 2, -2), (0, 1, 0.25), (2.5,), (1, 4.5), (5, 0, -1.5), (10, 0, -3), (0, 10, 3)],
)
def test_arange_is_numpys(args):
    want = np.arange(*args)
    got = rl.arange(*args)
    assert got.dtype == (rl.int64 if want.dtype.kind == "i" else rl.float32)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-6)


def test_arange_dtypes_and_extremes():
    assert rl.arange(3, dtype=rl.float16).tolist() == [0, 1, 2]
    assert rl.arange(0.5, 5, dtype=rl.int64).tolist() == [0, 1, 2, 3, 4]
    assert rl.arange(2**62, 2**62 + 3).tolist() == [2**62, 2**62 + 1, 2**62 + 2]
    assert rl.arange(-(2**63), 2**63 - 1, 2**62).tolist() == [-(2**63), -(2**62), 0, 2**62]
    assert rl.arange(rl.tensor(3)).tolist() == [0, 1, 2]
    assert rl.arange(start=1, end=7, step=3).tolist() == [1, 4]
    assert rl.range(1, 3).tolist() == [1, 2, 3]


def test_spaced_values_reach_the_end_exactly():
    x = rl.linspace(0.1, 0.9, 101)
    assert x[0] == 0.1 and x[-1].item() == np.float32(0.9) and (x.diff() > 0).all()
    np.testing.assert_allclose(x.numpy(), np.linspace(0.1, 0.9, 101), rtol=1e-6)
    assert rl.linspace(3, 4, 1).tolist() == [3] and rl.linspace(3, 4, 0).tolist() == []
    assert rl.linspace(-3, 10, 7, dtype=rl.int32).tolist() == [-3, 0, 1, 3, 5, 7, 10]
    assert rl.linspace(0, 1j, 3).tolist() == [0, 0.5j, 1j]
    assert rl.logspace(0, 2, 5, dtype=rl.int32).tolist() == [1, 3, 10, 31, 100]
    np.testing.assert_allclose(rl.logspace(-1, 2, 7, 2.0).numpy(), np.logspace(-1, 2, 7, base=2), rtol=1e-6)


def test_triangle_indices():
    for row, col, offset in [(3, 3, 0), (3, 5, 1), (4, 2, -1), (2, 2, 9), (2, 2, -9), (0, 3, 0)]:
        assert rl.tril_indices(row, col, offset).tolist() == [
            i.tolist() for i in np.tril_indices(row, offset, col)
        ]
        assert rl.triu_indices(row, col, offset).tolist() == [
            i.tolist() for i in np.triu_indices(row, offset, col)
        ]


def test_scalar_tensor():
    assert rl.scalar_tensor(3).dtype == rl.float32 and rl.scalar_tensor(True, dtype=rl.bool).item() is True


# ---- bad arguments ----
BAD = [
    ("rl.empty(-1)", RuntimeError, "Trying to create tensor with negative dimension -1: [-1]"),
    ("rl.zeros(2, -1)", RuntimeError, "zeros: Dimension size must be non-negative."),
    ("rl.ones(2**62, 2**62)", RuntimeError, "overflow"),
    ("rl.zeros(2**61)", RuntimeError, "overflow"),
    ("rl.zeros(2.5)", TypeError, "argument 'size' (position 1) must be tuple of ints, not float"),
    ("rl.full((2,), None)", TypeError, "argument 'fill_value' (position 2) must be Number, not NoneType"),
    ("rl.full((2,), 300, dtype=rl.uint8)", RuntimeError, "value cannot be converted to type uint8_t without overflow"),
    ("rl.full((2,), 1j, dtype=rl.float32)", RuntimeError, "value cannot be converted to type float without overflow"),
    ("rl.full((2,), float('inf'), dtype=rl.int64)", RuntimeError, "value cannot be converted to type int64_t"),
    ("rl.empty_strided((2, 1), (1,))", RuntimeError, "dimensionality of sizes (2) must match dimensionality of strides (1)"),
    ("rl.empty_strided((2, 2), (-1, 1))", RuntimeError, "negative strides"),
    ("rl.empty_strided((2**40, 2), (2**40, 1))", RuntimeError, "overflow"),
    ("rl.empty(1, 2, 3, memory_format=rl.channels_last)", RuntimeError, "required rank 4 tensor to use channels_last format"),
    ("rl.empty(2, memory_format=3)", TypeError, "memory_format"),
    ("rl.empty(2, dtype='float32')", TypeError, "must be torch.dtype, not str"),
    ("rl.empty(2, device='cuda')", AssertionError, "Torch not compiled with CUDA enabled"),
    ("rl.ones(2, dtype=rl.int64, requires_grad=True)", RuntimeError, "Only Tensors of floating point and complex dtype"),
    ("rl.arange(1, 0)", RuntimeError, "upper bound and lower bound inconsistent with step sign"),
    ("rl.arange(0, 1, 0)", RuntimeError, "step must be nonzero"),
    ("rl.arange(0, float('inf'))", RuntimeError, "unsupported range: 0 -> inf"),
    ("rl.arange(0, float('nan'))", RuntimeError, "unsupported range: 0 -> nan"),
    ("rl.arange(0, 1e300, 1e-300)", RuntimeError, "invalid size, possible overflow?"),
    ("rl.arange(0, 2, dtype=rl.bool)", NotImplementedError, "\"arange_cpu\" not implemented for 'Bool'"),
    ("rl.linspace(0, 1, -1)", RuntimeError, "number of steps must be non-negative"),
    ("rl.eye(-1)", RuntimeError, "n must be greater or equal to 0, got -1"),
    ("rl.eye(2, -1)", RuntimeError, "m must be greater or equal to 0, got -1"),
    ("rl.tril_indices(-1, 2)", RuntimeError, "row must be non-negative, got-1"),
    ("rl.tril_indices(2**40, 2**40)", RuntimeError, "too many"),
]  # fmt: skip


@pytest.mark.parametrize("code, kind, text", BAD)
def test_bad_arguments(code, kind, text):
    with pytest.raises(kind) as caught:
        eval(code)
    assert text in str(caught.value)


# ---- DLPack ----
@pytest.mark.parametrize(
    "dtype", [rl.bool, rl.uint8, rl.int32, rl.int64, rl.float16, rl.float32, rl.float64, rl.complex64]
)
def test_numpy_reads_our_memory(dtype):
    x = rl.tensor([[1, 0, 1], [0, 1, 1]], dtype=dtype).t()
    array = np.from_dlpack(x)
    assert array.tolist() == x.tolist() and array.strides == tuple(s * x.element_size() for s in x.stride())
    x[0, 0] = 0
    assert array[0, 0] == 0


def test_capsules_own_the_memory_until_they_are_gone():
    x = rl.arange(1000.0)
    capsule = x.__dlpack__()
    del x
    gc.collect()
    y = rl._C._from_dlpack(capsule)
    del capsule
    assert y.sum() == 499500
    del y
    rl.arange(5.0).__dlpack__()  # never consumed: freed with the capsule
    rl.arange(5.0).__dlpack__(max_version=(1, 0))


def test_arrays_of_other_libraries():
    class Other:  # an array that speaks nothing but DLPack
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    array = np.arange(6.0).reshape(2, 3)
    t = rl.from_dlpack(Other(array[:, ::2]))
    assert t.tolist() == [[0, 2], [3, 5]] and t.stride() == (3, 2)
    t[0, 0] = 9
    assert array[0, 0] == 9
    assert rl.from_dlpack(Other(array), copy=True).data_ptr() != array.ctypes.data


def test_dlpack_refusals():
    device, index = rl.ones(2).__dlpack_device__()
    assert (int(device), index) == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        rl.ones(2, requires_grad=True).__dlpack__()
    capsule = rl.ones(2).__dlpack__()
    rl._C._from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="only once"):
        rl._C._from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="only once"):
        rl._C._from_dlpack(3)
    with pytest.raises(RuntimeError, match="negative strides"):
        rl._C._from_dlpack(np.arange(4)[::-1].__dlpack__())


# ---- the process ----
def test_threads_and_memory_figures():
    before = rl.get_num_threads()
    rl.set_num_threads(1)
    assert rl.get_num_threads() == 1
    rl.set_num_threads(before)
    with pytest.raises(RuntimeError, match="positive"):
        rl._C._set_num_threads(0)
    x = rl.zeros(1 << 20)
    assert rl.cpu.memory_stats()["allocated"] >= x.nbytes
    rl.cpu.empty_cache()
    rl.cpu.reset_peak_memory_stats()


def test_ever_new_sizes_do_not_pile_up():
    rl.cpu.empty_cache()
    rl.cpu.reset_peak_memory_stats()
    sizes = rl.randint(30_000, 2_000_000, (400,)).tolist()
    for a, b in zip(sizes[::2], sizes[1::2]):
        x, y = rl.ones(a), rl.ones(b)
        assert x[0] == x[-1] == y[-1] == 1
    del x, y
    stats = rl.cpu.memory_stats()
    # No memory is cached at all under the sanitizers.
    assert stats["allocated"] + stats["cached"] <= 1.3 * stats["peak_allocated"]
    assert 0 < stats["cache_limit"] <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE") // 4


def test_result_type():
    assert rl.result_type(rl.ones(2, dtype=rl.int32), 1.5) == rl.float32
    assert rl.result_type(1, 2) == rl.int64 and rl.result_type(rl.tensor(1), 1j) == rl.complex64
    with pytest.raises(TypeError):
        rl.result_type("a", 1)
