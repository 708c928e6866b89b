"""Reading and writing by index: keys of every form against NumPy, gather and scatter, joining and rearranging, gradients
of writes, bad input, and independence of the number of threads.
"""

import itertools
import warnings

import numpy as np
import pytest

import rushlight as rl
from rushlight.autograd import gradcheck, gradgradcheck

ARRAY = np.arange(120).reshape(2, 3, 4, 5)
idx = np.array


# ---- x[key] ----
# Integers apply before advanced indices here, so keys that mix both across a slice are listed apart.
KEYS = [
    0, -1, slice(None), slice(1, None), slice(None, None, 2), slice(-2, -1), slice(5, 9), slice(9223372036854775807), None, ...,
    (), (0, 1), (0, 1, 2, 3), (0, ..., 1), (..., None), (slice(None), 1), (slice(None), slice(0, 2), None, 1), (None, None, 0),
    True, False, (True, 0), (slice(None), True), np.int64(1), (np.int32(0), 1),
    [0, 1, 1], [], range(2), idx([[0, 1], [1, 0]]), (slice(None), [2, 0]), (slice(None), slice(None), [0, 3], [1, 4]),
    ([0, 1], [2, 2]), (idx([[0], [1]]), idx([0, 2])), ([0, 1], slice(None), [3, 3]), (..., [0, -1]), ([-1], ..., [-5]),
    (None, [0, 1]), (slice(None), None, [0, 1]), ([0, 1], None, [0, 1]), idx([True, False]),
    (slice(None), idx([True, False, True])), ARRAY % 7 == 0, (ARRAY[0] % 3 == 0)[None].repeat(2, 0),
    (slice(None), ARRAY[0, :, :, 0] > 10), (idx([True, True]), [0, 2]), ([True, False], slice(None), [1, 1]),
    (slice(1), [0], slice(None, None, 3)), idx(1), idx([0, 1], dtype="int32"), (slice(None), slice(2, 0)),
]  # fmt: skip


def as_keys(key, kind):
    """The key with its arrays as lists, arrays or tensors."""
    if isinstance(key, tuple):
        return tuple(as_keys(k, kind) for k in key)
    if not isinstance(key, np.ndarray):
        return key
    return key if kind == "array" else rl.from_numpy(key.copy())


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_reading(key, kind):
    want = ARRAY[key]
    for t in (
        rl.from_numpy(ARRAY.copy()),
        rl.from_numpy(ARRAY.copy()).permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
    ):
        got = t[as_keys(key, kind)]
        assert got.shape == want.shape
        assert got.tolist() == want.tolist()


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_writing(key):
    shape = ARRAY[key].shape
    values = [7, rl.tensor(-1.5)]
    if 0 not in shape:
        values.append(rl.arange(int(np.prod(shape))).reshape(shape) + 1000)
        values.append(rl.ones(1, 1, *shape[-1:], dtype=rl.int64))
    for value in values:
        want, got = ARRAY.copy(), rl.from_numpy(ARRAY.copy())
        number = value.numpy().astype("int64") if isinstance(value, rl.Tensor) else value
        if isinstance(value, rl.Tensor) and value.dim() > len(shape):
            number = number.reshape(number.shape[value.dim() - len(shape) :])
        if (
            isinstance(key, (list, np.ndarray))
            or isinstance(key, tuple)
            and any(isinstance(k, (list, np.ndarray)) for k in key)
        ):
            if len(set(ARRAY[key].reshape(-1).tolist())) < ARRAY[key].size and np.ndim(number):
                continue  # repeated positions: which value stays is not promised
        want[key] = number
        got[as_keys(key, "tensor")] = value
        assert got.tolist() == want.tolist()


def test_integers_are_no_advanced_indices():
    x = rl.arange(24).reshape(2, 3, 4)
    assert x[0, :, [1, 2]].tolist() == x[0][:, [1, 2]].tolist()
    assert x[:, 0, [1, 2]].shape == (2, 2)
    assert x[rl.tensor(1), rl.tensor([0, 2])].tolist() == x[1][[0, 2]].tolist()


def test_views_and_copies():
    x = rl.arange(12).reshape(3, 4)
    for key in [0, slice(1), (slice(None), 1), None, ..., (), (..., 0)]:
        assert x[key]._base is x._base
    for key in [[0], rl.tensor([1]), x > 3, True]:
        assert x[key]._base is None and x[key].data_ptr() != x.data_ptr()


