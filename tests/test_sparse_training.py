"""Sparse tensors in programs: derivatives, copies and files, rushlight.sparse, embeddings and optimisers."""

import copy
import gc
import io
import pickle
import warnings
import weakref

import pytest
from sparse_cases import matrix, uncoalesced

import rushlight as torch
from rushlight.autograd import gradcheck


@pytest.fixture(autouse=True)
def no_beta_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- derivatives ----

GRADIENTS = {
    "to_dense": lambda s: s.to_dense() ** 2,
    "coalesced values": lambda s: s.coalesce().values() ** 2,
    "product": lambda s: s @ torch.arange(8.0, dtype=torch.float64).view(4, 2),
    "abs": lambda s: (s * 3).abs().to_dense(),
    "transpose": lambda s: s.t().to_dense() ** 2,
    "sum of two": lambda s: (s + s * 2).to_dense() ** 2,
    "square": lambda s: (s * s).to_dense(),
    "with dense": lambda s: (s * torch.arange(12.0, dtype=torch.float64).view(3, 4)).to_dense(),
    "into dense": lambda s: (torch.ones(3, 4, dtype=torch.float64) + s) ** 2,
    "sum": lambda s: s.sum() ** 2,
    "sum of rows": lambda s: s.sum(1).to_dense() ** 2,
    "select": lambda s: s[0].to_dense() ** 2,
    "csr": lambda s: s.coalesce().to_sparse_csr().to_dense() ** 2,
    "mask": lambda s: s.sparse_mask(torch.eye(3, 4).to_sparse()).to_dense() ** 2,
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name):
    values = torch.tensor([0.5, -2.0, 1.5, 3.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v: GRADIENTS[name](uncoalesced(v)), (values,))


def test_gradients_of_dense_tensors():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    s = matrix().to_sparse()
    assert gradcheck(lambda x: x.to_sparse().to_dense() ** 2, (x,))
    assert gradcheck(lambda x, w: x.to_sparse() @ w, (x, w))
    assert gradcheck(lambda w: s @ w, (w,))
    assert gradcheck(lambda w: s.to_sparse_csr() @ w, (w,))
    assert gradcheck(lambda x: (s * x).to_dense(), (x,))


def test_names_of_nodes():
    s = torch.eye(2).to_sparse().requires_grad_()
    names = {
        "ToSparseBackward1": torch.eye(2).requires_grad_().to_sparse(),
        "ToDenseBackward0": s.to_dense(),
        "CoalesceBackward0": (torch.sparse_coo_tensor([[0]], [1.0]) * 1).requires_grad_().coalesce(),
        "ValuesBackward0": s.values(),
        "MulBackward0": s * 2,
        "AddBackward0": s + s,
        "TBackward0": s.t(),
        "MmBackward0": s @ torch.ones(2, 2),
        "SparseCooTensorWithDimsAndTensorsBackward0": torch.sparse_coo_tensor(
            [[0]], torch.ones(1, requires_grad=True)
        ),
    }
    assert {name: t.grad_fn.name() for name, t in names.items()} == {name: name for name in names}


def test_a_leaf_sums_sparse_and_dense_gradients():
    for order in ([0, 1], [1, 0], [0, 0], [0, 0, 1, 0]):
        leaf = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
        g = matrix(seed=3)
        for which in order:
            torch.autograd.backward(leaf * 1 if which else leaf.clone(), g if which else g.to_sparse())
        assert leaf.grad.is_sparse is (1 not in order)
        torch.testing.assert_close(leaf.grad.to_dense(), g * len(order))


def test_sparse_leaf():
    s = matrix().to_sparse().requires_grad_()
    s.to_dense().sum().backward()
    assert s.grad.is_sparse and torch.equal(s.grad.to_dense(), (matrix() != 0).double())
    with pytest.raises(
        RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"
    ):
        s.mul_(2)


# ---- copies and files ----

KEPT = {
    "coo": lambda: uncoalesced(),
    "csr": lambda: matrix().to_sparse_csr(),
    "bsc": lambda: matrix(4, 8).to_sparse_bsc((2, 2)),
    "leaf": lambda: uncoalesced().coalesce().requires_grad_(),
    "empty": lambda: torch.sparse_coo_tensor(size=(2, 2), dtype=torch.float64),
}


@pytest.mark.parametrize("name", KEPT)
def test_copies_and_files(name):
    s = KEPT[name]()
    buffer = io.BytesIO()
    torch.save({"s": s}, buffer)
    buffer.seek(0)
    old = io.BytesIO()
    torch.save(s, old, _use_new_zipfile_serialization=False)
    old.seek(0)
    copies = [
        copy.deepcopy(s),
        copy.copy(s),
        pickle.loads(pickle.dumps(s)),
        torch.load(buffer)["s"],
        torch.load(old),
    ]
    for other in copies:
        assert repr(other.detach()) == repr(s.detach()) and other is not s
    assert copies[0].requires_grad is s.requires_grad
    copies[0].detach()._values().fill_(7)
    assert repr(copies[1].detach()) == repr(s.detach())


@pytest.mark.parametrize("new_format", [True, False])
def test_files_with_indices_outside_are_refused(new_format):
    for bad in (
        torch.sparse_coo_tensor([[5]], [1.0], (2,), check_invariants=False),
        torch.sparse_csr_tensor([0, 1], [5], [1.0], (1, 2), check_invariants=False),
    ):
        buffer = io.BytesIO()
        torch.save(bad, buffer, _use_new_zipfile_serialization=new_format)
        buffer.seek(0)
        with pytest.raises(RuntimeError, match="inconsistent with indices|0 <= col_indices < ncols"):
            torch.load(buffer)


def test_files_both_ways_with_pytorch():
    other = pytest.importorskip("torch")
    for name in ("coo", "csr", "bsc", "empty"):
        for save, load in ((torch, other), (other, torch)):
            for new_format in (True, False):
                buffer = io.BytesIO()
                made = KEPT[name]().detach()
                if save is other:
                    first = io.BytesIO()
                    torch.save(made, first)
                    first.seek(0)
                    made = other.load(first)
                save.save(made, buffer, _use_new_zipfile_serialization=new_format)
                buffer.seek(0)
                assert repr(load.load(buffer)) == repr(made)


def test_cycles_are_collected():
    class Holder:
        pass

    for attach in (
        lambda s, h: setattr(s, "holder", h),
        lambda s, h: setattr(torch._C._delegate_of(s).values, "holder", h),
    ):
        s, holder = torch.eye(2).to_sparse(), Holder()
        holder.tensor = s
        attach(s, holder)
        gone = weakref.ref(holder)
        del s, holder
        gc.collect()
        assert gone() is None


def test_as_parameter_and_buffer():
    net = torch.nn.Module()
    net.w = torch.nn.Parameter(matrix(dtype=torch.float32).to_sparse())
    net.register_buffer("b", matrix(dtype=torch.float32).to_sparse_csr())
    assert net.double().w.dtype == torch.float64 and net.b.dtype == torch.float64
    other = torch.nn.Module()
    other.w, _ = (
        torch.nn.Parameter(matrix(seed=9).to_sparse()),
        other.register_buffer("b", matrix(seed=9).to_sparse_csr()),
    )
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.w.detach().to_dense(), matrix()) and torch.equal(other.b.to_dense(), matrix())


