"""Outputs larger than the caches, which kernels write past them (core/kernels/stream.h): the values of small ones."""

import numpy as np
import pytest

import rushlight as rl

ROWS, COLUMNS = 2311, 4099  # 38 MB in float32; no row begins at the beginning of a cache line


@pytest.fixture(scope="module")
def numbers():
    made = np.random.default_rng(0)
    return [made.standard_normal((ROWS, COLUMNS), dtype=np.float32) for _ in range(2)]


CASES = {
    "add": lambda lib, a, b: a + b,
    "number": lambda lib, a, b: a * 2 + 1,
    "comparison": lambda lib, a, b: a > b,
    "where": lambda lib, a, b: lib.where(a > b, a, b),
    "row": lambda lib, a, b: a + b[0],
    "column": lambda lib, a, b: a * b[:, :1],
    "strided input": lambda lib, a, b: a[:, ::-1] + b if lib is np else a.flip(1) + b,
    "part of rows": lambda lib, a, b: a[:, 3:] - b[:, :-3],
    "turned": lambda lib, a, b: np.ascontiguousarray(a.T) if lib is np else a.t().contiguous(),
    "turned and added": lambda lib, a, b: a[:, :ROWS].T + b[:, :ROWS],
    "joined": lambda lib, a, b: lib.concatenate([a, b], 1) if lib is np else lib.cat([a, b], 1),
    "converted": lambda lib, a, b: a.astype(np.float64) if lib is np else a.double(),
    "copied": lambda lib, a, b: a.copy() if lib is np else a.clone(),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name, numbers):
    ours = CASES[name](rl, *[rl.from_numpy(x) for x in numbers])
    theirs = CASES[name](np, *numbers)
    assert ours.numpy().dtype == theirs.dtype
    assert np.array_equal(ours.numpy(), theirs)


def test_aligned_transpose():
    x = np.arange(4096 * 4096, dtype=np.float32).reshape(4096, 4096)
    assert np.array_equal(rl.from_numpy(x).t().contiguous().numpy(), x.T)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.complex128])
def test_transpose_of_other_sizes(dtype):
    x = np.arange(2000 * 2100).reshape(2000, 2100).astype(dtype)
    assert np.array_equal(rl.from_numpy(x).t().contiguous().numpy(), x.T)


def test_output_that_is_an_input(numbers):
    a, b = [rl.from_numpy(x.copy()) for x in numbers]
    a += b
    assert np.array_equal(a.numpy(), numbers[0] + numbers[1])


def large(shape=(2311, 4099)):
    made = np.random.default_rng(1)
    x, y = [made.standard_normal(shape, dtype=np.float32) for _ in range(2)]
    return x, y, made.integers(0, min(shape), shape)


def test_reading_by_index():
    x, y, at = large()
    t, i = rl.from_numpy(x), rl.from_numpy(at)
    assert np.array_equal(t.gather(1, i).numpy(), np.take_along_axis(x, at, 1))
    rows = at[0, :1000] % len(x)
    assert np.array_equal(t[i[0, :1000]].numpy(), x[rows])
    assert np.array_equal(t.index_select(1, i[0]).numpy(), x[:, at[0]])
    mask = x > 0
    assert np.array_equal(t[rl.from_numpy(mask)].numpy(), x[mask])
    assert np.array_equal(rl.from_numpy(mask).nonzero().numpy(), np.argwhere(mask))
    assert np.array_equal(t.triu(5).numpy(), np.triu(x, 5))
    assert np.array_equal(t.tril(-7).numpy(), np.tril(x, -7))


@pytest.mark.parametrize("shape", [(2311, 4099), (70, 60)])
@pytest.mark.parametrize("start", ["values", "zeros"])
@pytest.mark.parametrize("d", [0, 1])
def test_writing_by_index(shape, start, d):
    x, y, at = large(shape)
    t = rl.from_numpy(x) if start == "values" else rl.zeros(()).expand(shape)
    x = x if start == "values" else np.zeros_like(x)
    i, source = rl.from_numpy(at), rl.from_numpy(y)
    order = np.arange(shape[1 - d])[None, :] if d == 0 else np.arange(shape[0])[:, None]
    places = (at, np.broadcast_to(order, shape)) if d == 0 else (np.broadcast_to(order, shape), at)
    written, added = x.copy(), x.copy()
    written[places] = y
    np.add.at(added, places, y)
    assert np.array_equal(t.scatter(d, i, source).numpy(), written)
    assert np.array_equal(t.scatter_add(d, i, source).numpy(), added)
    assert np.array_equal(t.contiguous().clone().scatter_add_(d, i, source).numpy(), added)
    whole = x.copy()
    line = at.ravel()[: shape[d]]
    np.add.at(whole, line if d == 0 else (slice(None), line), y)
    line = rl.from_numpy(line)
    assert np.array_equal(t.index_add(d, line, source).numpy(), whole)
    assert np.array_equal(t.contiguous().clone().index_add_(d, line, source).numpy(), whole)