def test_uint8_is_a_mask_and_says_so():
    x = rl.arange(3)
    with pytest.warns(UserWarning, match="indexing with dtype torch.uint8 is now deprecated"):
        assert x[rl.tensor([1, 0, 1], dtype=rl.uint8)].tolist() == [0, 2]


def test_lists_of_sequences_stand_for_tuples():
    x = rl.arange(24).reshape(2, 3, 4)
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[0, 1], [1, 2]]].tolist() == x[[0, 1], [1, 2]].tolist()
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[0, slice(None)]].shape == (3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x[[0, 1, 0]].shape == (3, 3, 4) and x[[True, False]].shape == (1, 3, 4)


def test_augmented_assignment_does_not_accumulate():
    x = rl.zeros(3)
    x[[0, 0, 1]] += 1
    assert x.tolist() == [1, 1, 0]
    assert rl.zeros(3).index_put((rl.tensor([0, 0, 1]),), rl.ones(3), accumulate=True).tolist() == [2, 1, 0]


SELF_WRITES = [
    lambda x: x.__setitem__([3, 2, 1, 0], x), lambda x: x.__setitem__([0, 1, 2], x[1:]),
    lambda x: x.index_add_(0, rl.arange(4), x), lambda x: x.index_copy_(0, rl.arange(4), x),
    lambda x: x.scatter_(0, rl.arange(4), x),
]  # fmt: skip


@pytest.mark.parametrize("write", SELF_WRITES)
def test_a_tensor_cannot_be_written_from_itself(write):
    x = rl.arange(4)
    with pytest.raises(
        RuntimeError, match="some elements of the input tensor and the written-to tensor refer to a single"
    ):
        write(x)
    assert x.tolist() == [0, 1, 2, 3]


def test_versions_and_history():
    x = rl.ones(4, requires_grad=True)
    y = x * 1
    y[[0, 2]] = rl.tensor([5.0, 6.0])
    assert y._version == 1 and type(y.grad_fn).__name__ == "IndexPutBackward0"
    y[y > 5] = 0.0
    y[1] = 3 * x[3]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0, 4]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x[[0]] = 1
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x[x > 0] = 1
    with rl.no_grad():
        x[x > 0] = 2
    assert x.tolist() == [2, 2, 2, 2]


