"""Sparse tensors: what they are made of, how they are built, and the changes between layouts.

A sparse tensor is a tensor with a delegate (Note [Delegates] in core/tensor/tensor.h): a Coo or a Compressed object, which
holds dense tensors of indices and values and finds the operators in a table (_ops.py). Everything here works on those
dense tensors and records nothing; derivatives are in _methods.py.
"""

from .. import _C
from .._C import Tensor

COMPRESSED = (_C.sparse_csr, _C.sparse_csc, _C.sparse_bsr, _C.sparse_bsc)
LAYOUT_NAMES = {_C.strided: "Strided", _C.sparse_coo: "Sparse", _C.sparse_csr: "SparseCsr", _C.sparse_csc: "SparseCsc",
                _C.sparse_bsr: "SparseBsr", _C.sparse_bsc: "SparseBsc"}  # fmt: skip


class _Sparse:
    """Base of the delegates: looks operators up."""

    __slots__ = ()
    is_quantized = False
    table = {}  # name of an operator ("sum.dim", "add_") -> function; filled by _ops.py
    keep_history = set()  # the functions that record for themselves

    # composites that only call other operators
    composed = {"_total_norm", "_scale_"}

    def call(self, name, args):
        function = self.table.get(name)
        if function is None and name in self.composed:
            return NotImplemented
        if function is None:
            raise not_available(name, self.backend)
        if function in self.keep_history:
            return function(*args)
        with _C._no_grad():
            return function(*args)

    @property
    def nbytes(self):
        raise RuntimeError("nbytes is not defined for sparse tensors.  If you want the size of the constituent tensors, "
                           "add the nbytes of the indices and values.  If you want the size of the  equivalent dense "
                           "tensor, multiply numel() by element_size()")  # fmt: skip


class Coo(_Sparse):
    """Coordinates: indices (sparse_dim, nnz) and values (nnz, *dense sizes). Elements of equal coordinates add up."""

    __slots__ = ("coalesced", "indices", "values")
    layout, is_sparse, is_sparse_csr, backend = _C.sparse_coo, True, False, "SparseCPU"

    def __init__(self, indices, values, coalesced):
        self.indices, self.values, self.coalesced = indices.detach(), values.detach(), coalesced


class Compressed(_Sparse):
    """Rows (csr, bsr) or columns (csc, bsc) one after another: where each begins (compressed), the coordinates inside
    (plain), and values, which for bsr and bsc are blocks."""

    __slots__ = ("compressed", "layout", "plain", "values")
    is_sparse, backend = False, "SparseCsrCPU"

    def __init__(self, layout, compressed, plain, values):
        self.layout, self.compressed, self.plain, self.values = (
            layout,
            compressed.detach(),
            plain.detach(),
            values.detach(),
        )

    @property
    def is_sparse_csr(self):
        return self.layout is _C.sparse_csr

    @property
    def by_row(self):
        return self.layout in (_C.sparse_csr, _C.sparse_bsr)

    @property
    def block(self):
        """Sizes of a block, () where values are single elements."""
        batch = self.plain.dim() - 1
        return (
            tuple(self.values.shape[batch + 1 : batch + 3])
            if self.layout in (_C.sparse_bsr, _C.sparse_bsc)
            else ()
        )


def not_available(name, backend):
    """The error of an operator that sparse tensors do not have."""
    return NotImplementedError(
        f"Could not run 'aten::{name}' with arguments from the '{backend}' backend. rushlight has no such operator for this "
        "layout; to_dense() gives a tensor that has all."
    )


def parts(tensor):
    """The Coo or Compressed object of a sparse tensor, None for a dense one."""
    found = _C._delegate_of(tensor)
    return found if isinstance(found, _Sparse) else None


def is_sparse(x):
    """Whether x is a tensor in one of the sparse layouts."""
    return isinstance(x, Tensor) and parts(x) is not None


def tensor_parts(tensor):
    """What files hold of a sparse tensor: arguments of its constructor."""
    p = parts(tensor)
    if isinstance(p, Coo):
        return p.indices, p.values, tensor.shape, p.coalesced
    return p.compressed, p.plain, p.values, tensor.shape


def coo(indices, values, size, coalesced=False):
    """A COO tensor of checked parts."""
    return _C._with_delegate(tuple(size), values.dtype, Coo(indices, values, coalesced))


def compressed(layout, compressed_indices, plain_indices, values, size):
    """A compressed tensor of checked parts."""
    made = Compressed(layout, compressed_indices, plain_indices, values)
    return _C._with_delegate(tuple(size), values.dtype, made)


def with_values(tensor, values, coalesced=None):
    """A tensor with the pattern of another one and other values."""
    p = parts(tensor)
    if isinstance(p, Coo):
        return coo(p.indices, values, tensor.shape, p.coalesced if coalesced is None else coalesced)
    return compressed(p.layout, p.compressed, p.plain, values, tensor.shape)


