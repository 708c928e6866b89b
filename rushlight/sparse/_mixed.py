"""Products of a sparse and a dense matrix whose result is sparse: smm, hspmm, sspaddmm and saddmm; and sparse_resize_.

The rows that the sparse factor fills are full in the result, all others are left out. None of them has a derivative.
"""

from .. import _C
from .._C import Tensor
from ._products import _by_rows
from ._tensors import Coo, coo, is_sparse, not_available, parts

__all__ = ["hspmm", "saddmm", "smm", "sspaddmm"]


def _filled_rows(sparse, dense, name):
    """Numbers of the rows that sparse (n, k) fills, and these rows of the product with dense (k, m)."""
    for k, t in ((2, sparse), (3, dense)):
        if t.dim() != 2:
            raise RuntimeError(f"{name}: Argument #{k}: matrices expected, got {t.dim()}D tensor")
    if dense.shape[0] != sparse.shape[1]:
        raise RuntimeError(
            f"{name}: Argument #3: Expected dim 0 size {sparse.shape[1]}, got {dense.shape[0]}"
        )
    if sparse.dtype != dense.dtype:
        raise RuntimeError(
            f"expected scalar type {sparse.dtype._scalar_name} but found {dense.dtype._scalar_name}"
        )
    starts, columns, values = _by_rows(sparse)
    rows = starts.diff().nonzero().squeeze(1)
    return rows, _C._csr_mm(starts, columns, values, dense.detach().contiguous())[rows]


def _given(result, out):
    if out is None:
        return result
    return _C._set_delegate(out, parts(result)) if out.shape == result.shape else out.copy_(result)


def hspmm(mat1, mat2, *, out=None):
    """mat1 @ mat2 for sparse mat1 (n, k) and dense mat2 (k, m), as a sparse tensor of dense rows: one sparse dimension."""
    for t in (mat1, mat2):
        if not isinstance(parts(mat1), Coo):
            raise not_available("hspmm", "CPU" if not is_sparse(t) else "SparseCsrCPU")
    if is_sparse(mat2):
        raise RuntimeError("hspmm: expected a dense second matrix")
    rows, values = _filled_rows(mat1, mat2, "hspmm")
    return _given(coo(rows.unsqueeze(0), values, (mat1.shape[0], mat2.shape[1])), out)


def sspaddmm(input, mat1, mat2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (mat1 @ mat2) for sparse input (n, m) and mat1 (n, k) and dense mat2 (k, m): sparse, the elements
    of both terms one after the other."""
    if not isinstance(parts(input), Coo):
        raise RuntimeError("tensor.sspaddmm(...) can only be called on sparse tensors")
    if not isinstance(parts(mat1), Coo):
        raise RuntimeError("sspaddmm: expected 'mat1' to have sparse layout, got 'mat1' with layout Strided")
    if is_sparse(mat2):
        raise RuntimeError("sspaddmm: expected 'mat2' to have strided layout, got 'mat2' with layout Sparse")
    rows, values = _filled_rows(mat1, mat2, "sspaddmm")
    n, m = mat1.shape[0], mat2.shape[1]
    for dim, size in ((0, n), (1, m)):
        if input.shape[dim] != size:
            raise RuntimeError(
                f"sspaddmm: Argument #1: Expected dim {dim} size {size}, got {input.shape[dim]}"
            )
    old = parts(input)
    places = _C.stack([rows.repeat_interleave(m), _C.arange(m).repeat(rows.numel())])
    indices = _C.cat([old.indices, places], 1)
    return _given(coo(indices, _C.cat([old.values * beta, values.reshape(-1) * alpha]), (n, m)), out)


def saddmm(input, mat1, mat2, *, beta=1, alpha=1, out=None):
    """sspaddmm() under another name."""
    return sspaddmm(input, mat1, mat2, beta=beta, alpha=alpha, out=out)


def smm(input, mat):
    """input @ mat for sparse input (n, k) and dense mat (k, m), as a sparse matrix."""
    if not isinstance(parts(input), Coo):
        raise RuntimeError("tensor.sspaddmm(...) can only be called on sparse tensors")
    m = mat.shape[1] if mat.dim() == 2 else 0
    nothing = coo(_C.zeros(2, 0, dtype=_C.int64), _C.zeros(0, dtype=input.dtype), (input.shape[0], m))
    return sspaddmm(nothing, input, mat)


_OPTIONS = (
    " on a non-empty sparse tensor is not supported. You could try the following options:\n1. If you need an empty sparse "
    "tensor of this size, call `x = torch.sparse_coo_tensor(size)`.\n2. If you need to resize this tensor, you have the "
    "following options:\n\t1. For both sparse and dense dimensions, keep the number of them constant and the size of them "
    "non-shrinking, and then try the same call again.\n\t2. Or, create a new sparse tensor with the correct indices and "
    "values from this sparse tensor."
)


def _check_room(tensor, size, sparse_dim, dense_dim, name):
    if not isinstance(parts(tensor), Coo):
        raise not_available(name, "SparseCsrCPU" if is_sparse(tensor) else "CPU")
    if len(size) != sparse_dim + dense_dim:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, sparse_dim = {sparse_dim}, "
            f"dense_dim = {dense_dim}"
        )


def sparse_resize_(self, size, sparse_dim, dense_dim):
    """Change the size of a sparse tensor in place; one that has elements may only grow, and keeps its numbers of dimensions."""
    size = tuple(size)
    _check_room(self, size, sparse_dim, dense_dim, "sparse_resize_")
    p = parts(self)
    if not p.indices.shape[1]:
        return sparse_resize_and_clear_(self, size, sparse_dim, dense_dim)
    for kind, now, new in (("sparse", self.sparse_dim(), sparse_dim), ("dense", self.dense_dim(), dense_dim)):
        if now != new:
            raise RuntimeError(f"changing the number of {kind} dimensions (from {now} to {new}){_OPTIONS}")
    for kind, part in (("sparse", slice(0, sparse_dim)), ("dense", slice(sparse_dim, None))):
        old, new = list(self.shape[part]), list(size[part])
        if any(b < a for a, b in zip(old, new)):
            raise RuntimeError(f"shrinking the size of {kind} dimensions (from {old} to {new}){_OPTIONS}")
    values = p.values
    if tuple(values.shape[1:]) != size[sparse_dim:]:
        larger = _C.zeros((values.shape[0], *size[sparse_dim:]), dtype=values.dtype)
        larger[tuple(slice(0, n) for n in values.shape)] = values
        values = larger
    return _C._set_delegate(self, Coo(p.indices, values, p.coalesced), size)


def sparse_resize_and_clear_(self, size, sparse_dim, dense_dim):
    """Give a sparse tensor another size, and take all elements from it, in place."""
    size = tuple(size)
    _check_room(self, size, sparse_dim, dense_dim, "sparse_resize_and_clear_")
    indices, values = _C.zeros(sparse_dim, 0, dtype=_C.int64), _C.zeros((0, *size[sparse_dim:]), dtype=self.dtype)
    return _C._set_delegate(self, Coo(indices, values, True), size)


for _function in (smm, sspaddmm, sparse_resize_, sparse_resize_and_clear_):
    setattr(Tensor, _function.__name__, _function)