# ---- rushlight.sparse ----

FUNCTIONS = {
    "mm": lambda s, d: torch.sparse.mm(s, d.t()),
    "mm, dense first": lambda s, d: torch.sparse.mm(d.t(), s),
    "mm, both sparse": lambda s, d: torch.sparse.mm(s, s.t()).to_dense(),
    "addmm": lambda s, d: torch.sparse.addmm(d[:, :3], s, d.t(), beta=2, alpha=3),
    "sum": lambda s, d: torch.sparse.sum(s),
    "sum of rows": lambda s, d: torch.sparse.sum(s, 0).to_dense(),
    "softmax": lambda s, d: torch.sparse.softmax(s, 1).to_dense(),
    "log_softmax": lambda s, d: torch.sparse.log_softmax(s, 0).to_dense(),
}


def as_dense(name, x, d):
    """The same with dense tensors."""
    if "softmax" in name:
        kept = x.masked_fill(x == 0, -float("inf"))
        soft = torch.softmax(kept, 1) if name == "softmax" else torch.log_softmax(kept, 0)
        return soft.masked_fill(x == 0, 0.0)
    plain = {"mm": lambda: x @ d.t(), "mm, dense first": lambda: d.t() @ x, "mm, both sparse": lambda: x @ x.t(),
             "addmm": lambda: torch.addmm(d[:, :3], x, d.t(), beta=2, alpha=3), "sum": lambda: x.sum(),
             "sum of rows": lambda: x.sum(0)}  # fmt: skip
    return plain[name]()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    x, d = matrix(seed=2) + torch.eye(3, 4) * 5, torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(FUNCTIONS[name](x.to_sparse(), d), as_dense(name, x, d))
    values = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda v, d: FUNCTIONS[name](uncoalesced(v), d), (values, d.requires_grad_()))


def test_products_keep_the_pattern_of_gradients():
    for other in (torch.ones(4, 2), torch.ones(4, 2).to_sparse()):
        s = matrix(dtype=torch.float32).to_sparse().requires_grad_()
        torch.sparse.mm(s, other).to_dense().sum().backward()
        assert s.grad.is_sparse and torch.equal(s.grad._indices(), s._indices())
    c = matrix(dtype=torch.float32).to_sparse_csr().requires_grad_()
    torch.sparse.mm(c, torch.ones(4, 2)).sum().backward()
    assert c.grad.layout is torch.sparse_csr and torch.equal(c.grad.to_dense(), (matrix() != 0).float() * 2)


