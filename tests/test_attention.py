"""Attention of float32, which takes the processor's matrix unit where there is one: errors against float64 beside those of fused
multiply-adds, masks and awkward sizes, numbers that the unit cannot take, equal bits for any number of threads."""

import itertools

import numpy as np
import pytest

import rushlight as rl
from rushlight import _C
from rushlight.nn import functional as F


@pytest.fixture(autouse=True)
def switches():
    """Puts the switches back."""
    threads = rl.get_num_threads()
    yield
    rl.use_deterministic_algorithms(False)
    rl.set_num_threads(threads)


def drawn(queries, keys, size, value_size=None, heads=(1, 2), seed=0):
    """query, key, value, and a gradient of the result"""
    random = np.random.default_rng(seed)
    shapes = [(queries, size), (keys, size), (keys, value_size or size), (queries, value_size or size)]
    return [random.standard_normal(heads + shape).astype(np.float32) for shape in shapes]


def attend(arrays, dtype=rl.float32, deterministic=False, mask=None, **options):
    """The result, and the gradients of query, key and value."""
    rl.use_deterministic_algorithms(deterministic)
    q, k, v, g = (rl.from_numpy(x).to(dtype) for x in arrays)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    if mask is not None:
        mask = rl.from_numpy(mask)
        mask = mask if mask.dtype == rl.bool else mask.to(dtype)
    result = F.scaled_dot_product_attention(*leaves, mask, **options)
    return [t.detach().numpy() for t in (result, *rl.autograd.grad(result, leaves, g))]


def errors(found, exact):
    """Root of the mean square and maximum, against those of the exact numbers."""
    wrong = found.astype(np.float64) - exact
    return np.sqrt(np.square(wrong).mean() / np.square(exact).mean()), abs(wrong).max() / abs(exact).max()


# Queries, keys, and the sizes of their rows and of values; all of them worth the matrix unit.
SIZES = [
    (64, 64, 64, 64), (120, 90, 64, 64), (157, 300, 80, 60), (62, 600, 64, 50), (700, 95, 32, 64), (64, 1100, 32, 32),
    (150, 150, 128, 112),
]  # fmt: skip


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_errors_are_those_of_float32(sizes, causal):
    arrays = drawn(*sizes)
    exact = attend(arrays, rl.float64, is_causal=causal)
    results = attend(arrays, is_causal=causal)
    for a, b, c in zip(results, attend(arrays, deterministic=True, is_causal=causal), exact):
        assert (a != b).any() == _C._has_amx()
        for found, by_multiply_adds in zip(errors(a, c), errors(b, c)):
            assert found <= 1.5 * by_multiply_adds + 1e-7


@pytest.mark.parametrize("sizes", SIZES[:3])
def test_errors_are_not_above_pytorchs(sizes):
    torch = pytest.importorskip("torch")
    arrays = drawn(*sizes)
    exact = attend(arrays, rl.float64)
    q, k, v, g = (torch.from_numpy(x) for x in arrays)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    result = torch.nn.functional.scaled_dot_product_attention(*leaves)
    peer = [t.detach().numpy() for t in (result, *torch.autograd.grad(result, leaves, g))]
    for a, b, c in zip(attend(arrays), peer, exact):
        assert errors(a, c)[0] <= 1.5 * errors(b, c)[0] + 1e-8


@pytest.mark.parametrize(
    "kind", ["float", "bool", "row", "per head", "first keys hidden", "some see nothing"]
)
@pytest.mark.parametrize("sizes", [(130, 300, 64, 64), (90, 95, 40, 64)])
def test_masks(sizes, kind):
    arrays, random = drawn(*sizes), np.random.default_rng(1)
    queries, keys = sizes[:2]
    mask = random.random((queries, keys)) > 0.5
    if kind == "float":
        mask = np.where(mask, random.standard_normal(mask.shape), -np.inf).astype(np.float32)
    elif kind == "row":
        mask = mask[0]
    elif kind == "per head":
        mask = random.random((1, 2, queries, keys)) > 0.5
    elif kind == "first keys hidden":
        mask[:, : keys - 20] = False
        mask[:, -1] = True
    elif kind == "some see nothing":
        mask[::3] = False
    exact = attend(arrays, rl.float64, mask=mask)
    for a, b, c in zip(attend(arrays, mask=mask), attend(arrays, deterministic=True, mask=mask), exact):
        assert errors(a, c)[1] <= 1.5 * errors(b, c)[1] + 2e-7
    if kind == "some see nothing":
        result, of_query = attend(arrays, mask=mask)[:2]
        assert (result[..., ::3, :] == 0).all() and (of_query[..., ::3, :] == 0).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38, 1e-40])
