"""Sparse tensors: constructors and their checks, layouts, operators against dense ones."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sparse_cases import INDICES, LAYOUTS, matrix, uncoalesced

import rushlight as torch
from rushlight.testing.samples import FUNCTION, op_table, samples


@pytest.fixture(autouse=True)
def no_beta_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def recorded():
    """The entries of vectors/sparse.txt: an expression, and the indented lines under it."""
    found = []
    for line in (Path(__file__).parent / "vectors" / "sparse.txt").read_text().splitlines():
        if line.startswith("    "):
            found[-1][1].append(line[4:])
        elif line and not line.startswith("#"):
            found.append((line, []))
    return [(expression, "\n".join(lines)) for expression, lines in found]


@pytest.mark.parametrize(
    "expression, text", recorded(), ids=[expression[:70] for expression, _ in recorded()]
)
def test_as_recorded(expression, text):
    try:
        got = repr(eval(expression, {"torch": torch, "T": torch.tensor}))
    except Exception as error:
        got = f"{type(error).__name__}: {error}"[: len(text)]
    assert got == text


# ---- constructors ----


def test_parts_of_a_coo_tensor():
    s = uncoalesced()
    assert s.is_sparse and s.layout is torch.sparse_coo and not s.is_coalesced()
    assert (s.shape, s.dtype, s._nnz(), s.sparse_dim(), s.dense_dim()) == ((3, 4), torch.float64, 4, 2, 0)
    c = s.coalesce()
    assert c.is_coalesced() and c is c.coalesce()
    assert c.indices().tolist() == [[0, 1, 2], [1, 3, 0]] and c.values().tolist() == [3.0, 4.0, 3.0]
    assert s._indices().tolist() == INDICES.tolist()


def test_dense_dimensions():
    s = torch.sparse_coo_tensor([[0, 2]], torch.ones(2, 3), (4, 3))
    assert (s.sparse_dim(), s.dense_dim()) == (1, 1)
    assert s.to_dense().tolist() == [[1.0] * 3, [0.0] * 3, [1.0] * 3, [0.0] * 3]
    assert repr(torch.eye(2).to_sparse(1)._values()) == "tensor([[1., 0.],\n        [0., 1.]])"


def test_zero_dimensions():
    s = torch.sparse_coo_tensor(torch.zeros(0, 2, dtype=torch.int64), [3.0, 4.0], ())
    assert s.to_dense().item() == 7 and s.coalesce().values().tolist() == [7.0]
    assert torch.tensor(0.0).to_sparse()._nnz() == 0


COO_ERRORS = [
    (
        ([[0, 1], [1, 0]], [1.0, 2.0], (2,)),
        RuntimeError,
        r"'len\(size\) == sparse_dim \+ dense_dim' is not satisfied",
    ),
    (
        ([[0, 1], [1, 0]], [1.0], (2, 2)),
        RuntimeError,
        "indices and values must have same nnz, but got nnz from",
    ),
    (([0, 1], [1.0, 2.0]), RuntimeError, r"indices must be sparse_dim x nnz, but got: \[2\]"),
    (([[0, -1]], [1.0, 2.0]), RuntimeError, "found negative index -1 for dim 0"),
    (
        ([[0, 5]], [1.0, 2.0], (2,)),
        RuntimeError,
        "size is inconsistent with indices: for dim 0, size is 2 but found",
    ),
    (
        ([[0, 1]], torch.ones(2, 3), (2, 4)),
        RuntimeError,
        r"values has incorrect size, expected \[2, 4\], got \[2, 3\]",
    ),
    (([[0, 1]],), TypeError, "argument 'size'|values"),
    ((), TypeError, "invalid combination of arguments"),
]


@pytest.mark.parametrize("args, kind, text", COO_ERRORS)
def test_coo_errors(args, kind, text):
    with pytest.raises(kind, match=text):
        torch.sparse_coo_tensor(
            *map(lambda a: torch.tensor(a) if isinstance(a, list) else a, args), check_invariants=True
        )


def test_indices_outside_are_found_when_they_are_used():
    s = torch.sparse_coo_tensor([[0, 7], [0, -1]], [1.0, 2.0], (2, 2), check_invariants=False)
    for use in (s.to_dense, lambda: torch.ones(2, 2) + s, lambda: s @ torch.ones(2, 2)):
        with pytest.raises((IndexError, RuntimeError)):
            use()


CSR_ERRORS = [
    (([0, 1, 2], [1, 5], [1.0, 2.0]), "`0 <= col_indices < ncols` is not satisfied."),
    (([0, 1, 3], [1, 0], [1.0, 2.0]), r"`crow_indices\[..., -1\] == nnz` is not satisfied."),
    (([1, 1, 2], [1, 0], [1.0, 2.0]), r"`crow_indices\[..., 0\] == 0` is not satisfied."),
    (
        ([0, 2, 2], [1, 0], [1.0, 2.0]),
        "are sorted and distinct along the last dimension values` is not satisfied.",
    ),
    (([0, 1, 2], [1, 0], [1.0]), "col_indices.shape\\[-1\\] must be equal to nnz \\(=1\\)"),
    (
        ([0, 1], [1], [1.0]),
        "crow_indices.shape\\[-1\\] must be equal to the number of rows \\+ 1 \\(=3\\), but got 2",
    ),
]


@pytest.mark.parametrize("args, text", CSR_ERRORS)
def test_csr_errors(args, text):
    with pytest.raises(RuntimeError, match=text):
        torch.sparse_csr_tensor(*args, (2, 3), check_invariants=True)


def test_invariants_are_checked_by_default_inside_the_context():
    with torch.sparse.check_sparse_tensor_invariants():
        assert torch.sparse.check_sparse_tensor_invariants.is_enabled()
        with pytest.raises(RuntimeError, match="found negative index"):
            torch.sparse_coo_tensor([[-1]], [1.0], (2,))
    assert not torch.sparse.check_sparse_tensor_invariants.is_enabled()
    torch.sparse_coo_tensor([[-1]], [1.0], (2,))


@pytest.mark.parametrize("block", [None, (2, 2), (1, 4)])
@pytest.mark.parametrize("name", ["csr", "csc", "bsr", "bsc"])
def test_layouts_go_back_and_forth(name, block):
    if (block is None) is (name in ("bsr", "bsc")):
        pytest.skip("blocks belong to bsr and bsc")
    x = matrix(4, 8)
    s = x.to_sparse(layout=getattr(torch, f"sparse_{name}"), blocksize=block)
    assert str(s.layout) == f"torch.sparse_{name}"
    for back in (s.to_dense(), s.to_sparse().to_dense(), s.to_sparse_csr().to_dense(), s.t().to_dense().t()):
        assert torch.equal(back, x)


def test_batches_of_compressed_matrices():
    x = torch.stack([torch.eye(3), torch.eye(3).flip(0)])
    s = x.to_sparse_csr()
    assert s._nnz() == 3 and torch.equal(s.to_dense(), x)
    with pytest.raises(RuntimeError, match="same number of specified elements per batch"):
        torch.stack([torch.eye(3), torch.ones(3, 3)]).to_sparse_csr()


# ---- operators ----

UNARY = [
    "neg",
    "abs",
    "sin",
    "tanh",
    "sqrt",
    "sign",
    "relu",
    "floor",
    "expm1",
    "square",
    "isnan",
    "clone",
    "double",
    "int",
    "t",
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, layout):
    x = matrix()
    got = getattr(LAYOUTS[layout](x), name)()
    want = getattr(x, name)()
    assert got.layout != torch.strided and got.dtype == want.dtype
    torch.testing.assert_close(got.to_dense(), want, equal_nan=True)


BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: torch.sub(a, b, alpha=3),
    "mul": lambda a, b: a * b,
    "mm": lambda a, b: a @ b.t(),
    "cat": lambda a, b: torch.cat([a, b], 1),
    "stack": lambda a, b: torch.stack([a, b], 1),
    "scaled": lambda a, b: a * 2 + b / 4,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", BINARY)
def test_two_sparse_tensors(name, layout):
    x, y = matrix(seed=1), matrix(seed=5)
    got = BINARY[name](LAYOUTS[layout](x), LAYOUTS[layout](y))
    torch.testing.assert_close(got.to_dense(), BINARY[name](x, y))


WITH_DENSE = {
    "dense + sparse": lambda s, d: d + s,
    "dense - sparse": lambda s, d: d - s,
    "sparse * dense": lambda s, d: (s * d).to_dense(),
    "dense * sparse": lambda s, d: (d * s).to_dense(),
    "sparse * row": lambda s, d: (s * d[0]).to_dense(),
    "sparse @ dense": lambda s, d: s @ d.t(),
    "dense @ sparse": lambda s, d: d.t() @ s,
    "sparse @ vector": lambda s, d: s @ d[0],
    "addmm": lambda s, d: torch.addmm(d[:, :3], s, d.t(), beta=2, alpha=3),
    "linear": lambda s, d: torch.nn.functional.linear(d, s, d[:, 0]),
    "sum": lambda s, d: s.sum(),
    "sum of rows": lambda s, d: s.sum(0).to_dense(),
    "sum, kept": lambda s, d: s.sum(1, keepdim=True).to_dense(),
    "row": lambda s, d: s[1].to_dense(),
    "element": lambda s, d: s[1, 2],
    "rows": lambda s, d: s.index_select(0, torch.tensor([2, 0, 2])).to_dense(),
    "norm": lambda s, d: s.norm(),
    "unsqueeze": lambda s, d: s.unsqueeze(1).to_dense(),
    "permute": lambda s, d: s.permute(1, 0).to_dense(),
    "mask": lambda s, d: s.sparse_mask(torch.ones(3, 4).to_sparse()).to_dense(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", WITH_DENSE)
def test_sparse_and_dense(name, layout):
    x, d = matrix(seed=2), torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(
        WITH_DENSE[name](LAYOUTS[layout](x), d), WITH_DENSE[name](x, d) if name != "mask" else x
    )


def test_hybrid_sums_and_shapes():
    x = torch.randn(3, 4, 5)
    s = x.to_sparse(2)
    for dims in (0, 1, 2, (0, 2), (0, 1)):
        torch.testing.assert_close(s.sum(dims).to_dense(), x.sum(dims))
    torch.testing.assert_close(s[1].to_dense(), x[1])
    torch.testing.assert_close(s.select(2, 3).to_dense(), x[:, :, 3])
    torch.testing.assert_close(torch.cat([s, s], 2).to_dense(), torch.cat([x, x], 2))
    torch.testing.assert_close(s.transpose(0, 1).to_dense(), x.transpose(0, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "complex64", "int64"])
@pytest.mark.parametrize("width", [1, 5, 16, 40])
def test_products_of_all_widths(dtype, width):
    x = matrix(20, 30, getattr(torch, dtype), seed=4)
    d = matrix(30, width, getattr(torch, dtype), seed=8)
    for s in (x.to_sparse(), x.to_sparse_csr(), x.t().contiguous().to_sparse().t()):
        assert torch.equal(s @ d, x @ d)  # small whole numbers: exact


def test_the_kernel_of_products_checks_its_pattern():
    starts, columns, values, dense = (
        torch.tensor([0, 1, 2]),
        torch.tensor([0, 1]),
        torch.ones(2),
        torch.ones(2, 3),
    )
    for bad in ([1, 1, 2], [0, 3, 2], [0, 1, 3], [0, -1, 2]):
        with pytest.raises(RuntimeError, match="do not fit"):
            torch._C._csr_mm(torch.tensor(bad), columns, values, dense)
    for bad in ([0, 2], [-1, 0]):
        with pytest.raises(IndexError, match="column indices outside"):
            torch._C._csr_mm(starts, torch.tensor(bad), values, dense)


def test_batched_product():
    x, d = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    torch.testing.assert_close(torch.bmm(x.to_sparse(), d), torch.bmm(x, d))


def test_writing():
    x, y = matrix(), matrix(seed=7)
    s = x.to_sparse()
    assert s.mul_(2) is s and torch.equal(s.to_dense(), x * 2)
    s.add_(y.to_sparse(), alpha=-1)
    assert torch.equal(s.to_dense(), x * 2 - y)
    s /= 2
    s.neg_()
    assert torch.equal(s.to_dense(), (y - x * 2) / 2)
    s.copy_(x.to_sparse())
    assert torch.equal(s.to_dense(), x)
    assert s.zero_()._nnz() == 0
    d = torch.ones(3, 4, dtype=torch.float64)
    assert d.add_(x.to_sparse(), alpha=2) is d and torch.equal(d, 1 + 2 * x)
    v = x.to_sparse()
    v.detach()._values().zero_()  # one memory, as with dense tensors
    assert v.to_dense().abs().sum() == 0


ERRORS = [
    (
        RuntimeError,
        r"add\(sparse, dense\) is not supported. Use add\(dense, sparse\) instead.",
        lambda s: s + 1,
    ),
    (
        RuntimeError,
        "Sparse division requires a scalar or zero-dim dense tensor divisor",
        lambda s: s / torch.ones(3, 4),
    ),
    (
        NotImplementedError,
        "Could not run 'aten::exp' with arguments from the 'SparseCPU' backend.",
        lambda s: s.exp(),
    ),
    (NotImplementedError, "Could not run 'aten::view' with", lambda s: s.view(12)),
    (RuntimeError, "reshape is not implemented for sparse tensors", lambda s: s.reshape(12)),
    (
        TypeError,
        "can't convert Sparse layout tensor to numpy. Use Tensor.to_dense\\(\\) first.",
        lambda s: s.numpy(),
    ),
    (NotImplementedError, "Cannot access storage of SparseTensorImpl", lambda s: s.untyped_storage()),
    (RuntimeError, "Cannot access data pointer of Tensor", lambda s: s.data_ptr()),
    (BufferError, "layout other than torch.strided", lambda s: s.__dlpack__()),
    (
        RuntimeError,
        "Cannot get indices on an uncoalesced tensor, please call .coalesce",
        lambda s: (s + s.t().t()).indices(),
    ),
    (
        RuntimeError,
        "copy_\\(\\) between dense and sparse Tensors is not implemented",
        lambda s: torch.ones(3, 4).copy_(s),
    ),
    (
        RuntimeError,
        "crow_indices expected sparse row compressed tensor layout but got Sparse",
        lambda s: s.crow_indices(),
    ),
    (
        RuntimeError,
        "expected sparse coordinate tensor layout but got Strided",
        lambda s: torch.ones(2).indices(),
    ),
    (NotImplementedError, "out= is not implemented", lambda s: torch.add(s, s, out=torch.ones(3, 4))),
    (NotImplementedError, "Could not run 'aten::set_'", lambda s: torch.ones(3, 4).set_(s)),
    (
        TypeError,
        "RNG state must be",
        lambda s: torch.Generator().set_state(torch.ones(5056, dtype=torch.uint8).to_sparse()),
    ),
    (RuntimeError, "pow: cannot raise to zeroth power on sparse tensor", lambda s: s**0),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool, torch.complex64], ids=str)
@pytest.mark.parametrize("shape", [(7, 9), (5, 4, 3)])
def test_sum_of_patterns_that_overlap(dtype, shape):
    for _ in range(5):
        a, b = ((torch.rand(shape) < 0.3) * torch.randint(1, 5, shape) for _ in range(2))
        total = a.to(dtype).to_sparse(2) + b.to(dtype).to_sparse(2)
        assert total.is_coalesced() and torch.equal(total.to_dense(), a.to(dtype) + b.to(dtype))
        assert torch.equal(total.indices(), (a.to(dtype) + b.to(dtype)).to_sparse(2).indices())
    nothing = torch.zeros(shape, dtype=dtype).to_sparse(2)
    assert (nothing + nothing)._nnz() == 0 and (nothing + total).shape == shape


@pytest.mark.parametrize("kind, text, call", ERRORS, ids=[text[:40] for _, text, _ in ERRORS])
def test_errors(kind, text, call):
    with pytest.raises(kind, match=text):
        call(matrix(dtype=torch.float32).to_sparse())


OPS = [
    op
    for op in op_table()
    if op.texts and op.forms & FUNCTION and not any(p.type == "Generator" for p in op.params)
]


def same(got, want):
    if isinstance(want, torch.Tensor):
        got = got.to_dense()
        return got.shape == want.shape and np.allclose(
            got.numpy(force=True), want.numpy(force=True), 1e-4, 1e-5, equal_nan=True
        )
    if isinstance(want, (tuple, list)):
        return len(got) == len(want) and all(map(same, got, want))
    return got == want


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.key)
def test_no_operator_reads_a_sparse_tensor_as_a_dense_one(op):
    """Every tensor argument of every sample in turn becomes sparse: the answer is right, or an exception."""
    for sample in samples(op):
        args, kwargs = sample.tensors(torch.float64)
        for layout in ("coo", "csr"):
            for change in [*places(args, kwargs), None]:
                one, named = swapped(args, kwargs, change, layout)
                if one is None:
                    continue
                try:
                    got = op.call(*one, **named)
                except (RuntimeError, TypeError, ValueError, IndexError):
                    continue
                dense, dense_named = swapped(args, kwargs, change, "strided")
                assert same(got, op.call(*dense, **dense_named)), (op.key, sample.text, layout, change)


def places(args, kwargs):
    found = [*enumerate(args), *kwargs.items()]
    return [key for key, value in found if isinstance(value, torch.Tensor) or (isinstance(value, list) and value and isinstance(value[0], torch.Tensor))]  # fmt: skip


def swapped(args, kwargs, change, layout):
    """Fresh copies of the arguments, the one at `change` (None: all) in another layout; (None, None) where it cannot be."""

    def convert(x, key):
        if isinstance(x, list) and any(isinstance(v, torch.Tensor) for v in x):
            return [convert(v, key) for v in x]
        if not isinstance(x, torch.Tensor):
            return x
        if layout == "strided" or (change is not None and key != change):
            return x.clone()
        return x.to_sparse() if layout == "coo" else x.to_sparse_csr()

    try:
        return [convert(a, i) for i, a in enumerate(args)], {k: convert(v, k) for k, v in kwargs.items()}
    except (RuntimeError, NotImplementedError):
        return None, None  # a vector has no compressed rows