def replace(tensor, other):
    """Gives a sparse tensor the parts of another one of its shape."""
    new = parts(other)
    if other.dtype != tensor.dtype:
        new = parts(with_values(other, new.values.to(tensor.dtype)))
    return _C._set_delegate(tensor, new)


# ---- coordinates as one number ----


def flatten(indices, sizes):
    """Position of each column of indices (d, n) in a tensor of these sizes, row by row."""
    flat = _C.zeros(indices.shape[1], dtype=_C.int64)
    for row, size in zip(indices.unbind(0), sizes, strict=True):
        flat = flat * size + row
    return flat


def unflatten(flat, sizes):
    """The indices (d, n) behind positions (n,)."""
    rows = []
    for size in reversed(sizes):
        rows.append(flat % size)
        flat = flat // size
    return _C.stack(rows[::-1]) if rows else _C.empty((0, flat.shape[0]), dtype=_C.int64)


def gather(dense, indices):
    """The elements (n, ...) of a strided tensor at the coordinates (d, n)."""
    if indices.shape[0] == 0:
        return dense.unsqueeze(0).expand(indices.shape[1], *dense.shape)
    return dense[tuple(indices)]


def sum_rows(values, where, count):
    """Sums the rows of values (n, ...) that have the same number in where (n,): (count, ...)."""
    kind = _C.int32 if values.dtype == _C.bool else values.dtype
    out = _C.zeros((count, *values.shape[1:]), dtype=kind).index_add_(0, where, values.to(kind))
    return out.to(values.dtype)


# ---- between the layouts ----


def coalesce(tensor):
    """The COO tensor with each coordinate once, in order; itself where that holds already."""
    p = parts(tensor)
    if p.coalesced:
        return tensor
    sizes = tensor.shape[: p.indices.shape[0]]
    if p.values.shape[0] < 2:
        return coo(p.indices.clone(), p.values.clone(), tensor.shape, True)
    flat, place, _ = _C._unique(flatten(p.indices, sizes), False)
    return coo(unflatten(flat, sizes), sum_rows(p.values, place, flat.shape[0]), tensor.shape, True)


def add_to_dense(dense, tensor, alpha=1):
    """dense += alpha * tensor, in place; the tensor is sparse and of the same shape."""
    p = parts(as_coo(tensor))
    values = p.values if isinstance(alpha, int) and alpha == 1 else p.values * alpha
    if p.indices.shape[0] == 0:
        return dense.add_(values.sum(0))
    sizes = tensor.shape[: p.indices.shape[0]]
    if values.numel() and ((p.indices < 0) | (p.indices >= _C.tensor(sizes).unsqueeze(1))).any():
        raise IndexError(f"a sparse tensor of size {tuple(tensor.shape)} has indices outside of it")
    if dense.dtype == _C.bool:
        return dense.index_put_(tuple(p.indices), values.to(_C.bool) | dense[tuple(p.indices)])
    return dense.index_put_(tuple(p.indices), values.to(dense.dtype), accumulate=True)


def to_dense(tensor):
    """A strided tensor with the values of a sparse one."""
    if parts(tensor).values.dtype == _C.bool:
        tensor = coalesce(as_coo(tensor))
    return add_to_dense(_C.zeros(tensor.shape, dtype=tensor.dtype), tensor)


def to_coo(dense, sparse_dim=None):
    """The elements of a strided tensor that are not 0, or the slices along the first sparse_dim dimensions."""
    depth = dense.dim() if sparse_dim is None else sparse_dim
    if not 0 <= depth <= dense.dim():
        raise RuntimeError(
            f"dense_to_sparse: sparse_dim argument must be in [0,{dense.dim()}] range, but {depth} is given"
        )
    if depth == 0 and dense.dim() > 0:
        raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
    present = dense != 0
    if depth < dense.dim():
        present = present.flatten(depth).any(-1)
    indices = _C.nonzero(present).t().contiguous()
    if dense.dim() == 0:
        count = int(present)
        return coo(_C.empty((0, count), dtype=_C.int64), dense.reshape(1)[:count].clone(), (), True)
    return coo(indices, dense[tuple(indices)], dense.shape, True)


def _check_matrix(tensor, what):
    if tensor.dim() < 2:
        raise RuntimeError(f"{what}: expected a tensor with at least 2 dimensions, got {tensor.dim()}")