BAD_READS = [
    ("x[3]", IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[[0, 3]]", IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[:, rl.tensor([-5])]", IndexError, "index -5 is out of bounds for dimension 1 with size 4"),
    ("x[0, 0, 0]", IndexError, "too many indices for tensor of dimension 2"),
    ("x[1.5]", IndexError, "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid"),
    ("x['a']", TypeError, "invalid data type 'str'"),
    ("x[{}]", IndexError, "only integers, slices (`:`), ellipsis"),
    ("x[rl.tensor([0.5])]", IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
    ("x[rl.tensor([True, False])]", IndexError, "The shape of the mask [2] at index 0 does not match the shape of the indexed"),
    ("x[[0, 1], [0, 1, 2]]", IndexError, "indexing tensors could not be broadcast together with shapes [2], [3]"),
    ("rl.ones(0, 3)[[0]]", IndexError, "index is out of bounds for dimension with size 0"),
    ("rl.tensor(1.0)[0]", IndexError, "invalid index of a 0-dim tensor"),
    ("x[::-1]", ValueError, "step must be greater than zero"),
    ("x[::0]", ValueError, "slice step cannot be zero"),
    ("x[2**70]", (IndexError, RuntimeError), ""),
    ("x.__setitem__([0, 1], rl.ones(3, 4))", RuntimeError, "value tensor of shape [3, 4] cannot be broadcast to indexing result"),
    ("x.__setitem__(0, rl.ones(3))", RuntimeError, "must match"),
    ("x.__setitem__(rl.tensor([5]), 1)", IndexError, "index 5 is out of bounds"),
    ("x.__setitem__(0, 'a')", TypeError, "can't assign a str to a torch.FloatTensor"),
    ("x.__setitem__(x > 0, 1j)", RuntimeError, "without overflow"),
]  # fmt: skip


# ---- operators: PyTorch's errors ----
BAD_CALLS = [
    ("x.index_put((rl.tensor([0, 5]),), rl.tensor(1.0))", IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    ("x.index_put((rl.tensor([0]),), rl.tensor(1))", RuntimeError, "Index put requires the source and destination dtypes match"),
    ("x.index_put((rl.tensor([0]),) * 3, rl.ones(1))", IndexError, "too many indices for tensor of dimension 2 (got 3)"),
    ("x.index_select(0, rl.tensor([3]))", IndexError, "index out of range in self"),
    ("x.index_select(0, rl.tensor([-1]))", IndexError, "index out of range in self"),
    ("x.index_select(0, rl.tensor([[0]]))", IndexError, "index_select(): Index is supposed to be a vector"),
    ("x.index_select(2, rl.tensor([0]))", IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    ("x.take(rl.tensor([12]))", IndexError, "out of range: tried to access index 12 on a tensor of 12 elements."),
    ("rl.ones(0).take(rl.tensor([0]))", IndexError, "take(): tried to take from an empty tensor"),
    ("x.gather(1, rl.tensor([[4]]))", RuntimeError, "index 4 is out of bounds for dimension 1 with size 4"),
    ("x.gather(1, rl.tensor([[-1]]))", RuntimeError, "index -1 is out of bounds for dimension 1 with size 4"),
    ("x.gather(1, rl.tensor([0]))", RuntimeError, "Index tensor must have the same number of dimensions as input tensor"),
    ("x.gather(1, rl.zeros(4, 1, dtype=rl.int64))", RuntimeError, "Size does not match at dimension 0 expected index [4, 1]"),
    ("x.gather(1, rl.ones(1, 1))", RuntimeError, "gather(): Expected dtype int32/int64 for index"),
    ("x.scatter(1, rl.tensor([[4]]), rl.ones(1, 1))", RuntimeError, "index 4 is out of bounds for dimension 1 with size 4"),
    ("x.scatter(1, rl.tensor([[1, 2]]), rl.ones(1, 1))", RuntimeError, "to be no larger size than src [1, 1]"),
    ("x.scatter(1, rl.tensor([[1]]), rl.ones(1, 1).double())", RuntimeError, "Expected self.dtype to be equal to src.dtype"),
    ("x.scatter(1, rl.tensor([[1]]), 2.0, reduce='mean')", RuntimeError, "reduce argument must be either add or multiply."),
    ("x.scatter_reduce(1, rl.tensor([[1]]), rl.ones(1, 1), 'foo')", RuntimeError, "must be either sum, prod, mean, amax or amin, got foo"),
    ("x.index_add(0, rl.tensor([3]), rl.ones(1, 4))", RuntimeError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x.index_add(0, rl.tensor([0, 1]), rl.ones(1, 4))", RuntimeError, "Number of indices (2) should be equal to source.size(dim): (1)"),
    ("x.index_add(0, rl.tensor([0]), rl.ones(1, 2))", RuntimeError, "source tensor shape must match self tensor shape"),
    ("x.index_copy(0, rl.tensor([3]), rl.ones(1, 4))", IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x.index_copy(0, rl.tensor([0]), rl.ones(1, 2))", RuntimeError, "must have same slice shapes"),
    ("x.index_fill(0, rl.tensor([3]), 1)", IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x.masked_select(x)", RuntimeError, "masked_select: expected BoolTensor for mask"),
    ("x.masked_scatter(x > 0, rl.ones(3))", RuntimeError, "Number of elements of source < number of ones in mask"),
    ("x.put_(rl.tensor([12]), rl.ones(1))", IndexError, "out of range"),
    ("x.take_along_dim(rl.tensor([0]), 1)", RuntimeError, "should have the same number of dimensions"),
    ("x.select_scatter(rl.ones(2), 0, 0)", RuntimeError, "expected src to have a size equal to the slice of self"),
    ("rl.diag(rl.ones(2, 2, 2))", RuntimeError, "diag(): Supports 1D or 2D tensors. Got 3D"),
    ("rl.diag_embed(rl.ones(2), 2**62)", RuntimeError, ""),
    ("rl.tril(rl.ones(3))", RuntimeError, "tril: input tensor must have at least 2 dimensions"),
    ("rl.trace(rl.ones(3))", RuntimeError, "trace: expected a matrix, but got tensor with dim 1"),
    ("rl.bincount(rl.tensor([-1]))", RuntimeError, "bincount only supports 1-d non-negative integral inputs."),
    ("rl.bincount(rl.tensor([2**62]))", (RuntimeError, MemoryError), ""),
    ("rl.histc(x, 0)", RuntimeError, "bins must be > 0"),
    ("rl.searchsorted(rl.ones(3), x, sorter=rl.tensor([0, 1, 3]))", RuntimeError, "sorter index out of range"),
    ("rl.cat([])", ValueError, "torch.cat(): expected a non-empty list of Tensors"),
    ("rl.cat([x, rl.ones(2)])", RuntimeError, "Tensors must have same number of dimensions: got 2 and 1"),
    ("rl.cat([x, rl.ones(3, 5)])", RuntimeError, "Expected size 4 but got size 5 for tensor number 1 in the list."),
    ("rl.cat([rl.tensor(1.0)])", RuntimeError, "zero-dimensional tensor (at position 0) cannot be concatenated"),
    ("rl.cat([x, None])", TypeError, "expected Tensor as element 1 in argument 0"),
    ("rl.stack([x, rl.ones(2)])", RuntimeError, "stack expects each tensor to be equal size, but got [3, 4] at entry 0 and [2]"),
    ("x.repeat(2)", RuntimeError, "Number of dimensions of repeat dims can not be smaller"),
    ("x.repeat(2**62, 2**62)", RuntimeError, ""),
    ("x.repeat(1, -1)", RuntimeError, "negative dimension"),
    ("x.repeat_interleave(-1)", RuntimeError, "Repeats must be non-negative"),
    ("x.repeat_interleave(rl.tensor([1, -1, 2]), 0)", RuntimeError, "repeats can not be negative"),
    ("x.flip(0, 0)", RuntimeError, "dim 0 appears multiple times in the list of dims"),
    ("x.roll((1, 2), 0)", RuntimeError, "shifts and dimensions must align. shifts: 2, dims:1"),
    ("x.rot90(1, (0, 0))", RuntimeError, "expected rotation dims to be different, but got dim0 = 0 and dim1 = 0"),
    ("rl.constant_pad_nd(x, (1,))", RuntimeError, "Length of pad must be even but instead it equals 1"),
    ("rl.constant_pad_nd(x, (-5, 0))", RuntimeError, "narrow(): length must be non-negative."),
    ("rl.constant_pad_nd(x, (2**63 - 1, 2**63 - 1))", RuntimeError, "too large"),
    ("x.tensor_split(0)", RuntimeError, "number of sections must be larger than 0, got 0"),
    ("x.hsplit(3)", RuntimeError, "is not divisible by the split_size 3!"),
]  # fmt: skip


@pytest.mark.parametrize("code, kind, text", BAD_READS + BAD_CALLS)
def test_bad_input_raises_and_changes_nothing(code, kind, text):
    x = rl.arange(12.0).reshape(3, 4)
    with pytest.raises(kind) as caught:
        eval(code, {"rl": rl, "x": x})
    assert text in str(caught.value)
    assert x.tolist() == np.arange(12.0).reshape(3, 4).tolist() and x._version == 0


# ---- gather and scatter ----
def loop_scatter(x, dim, index, source, combine):
    out, touched = x.copy(), np.zeros(x.shape, dtype="int64")
    for at in itertools.product(*map(range, index.shape)):
        to = list(at)
        to[dim] = index[at]
        out[tuple(to)] = combine(out[tuple(to)], source[at])
        touched[tuple(to)] += 1
    return out, touched


SCATTERS = {"sum": lambda a, b: a + b, "prod": lambda a, b: a * b, "amax": max, "amin": min}


@pytest.mark.parametrize(
    "dim, shape, index_shape",
    [(0, (3, 4), (5, 4)), (1, (3, 4), (2, 6)), (-1, (2, 3, 4), (2, 2, 3)), (0, (4,), (7,))],
)
@pytest.mark.parametrize("reduce", SCATTERS)
def test_scatter_reduce_against_loops(dim, shape, index_shape, reduce):
    g = np.random.default_rng(1)
    x, source = g.normal(size=shape), g.normal(size=index_shape)
    index = g.integers(0, shape[dim], index_shape)
    want, _ = loop_scatter(x, dim % len(shape), index, source, SCATTERS[reduce])
    t = rl.from_numpy(x)
    got = t.scatter_reduce(dim, rl.from_numpy(index), rl.from_numpy(source), reduce)
    np.testing.assert_allclose(got.numpy(), want)
    if reduce == "sum":
        assert rl.equal(t.scatter_add(dim, rl.from_numpy(index), rl.from_numpy(source)), got)
        assert rl.equal(t.clone().scatter_add_(dim, rl.from_numpy(index), rl.from_numpy(source)), got)
        strided = rl.from_numpy(x.T.copy()).permute(*reversed(range(len(shape))))
        strided.scatter_(dim, rl.from_numpy(index), rl.from_numpy(source), reduce="add")
        np.testing.assert_allclose(strided.numpy(), want)


@pytest.mark.parametrize("shape, rows", [((300, 70), 400), ((3, 40, 5, 9), 37), ((9000, 3), 5000)])
def test_scatter_along_the_first_dimensions_of_wide_tensors(shape, rows):
    g = np.random.default_rng(2)
    dim = len(shape) // 2 - 1
    index_shape = (*shape[:dim], rows, *shape[dim + 1 :])
    x, source = g.integers(-9, 9, shape), g.integers(-9, 9, index_shape)
    index = g.integers(0, shape[dim], index_shape)
    places = np.indices(index_shape)
    places[dim] = index
    want = x.copy()
    np.add.at(want, tuple(places), source)
    t, at = rl.from_numpy(x), rl.from_numpy(index)
    np.testing.assert_array_equal(t.scatter_add(dim, at, rl.from_numpy(source)).numpy(), want)
    want = x.copy()
    want[tuple(places)] = 7
    np.testing.assert_array_equal(t.scatter(dim, at, 7).numpy(), want)
    with pytest.raises(RuntimeError, match="out of bounds"):
        t.gather(dim, at + shape[dim])


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int16])
def test_the_few_best_of_a_long_row(dtype, largest):
    g = np.random.default_rng(3)
    x = g.integers(-3000, 3000, 40_000).astype(dtype)  # with ties, of which the first ones count
    if dtype == np.float32:
        x[[5, 30_000]] = np.nan
    for row in (x, np.sort(x), np.sort(x)[::-1].copy()):
        order = np.argsort(row, kind="stable")
        if largest:
            last_first = np.argsort(row[::-1], kind="stable")[::-1]
            order = len(row) - 1 - last_first
        values, indices = rl.from_numpy(row).topk(100, largest=largest)
        np.testing.assert_array_equal(indices.numpy(), order[:100])
        np.testing.assert_array_equal(values.numpy(), row[order[:100]])


@pytest.mark.parametrize(
    "dtype, span", [(np.int64, 50), (np.int64, 2**60), (np.int32, 2**30), (np.uint8, 256), (np.float32, 9)]
)
def test_distinct_elements_against_numpy(dtype, span):
    g = np.random.default_rng(4)
    x = (g.integers(0, span, (30, 40)) - (0 if dtype == np.uint8 else span // 2)).astype(dtype)
    x[3:6] = x[7:10]
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    t = rl.from_numpy(x)
    assert t.unique().tolist() == values.tolist()
    found = t.unique(return_inverse=True, return_counts=True)
    assert [f.tolist() for f in found] == [
        values.tolist(),
        inverse.reshape(x.shape).tolist(),
        counts.tolist(),
    ]


def test_scatter_without_the_input_itself():
    x = rl.tensor([10.0, 20.0, 30.0])
    index, source = rl.tensor([0, 0, 1]), rl.tensor([1.0, 4.0, 7.0])
    results = {
        r: x.scatter_reduce(0, index, source, r, include_self=False).tolist() for r in [*SCATTERS, "mean"]
    }
    assert results == {
        "sum": [5, 7, 30],
        "prod": [4, 7, 30],
        "amax": [4, 7, 30],
        "amin": [1, 7, 30],
        "mean": [2.5, 7, 30],
    }
    assert x.scatter_reduce(0, index, source, "mean").tolist() == [5, 13.5, 30]
    ints = rl.tensor([-4, 1]).scatter_reduce(0, rl.tensor([0]), rl.tensor([1]), "mean")
    assert ints.tolist() == [-2, 1]  # rounds down
    nan = float("nan")
    assert (
        rl.tensor([1.0, nan])
        .scatter_reduce(0, rl.tensor([0, 1]), rl.tensor([nan, 2.0]), "amax")
        .isnan()
        .all()
    )


def test_scatter_of_numbers_and_int32_indices():
    x = rl.zeros(2, 3)
    assert x.scatter(1, rl.tensor([[0], [2]]), 5.0).tolist() == [[5, 0, 0], [0, 0, 5]]
    assert x.scatter(1, rl.tensor([[0], [2]], dtype=rl.int32), 5.0, reduce="add").tolist() == [
        [5, 0, 0],
        [0, 0, 5],
    ]
    assert x.index_fill(1, rl.tensor([-1]), 2).tolist() == [[0, 0, 2]] * 2
    assert x.index_fill(0, rl.tensor([1]), rl.tensor(3.0))[1].tolist() == [3, 3, 3]
    assert rl.ones(2, dtype=rl.bool).scatter_add(0, rl.tensor([0]), rl.tensor([True])).tolist() == [
        True,
        True,
    ]
    assert rl.tensor([100], dtype=rl.int8).index_add(
        0, rl.tensor([0]), rl.tensor([100], dtype=rl.int8)
    ).tolist() == [-56]


def test_gather_is_its_inverse():
    x = rl.randn(50, 30)
    order = rl.rand(50, 30).argsort(1)
    assert rl.equal(rl.empty(50, 30).scatter_(1, order, x.gather(1, order)), x)
    assert rl.equal(x.take_along_dim(order), x.reshape(-1)[order.reshape(-1)])
    assert rl.equal(x.t().gather(0, order.t()).t(), x.gather(1, order))


# ---- positions and masks ----
@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (2, 3, 5), (0, 3), (70000,), (300, 301)])
def test_nonzero(shape):
    array = np.random.default_rng(0).integers(0, 3, shape) * (
        np.arange(int(np.prod(shape))).reshape(shape) % 5 != 0
    )
    t = rl.from_numpy(np.asarray(array))
    want = np.argwhere(array)
    assert rl.nonzero(t).numpy().tolist() == want.tolist()
    assert rl.argwhere(t.to(rl.float16)).shape == want.shape
    assert len(t.nonzero(as_tuple=True)) == max(len(shape), 1)
    assert [i.tolist() for i in rl.where(t)] == [i.tolist() for i in np.nonzero(np.atleast_1d(array))]
    assert t[t > 0].tolist() == array[array > 0].tolist()
    assert rl.masked_select(t, t > 0).tolist() == array[array > 0].tolist()


def test_nan_counts_as_nonzero():
    assert rl.nonzero(rl.tensor([0.0, float("nan"), -0.0])).tolist() == [[1]]


def test_masked_scatter_and_broadcast_masks():
    x, mask = rl.zeros(2, 3), rl.tensor([True, False, True])
    assert x.masked_scatter(mask, rl.arange(1.0, 9)).tolist() == [[1, 0, 2], [3, 0, 4]]
    assert x.t().masked_scatter_(mask[:, None], rl.arange(1.0, 9)).tolist() == [[1, 2], [0, 0], [3, 4]]
    assert rl.arange(6).reshape(2, 3).masked_select(mask).tolist() == [0, 2, 3, 5]


# ---- counts ----
def test_histograms():
    x = rl.randn(1000, dtype=rl.float64)
    assert x.histc(20, -2, 2).tolist() == np.histogram(x.numpy(), 20, (-2, 2))[0].tolist()
    assert x.histc(7).sum() == 1000 and rl.histc(rl.full((3,), 2.0), 4).tolist() == [0, 0, 3, 0]
    assert rl.bincount(rl.tensor([1, 1, 4]), minlength=7).tolist() == [0, 2, 0, 0, 1, 0, 0]
    assert rl.bincount(rl.tensor([1, 1, 4]), rl.tensor([0.5, 1, 2])).tolist() == [0, 1.5, 0, 0, 2]


def test_searchsorted():
    g = np.random.default_rng(0)
    rows, values = np.sort(g.integers(0, 9, (4, 11)), 1), g.integers(-1, 11, (4, 7))
    for right in (False, True):
        want = [np.searchsorted(r, v, "right" if right else "left").tolist() for r, v in zip(rows, values)]
        assert rl.searchsorted(rl.from_numpy(rows), rl.from_numpy(values), right=right).tolist() == want
        assert rl.bucketize(rl.from_numpy(values[0]), rl.from_numpy(rows[0]), right=right).tolist() == want[0]
    unsorted = rl.tensor([3.0, 1, 5])
    assert rl.searchsorted(unsorted, rl.tensor([2.0, 4]), sorter=unsorted.argsort()).tolist() == [1, 2]
    assert (
        rl.searchsorted(rl.arange(5), 2.5).item() == 3
        and rl.bucketize(1, rl.arange(5), right=True).item() == 2
    )


# ---- joining and rearranging ----
def test_cat():
    a, b = rl.ones(2, 3, dtype=rl.int32), rl.zeros(2, 1)
    assert rl.cat([a, b], -1).dtype == rl.float32
    assert rl.cat([rl.empty(0), b]).shape == (2, 1)  # the legacy empty tensor joins with anything
    last = rl.ones(1, 2, 2, 3).contiguous(memory_format=rl.channels_last)
    assert rl.cat([last, last], 1).is_contiguous(memory_format=rl.channels_last)
    out = rl.empty(0)
    assert rl.cat([b, b], out=out) is out and out.shape == (4, 1)
    big = [rl.randn(300, 77).t() for _ in range(5)]
    assert rl.equal(rl.cat(big, 1), rl.from_numpy(np.concatenate([t.numpy() for t in big], 1)))
    assert rl.concat((a, a)).shape == rl.concatenate([a, a]).shape == (4, 3)


def test_splits_are_views():
    x = rl.arange(24).reshape(2, 3, 4)
    for pieces, want in [
        (x.tensor_split(3, 2), np.array_split(x.numpy(), 3, 2)),
        (x.tensor_split((1, 2), 1), np.array_split(x.numpy(), (1, 2), 1)),
        (rl.tensor_split(x, rl.tensor([1, -1]), dim=2), np.array_split(x.numpy(), (1, -1), 2)),
        (x.hsplit(3), np.hsplit(x.numpy(), 3)), (x.vsplit(2), np.vsplit(x.numpy(), 2)), (x.dsplit((1,)), np.dsplit(x.numpy(), (1,))),
    ]:  # fmt: skip
        assert isinstance(pieces, tuple) and [p.tolist() for p in pieces] == [w.tolist() for w in want]
        assert all(p._base is x._base for p in pieces)


def test_padding_with_own_values_can_cut():
    x = rl.arange(5.0)[None]
    pad = rl.nn.functional.pad
    assert pad(x, (-1, 2), mode="reflect").tolist() == [[1, 2, 3, 4, 3, 2]]
    assert pad(x, (2, -3), mode="replicate").tolist() == [[0, 0, 0, 1]]
    assert pad(rl.ones(0, 1, 3), (1, 1), mode="reflect").shape == (0, 1, 5)
    with pytest.raises(
        RuntimeError, match="Padding size should be less than the corresponding input dimension"
    ):
        pad(x, (5, 0), mode="reflect")
    with pytest.raises(RuntimeError, match="is too small. Calculated output W: 0"):
        pad(x, (-3, -2), mode="replicate")


def test_vander():
    for n, increasing in [(None, False), (2, True), (0, False), (5, False)]:
        want = np.vander(np.array([1.0, 2, 3]), n, increasing)
        assert rl.vander(rl.tensor([1.0, 2, 3]), n, increasing).tolist() == want.tolist()


# ---- derivatives that the table-driven tests do not reach ----
def leaf(*shape):
    return rl.randn(*shape, dtype=rl.float64).requires_grad_()


WRITES = {
    "rows": lambda x, v: x.__setitem__(rl.tensor([2, 0]), v[:2]),
    "accumulate": lambda x, v: x.index_put_((rl.tensor([1, 1, 0]),), v, accumulate=True),
    "mask": lambda x, v: x.__setitem__(rl.tensor([[True, False], [False, True], [True, False]]), v[:, 0]),
    "broadcast": lambda x, v: x.__setitem__((slice(None), [1]), v[:1, :1]),
    "leading one": lambda x, v: x.__setitem__([0, 1], v[None, :2]),
    "view": lambda x, v: x.t()[0].index_copy_(0, rl.tensor([0, 2]), v[:2, 1]),
    "scatter": lambda x, v: x.scatter_(0, rl.tensor([[2, 0]]), v),
    "scatter_add": lambda x, v: x.scatter_add_(0, rl.tensor([[2, 0], [2, 1]]), v),
    "scatter prod": lambda x, v: x.scatter_reduce_(0, rl.tensor([[2, 0], [2, 1], [0, 1]]), v, "prod"),
    "masked_scatter": lambda x, v: x.masked_scatter_(rl.tensor([True, False]), v),
    "select": lambda x, v: x[1].copy_(v[0]),
    "triangle": lambda x, v: x.mul_(v).tril_(),
}


@pytest.mark.parametrize("name", WRITES)
def test_gradients_of_writes(name):
    def f(x, v):
        y = x * 1
        WRITES[name](y, v)
        return y * y

    rl.manual_seed(4)
    inputs = (leaf(3, 2), leaf(3, 2))
    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


READS = {
    "rows": lambda x: x[[2, 0, 0]],
    "columns": lambda x: x[:, rl.tensor([[1, 0], [1, 1]])],
    "apart": lambda x: x[None][[0], :, [1, 0]],
    "mask": lambda x: x[rl.tensor([[True, False], [True, True], [False, False]])],
    "slices": lambda x: x[1:, None, ::2] * x[0, 1],
    "diag": lambda x: rl.diag(x, -1),
}


@pytest.mark.parametrize("name", READS)
def test_gradients_of_reads(name):
    assert gradcheck(READS[name], (leaf(3, 2),))
    assert gradgradcheck(READS[name], (leaf(3, 2),))


def test_zero_factors_of_a_product():
    x = rl.tensor([2.0, 0.0, 3.0], dtype=rl.float64, requires_grad=True)
    source = rl.tensor([0.0, 5.0, 0.0, 0.0], dtype=rl.float64, requires_grad=True)
    index = rl.tensor([0, 0, 2, 2])
    x.scatter_reduce(0, index, source, "prod").sum().backward()
    assert x.grad.tolist() == [0, 1, 0]
    assert source.grad.tolist() == [10, 0, 0, 0]


def test_names_of_nodes():
    x, i = leaf(3, 4), rl.tensor([0, 1])
    for make, name in [
        (lambda: x[i], "IndexBackward0"), (lambda: x.index_put((i,), x[:2]), "IndexPutBackward0"),
        (lambda: x.diag(), "DiagonalBackward0_copy"), (lambda: rl.hstack([x, x]), "CatBackward0"),
        (lambda: rl.tile(x, (2,)), "RepeatBackward0"), (lambda: rl.repeat_interleave(x, 2, 0), "ViewBackward0"),
        (lambda: rl.broadcast_to(x, (2, 3, 4)), "ExpandBackward0"), (lambda: x.tensor_split(2)[0], "SliceBackward0"),
    ]:  # fmt: skip
        assert type(make().grad_fn).__name__ == name


# ---- threads ----
def test_results_do_not_depend_on_threads():
    g = np.random.default_rng(0)
    x = rl.from_numpy(g.normal(size=(40000, 9)).astype("float32"))
    rows = rl.from_numpy(g.integers(0, 50, 40000))
    places = rl.from_numpy(g.integers(0, 50, (40000, 9)))

    def everything():
        return [
            rl.zeros(50, 9).index_add_(0, rows, x), rl.zeros(50, 9).scatter_add_(0, places, x),
            rl.zeros(50, 9).index_put_((rows,), x, accumulate=True), rl.zeros(50, 9).index_put_((rows,), x),
            rl.zeros(50, 9).scatter_(0, places, x), x[x > 0], rl.nonzero(x > 1), x[rows], x.gather(0, places),
        ]  # fmt: skip

    before = rl.get_num_threads()
    try:
        rl.set_num_threads(1)
        one = everything()
        rl.set_num_threads(4)
        assert all(rl.equal(a, b) for a, b in zip(one, everything()))
    finally:
        rl.set_num_threads(before)