def test_sampled_addmm():
    pattern, a, b = torch.eye(3).to_sparse_csr(), torch.randn(3, 5), torch.randn(5, 3)
    got = torch.sparse.sampled_addmm(pattern, a, b, beta=2.0, alpha=0.5)
    torch.testing.assert_close(got.to_dense(), torch.eye(3) * (2 + 0.5 * (a @ b)))


def test_spdiags():
    diagonals, offsets = torch.arange(9.0).reshape(3, 3), torch.tensor([0, -1, 2])
    made = torch.sparse.spdiags(diagonals, offsets, (4, 5))
    assert made.to_dense().tolist() == [[0, 0, 8, 0, 0], [3, 1, 0, 0, 0], [0, 4, 2, 0, 0], [0, 0, 5, 0, 0]]
    assert torch.sparse.spdiags(
        diagonals, offsets, (3, 3), layout=torch.sparse_csr
    ).col_indices().tolist() == [0, 2, 0, 1, 1, 2]
    with pytest.raises(
        RuntimeError, match=r"Number of diagonals \(3\) does not match the number of offsets \(1\)"
    ):
        torch.sparse.spdiags(diagonals, offsets[:1], (3, 3))


# ---- embeddings and optimisers ----

IDS = torch.tensor([[1, 2], [4, 1]])


@pytest.mark.parametrize("padding", [None, 1])
def test_embedding_gradient(padding):
    w = torch.randn(5, 3, requires_grad=True)
    scale = torch.randn(2, 2, 3)
    (torch.nn.functional.embedding(IDS, w, padding, sparse=True) * scale).sum().backward()
    sparse, w.grad = w.grad, None
    (torch.nn.functional.embedding(IDS, w, padding) * scale).sum().backward()
    assert sparse.layout is torch.sparse_coo and sparse._indices().tolist() == [
        [2, 4] if padding else [1, 2, 4, 1]
    ]
    torch.testing.assert_close(sparse.to_dense(), w.grad)
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
        torch.nn.functional.embedding(IDS, w, scale_grad_by_freq=True, sparse=True).sum().backward()


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_embedding_bag_gradient(mode):
    w = torch.randn(5, 3, requires_grad=True)
    torch.nn.functional.embedding_bag(IDS, w, mode=mode, sparse=True).square().sum().backward()
    sparse, w.grad = w.grad, None
    torch.nn.functional.embedding_bag(IDS, w, mode=mode).square().sum().backward()
    assert sparse.is_sparse
    torch.testing.assert_close(sparse.to_dense(), w.grad)


def train(sparse, make):
    """Three steps of an embedding; with all rows in use, so that dense and sparse optimisers agree."""
    torch.manual_seed(0)
    net = torch.nn.Embedding(4, 3, sparse=sparse)
    optimizer = make(net.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        (net(torch.tensor([0, 1, 2, 3, 1])) * torch.arange(1.0, 4.0)).square().sum().backward()
        assert net.weight.grad.is_sparse is sparse
        optimizer.step()
    return net.weight.detach()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.5, maximize=True),
        lambda p: torch.optim.Adagrad(p, 0.1, lr_decay=0.1),
    ],
)
def test_optimisers_of_both_kinds(make):
    torch.testing.assert_close(train(True, make), train(False, make))


def test_sparse_adam_is_adam_where_every_row_is_in_use():
    torch.testing.assert_close(
        train(True, lambda p: torch.optim.SparseAdam(p, 0.1)),
        train(False, lambda p: torch.optim.Adam(p, 0.1)),
    )


def test_optimisers_leave_other_rows_alone():
    for make in (torch.optim.SparseAdam, torch.optim.Adagrad, torch.optim.SGD):
        net = torch.nn.Embedding(6, 2, sparse=True)
        before = net.weight.detach().clone()
        optimizer = make(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            net(torch.tensor([1, 3, 3])).sum().backward()
            optimizer.step()
        changed = (net.weight != before).any(1)
        assert changed.tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.AdamW])
def test_optimisers_that_refuse(make):
    net = torch.nn.Embedding(4, 2, sparse=True)
    net(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        make(net.parameters()).step()
    with pytest.raises(RuntimeError, match="weight_decay option is not compatible with sparse gradients"):
        torch.optim.Adagrad(net.parameters(), weight_decay=0.1).step()


def test_clipping_sparse_gradients():
    net = torch.nn.Embedding(4, 2, sparse=True)
    net(torch.tensor([1, 1, 2])).sum().backward()
    total = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    torch.testing.assert_close(total, torch.tensor(10.0).sqrt())
    torch.testing.assert_close(net.weight.grad.to_dense().norm(), torch.tensor(1.0))