def to_compressed(tensor, layout, block=None):
    """A tensor of any layout in a compressed one. block: sizes of the blocks of bsr and bsc.

    Batches are compressed one by one, and need equal numbers of elements, as in PyTorch.
    """
    p = parts(tensor)
    if isinstance(p, Compressed) and p.layout is layout and (block is None or tuple(block) == p.block):
        return tensor
    name = str(layout).split(".")[-1].removeprefix("sparse_")
    _check_matrix(tensor, f"to_sparse_{name}")
    blocked = layout in (_C.sparse_bsr, _C.sparse_bsc)
    if blocked and block is None:
        raise RuntimeError(f"to_sparse for {name} needs blocksize")
    if p is None:
        source = tensor
    elif tensor.dim() == 2 and not blocked:
        return _compress(coalesce(as_coo(tensor)), layout)
    else:
        source = to_dense(tensor)
    if not blocked and source.dim() == 2:
        return _compress(to_coo(source), layout)
    if source.dim() > 3 or (blocked and source.dim() > 2):
        raise NotImplementedError(
            f"to_sparse_{name} of a tensor with {source.dim()} dimensions is not implemented"
        )
    if blocked:
        return _compress_blocks(source, layout, tuple(block))
    rows = [_compress(to_coo(matrix), layout) for matrix in source]
    if len({r._nnz() for r in rows}) > 1:
        raise RuntimeError("Expect the same number of specified elements per batch.")
    made = [parts(r) for r in rows]
    stacked = [_C.stack([getattr(m, part) for m in made]) for part in ("compressed", "plain", "values")]
    return compressed(layout, *stacked, source.shape)


def row_starts(sorted_rows, count):
    """Where each of count rows begins in a sorted list, and where the last one ends: (count + 1,)."""
    return _C.searchsorted(sorted_rows.contiguous(), _C.arange(count + 1))


def _compress(tensor, layout):
    """A coalesced COO matrix as csr or csc."""
    p = parts(tensor)
    rows, columns, values = p.indices[0], p.indices[1], p.values
    if layout is _C.sparse_csr:
        return compressed(layout, row_starts(rows, tensor.shape[0]), columns.clone(), values, tensor.shape)
    order = _C.argsort(columns, stable=True)
    return compressed(
        layout, row_starts(columns[order], tensor.shape[1]), rows[order], values[order], tensor.shape
    )


def _compress_blocks(matrix, layout, block):
    high, wide = block
    if high < 1 or wide < 1 or matrix.shape[0] % high or matrix.shape[1] % wide:
        raise RuntimeError(f"tensor sparse size ({matrix.shape[0]},{matrix.shape[1]}) should be divisible by given "
                           f"blocksize ({high},{wide})")  # fmt: skip
    tiles = matrix.reshape(matrix.shape[0] // high, high, matrix.shape[1] // wide, wide).transpose(1, 2)
    present = (tiles != 0).flatten(2).any(-1)  # (rows, columns) of blocks
    inner = _compress(to_coo(present), _C.sparse_csr if layout is _C.sparse_bsr else _C.sparse_csc)
    index = parts(as_coo(inner)).indices
    if layout is _C.sparse_bsc:
        index = index[:, _C.argsort(index[1], stable=True)]
    p = parts(inner)
    return compressed(layout, p.compressed, p.plain, tiles[tuple(index)].contiguous(), matrix.shape)


def as_coo(tensor):
    """A sparse tensor as COO; itself where it is one."""
    p = parts(tensor)
    if isinstance(p, Coo):
        return tensor
    batch = tuple(p.plain.shape[:-1])
    nnz, count = p.plain.shape[-1], p.plain[..., 0].numel() if p.plain.shape[-1] else 1
    lengths = p.compressed.diff(dim=-1).reshape(-1)
    groups = p.compressed.shape[-1] - 1
    major = (
        _C.arange(groups).repeat(max(count, 1)).repeat_interleave(lengths)
        if nnz
        else p.plain.reshape(-1).to(_C.int64)
    )
    minor = p.plain.reshape(-1).to(_C.int64)
    if major.shape != minor.shape:
        raise RuntimeError("the compressed indices of a sparse tensor do not fit its plain indices")
    rows = [major, minor] if p.by_row else [minor, major]
    values = p.values.reshape(-1, *p.values.shape[len(batch) + 1 :])
    outer = (
        [r.repeat_interleave(nnz) for r in unflatten(_C.arange(count), batch)]
        if nnz
        else [minor] * len(batch)
    )
    if not p.block:
        indices = _C.stack([*outer, *rows])
        flat = flatten(indices, tensor.shape[: len(indices)])
        return coo(indices, values, tensor.shape, bool((flat[1:] > flat[:-1]).all()))
    high, wide = p.block
    inside = _C.arange(high * wide)
    rows = [
        (rows[0].unsqueeze(1) * high + inside // wide).reshape(-1),
        (rows[1].unsqueeze(1) * wide + inside % wide).reshape(-1),
    ]
    outer = [o.repeat_interleave(high * wide) for o in outer]
    return coo(_C.stack([*outer, *rows]), values.reshape(-1, *values.shape[3:]), tensor.shape, False)