@pytest.mark.parametrize("which", range(4))
def test_numbers_beyond_the_units_range(value, which):
    """A head with such a number is computed by multiply-adds, the others are not touched by it."""
    arrays = drawn(130, 300, 64)
    before = attend(arrays)
    arrays[which][0, 1, 70, 5] = value
    for clean, a, b in zip(before, attend(arrays), attend(arrays, deterministic=True)):
        np.testing.assert_array_equal(a[0, 0], clean[0, 0])
        rows = np.isfinite(b[0, 1])
        np.testing.assert_array_equal(np.isnan(a[0, 1]), np.isnan(b[0, 1]))
        np.testing.assert_allclose(a[0, 1][rows], b[0, 1][rows], rtol=1e-3, atol=1e-5)


def test_masks_that_are_no_numbers_spoil_their_queries_alone():
    arrays = drawn(130, 300, 64)
    for bits in (0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF):
        mask = np.zeros((130, 300), np.float32)
        mask[40, 290] = np.array(bits, np.uint32).view(np.float32)
        mask[77, 3] = np.inf
        for a, b in zip(attend(arrays, mask=mask), attend(arrays, deterministic=True, mask=mask)):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("scale", [-90, -60, -40, -20, 20, 40, 60])
def test_small_and_large_numbers(scale):
    """Each operand by itself; the scores keep their size."""
    for which, causal in itertools.product(range(4), (False, True)):
        arrays = drawn(96, 160, 64, seed=scale + 100)
        arrays[which] = arrays[which] * np.float32(2.0**scale)
        options = {"is_causal": causal, "scale": 0.125 * (2.0**-scale if which < 2 else 1.0)}
        exact = attend(arrays, rl.float64, **options)
        for a, b, c in zip(attend(arrays, **options), attend(arrays, deterministic=True, **options), exact):
            assert errors(a, c)[0] <= 1.5 * errors(b, c)[0] + 1e-7


def test_layouts_and_shared_heads():
    random = np.random.default_rng(3)
    rows = rl.from_numpy(random.standard_normal((2, 128, 3 * 4 * 56)).astype(np.float32))
    q, k, v = (t.view(2, 128, 4, 56).transpose(1, 2) for t in rows.split(4 * 56, -1))
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    parts = [t.contiguous() for t in (q, k, v)]
    assert rl.equal(found, F.scaled_dot_product_attention(*parts, is_causal=True))
    few = [t[:, :2].contiguous() for t in parts[1:]]
    shared = F.scaled_dot_product_attention(parts[0], *few, enable_gqa=True)
    assert rl.equal(
        shared, F.scaled_dot_product_attention(parts[0], *(t.repeat_interleave(2, 1) for t in few))
    )


def test_results_do_not_depend_on_threads_or_neighbours():
    arrays = drawn(600, 700, 64, heads=(2, 3))
    for causal in (False, True):
        rl.set_num_threads(1)
        alone = attend(arrays, is_causal=causal)
        for threads in (2, 3, 8):
            rl.set_num_threads(threads)
            for a, b in zip(alone, attend(arrays, is_causal=causal)):
                np.testing.assert_array_equal(a, b)
        one = [x[1:, 2:].copy() for x in arrays]
        for a, b in zip(alone, attend(one, is_causal=causal)):
            np.testing.assert_array_equal(a[1:, 2:], b)