def test_rows_added_at_repeated_and_skipped_indices():
    made = np.random.default_rng(2)
    g, at = made.standard_normal((5000, 4099), dtype=np.float32), made.integers(0, 300, 5000)
    expected = np.zeros((400, 4099), np.float32)
    np.add.at(expected, at, g)
    weight = rl.zeros(400, 4099, requires_grad=True)
    rl.nn.functional.embedding(rl.from_numpy(at), weight).backward(rl.from_numpy(g))
    assert np.array_equal(weight.grad.numpy(), expected)
    weight.grad = None
    rl.nn.functional.embedding(rl.from_numpy(at), weight, padding_idx=7).backward(rl.from_numpy(g))
    expected[7] = 0
    assert np.array_equal(weight.grad.numpy(), expected)
    weight.grad = None
    weight[rl.from_numpy(at - 400)].backward(rl.from_numpy(g))  # from the end
    np.add.at(expected, [7] * (at == 7).sum(), g[at == 7])
    assert np.array_equal(weight.grad.numpy(), expected)


@pytest.mark.parametrize("d", [0, 1])
def test_numbers_outside(d):
    t, at = rl.zeros(40, 40), rl.zeros(40, 40, dtype=rl.int64)
    at[39, 39] = 40
    for name in ("scatter", "scatter_add", "scatter_", "scatter_add_"):
        with pytest.raises(RuntimeError, match="index 40 is out of bounds for dimension"):
            getattr(t, name)(d, at, rl.ones(40, 40))
    with pytest.raises(RuntimeError, match="index 40 is out of bounds for dimension"):
        t.gather(d, at)
    assert not t.any()


ROW_KERNELS = {
    "softmax": lambda x, w: x.softmax(1),
    "log_softmax": lambda x, w: x.log_softmax(1),
    "layer_norm": lambda x, w: rl.nn.functional.layer_norm(x, x.shape[1:], w, -w),
    "rms_norm": lambda x, w: rl.nn.functional.rms_norm(x, x.shape[1:], w),
    "batch_norm": lambda x, w: rl.nn.functional.batch_norm(x, w, w.abs() + 1, w, -w),
    "softmax of columns": lambda x, w: x.t().softmax(0).t(),
    "log_softmax of columns": lambda x, w: x.t().log_softmax(0).t(),
}


@pytest.mark.parametrize("name", ROW_KERNELS)
def test_rows_alone_and_among_many(name):
    """A row's results, and gradients, are the same bits in a large tensor and in a small one."""
    x, g, _ = large()
    w = rl.from_numpy(x[0]).clone()
    if "columns" in name:  # contiguous the other way round
        x, g = x.T.copy().T, g.T.copy().T

    def run(rows):
        t = rl.from_numpy(x)[rows].detach().requires_grad_()
        y = ROW_KERNELS[name](t, w)
        y.backward(rl.from_numpy(g)[rows])
        return y.detach().numpy(), t.grad.numpy()

    for all_rows, few in zip(run(slice(None)), run(slice(1000, 1010))):
        assert np.array_equal(all_rows[1000:1010], few)


def test_batch_norm_of_planes_and_of_rows():
    made = np.random.default_rng(3)
    for shape in [(40, 33, 100, 101), (9001, 1111)]:
        x = made.standard_normal(shape).astype(np.float32)
        t = rl.from_numpy(x).requires_grad_()
        y = rl.nn.functional.batch_norm(t, None, None, training=True, eps=0.0)
        axes = tuple(d for d in range(len(shape)) if d != 1)
        centred = x - x.mean(axes, keepdims=True, dtype=np.float64)
        expected = centred / np.sqrt((centred**2).mean(axes, keepdims=True))
        assert np.allclose(y.detach().numpy(), expected, atol=1e-5)
        y.backward(y.detach() + 1)  # what is made of the output and of constants alone moves nothing
        assert np.allclose(t.grad.numpy(), 0, atol=1e-4)


def test_histogram_of_many():
    made = np.random.default_rng(4)
    x = made.standard_normal(1_000_000).astype(np.float32)
    counts = rl.from_numpy(x).histc(100)
    low, high = x.min(), x.max()
    places = ((x - low) * np.float32(100) / (high - low)).astype(np.int64).clip(0, 99)
    assert np.array_equal(counts.numpy(), np.bincount(places, minlength=100))
    assert rl.from_numpy(x).histc(7, -1, 1).sum() == ((x >= -1) & (x <= 1)).sum()
    x[[3, 999_999]] = np.nan
    with pytest.raises(RuntimeError, match="range of .nan, nan. is not finite"):
        rl.from_numpy(x).histc(100)
    assert rl.from_numpy(x).histc(7, -1, 1).sum() == (np.abs(x) <= 1).sum()


def test_chances_among_many():
    p = rl.full((300_000,), 0.25)
    rl.manual_seed(3)
    drawn = p.bernoulli()
    rl.manual_seed(3)
    assert rl.equal(p.clone().bernoulli_(p), drawn)
    rl.manual_seed(3)
    assert rl.equal(rl.bernoulli(p, out=p.clone()), drawn)
    rl.manual_seed(3)
    assert rl.equal(p.repeat_interleave(2)[::2].bernoulli(), drawn)
    for wrong in (-0.1, 1.1, float("nan")):
        p[299_999] = wrong
        with pytest.raises(RuntimeError, match="Expected p_in >= 0 && p_in <= 1"):
            p.bernoulli()
