"""Operators of sparse tensors that multiply matrices or sum elements up; see _ops.py."""

from .. import _C
from ._ops import add, checked_dims, like, mul, operator
from ._shapes import select, swapped
from ._tensors import _Sparse, as_coo, coalesce, coo, is_sparse, parts, row_starts

# ---- matrix products ----


def _matrix_parts(tensor):
    """Rows, columns and values of a sparse matrix."""
    p = parts(as_coo(tensor))
    if p.indices.shape[0] != 2:
        raise RuntimeError(f"mm: expected a sparse matrix with 2 sparse dimensions, got {p.indices.shape[0]}")
    return p.indices[0], p.indices[1], p.values


def _by_rows(tensor):
    """Where each row of a sparse matrix begins, and the columns and values row by row."""
    p = parts(tensor)
    if p.layout is _C.sparse_csr and tensor.dim() == 2:
        return p.compressed.to(_C.int64), p.plain.to(_C.int64), p.values
    rows, columns, values = _matrix_parts(tensor)
    if bool((rows[1:] < rows[:-1]).any()):
        order = _C.argsort(rows, stable=True)
        rows, columns, values = rows[order], columns[order], values[order]
    return row_starts(rows, tensor.shape[0]), columns, values


def _sparse_times_dense(a, b):
    """(n, k) @ (k, m)"""
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"expected scalar types of sparse and dense to be the same, got {a.dtype} and {b.dtype}"
        )
    return _C._csr_mm(*_by_rows(a), b)


def _sparse_times_sparse(a, b):
    """Every element (i, k) of a meets the row k of b."""
    if a.dtype != b.dtype:
        raise RuntimeError(f"mat1 dtype {a.dtype} does not match mat2 dtype {b.dtype}")
    rows, inner, left = _matrix_parts(a)
    right = parts(coalesce(as_coo(b)))
    starts = row_starts(right.indices[0], b.shape[0])
    lengths = starts.diff()[inner]
    pick = _C.arange(inner.shape[0]).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    place = _C.arange(pick.shape[0]) - before[pick] + starts[inner[pick]]
    indices = _C.stack([rows[pick], right.indices[1][place]])
    return coalesce(coo(indices, left[pick] * right.values[place], (a.shape[0], b.shape[1])))


@operator("mm")
def mm(a, b):
    if a.dim() != 2 or b.dim() != 2:
        raise RuntimeError(f"mm: Expected 2-D tensors, got {a.dim()}-D and {b.dim()}-D")
    if is_sparse(a) and is_sparse(b):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
                               f"{b.shape[0]}x{b.shape[1]})")  # fmt: skip
        return like(a, _sparse_times_sparse(a, b))
    if is_sparse(a):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"addmm: Argument #3 (dense): Expected dim 0 size {a.shape[1]}, got {b.shape[0]}"
            )
        return _sparse_times_dense(a, b)
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
                           f"{b.shape[0]}x{b.shape[1]})")  # fmt: skip
    return _sparse_times_dense(swapped(as_coo(b), 0, 1), a.t()).t().contiguous()


@operator("mv")
def mv(a, b):
    if a.dim() != 2 or b.dim() != 1 or is_sparse(b) or a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mv: expected a sparse matrix and a vector of matching sizes, got {list(a.shape)} and "
                           f"{list(b.shape)}")  # fmt: skip
    return _sparse_times_dense(a, b.unsqueeze(1)).squeeze(1)


@operator("bmm")
def bmm(a, b):
    if a.dim() != 3 or b.dim() != 3 or a.shape[0] != b.shape[0] or is_sparse(b) or a.shape[2] != b.shape[1]:
        raise RuntimeError(f"bmm: expected a sparse and a dense batch of matrices of matching sizes, got {list(a.shape)} and "
                           f"{list(b.shape)}")  # fmt: skip
    return _C.stack([_sparse_times_dense(select(a, 0, i), b[i]) for i in range(a.shape[0])])


@operator("matmul")
def matmul(a, b):
    if a.dim() == 2 and b.dim() == 2:
        return a.mm(b)
    if a.dim() == 2 and b.dim() == 1:
        return a.mv(b)
    if a.dim() == 1 and b.dim() == 2:
        return b.t().mv(a)
    if a.dim() == 3 and b.dim() == 3:
        return a.bmm(b)
    raise NotImplementedError(
        f"matmul of sparse tensors with {a.dim()} and {b.dim()} dimensions is not implemented"
    )


_Sparse.keep_history.add(matmul)  # the products above are recorded


@operator("linear")
def linear(input, weight, bias=None):
    if input.dim() != 2 or is_sparse(input):
        raise NotImplementedError("linear with sparse tensors takes a dense input with 2 dimensions")
    product = input.mm(weight.t())
    return product if bias is None else product + bias


_Sparse.keep_history.add(linear)


@operator("addmm")
def addmm(input, a, b, beta=1, alpha=1):
    product = mm(a, b) if is_sparse(a) or is_sparse(b) else a.mm(b)
    if is_sparse(input) and not is_sparse(product):
        return add(product * alpha, mul(input, beta))
    if is_sparse(product):
        return add(mul(input, beta) if is_sparse(input) else input * beta, product, alpha)
    if input.dtype != product.dtype:
        raise RuntimeError(f"addmm: expected dtype {input.dtype}, got {product.dtype}")
    return input * beta + product * alpha


# ---- reductions ----


@operator("sum")
def sum_all(tensor, dtype=None):
    return parts(tensor).values.sum(dtype=dtype)


def sum_dim(tensor, dim=(), keepdim=False, dtype=None):
    source = as_coo(tensor)
    p = parts(source)
    gone = {d % max(tensor.dim(), 1) for d in checked_dims(tensor, dim)} or set(range(tensor.dim()))
    depth = p.indices.shape[0]
    inner = [d - depth + 1 for d in gone if d >= depth]  # dimensions of the values
    values = (
        p.values.sum(inner, keepdim=keepdim, dtype=dtype) if inner else p.values.sum_to_size(p.values.shape)
    )
    if not inner and (dtype is not None or not (values.is_floating_point() or values.is_complex())):
        values = values.to(dtype or _C.int64)
    kept = [d for d in range(depth) if d not in gone]
    shape = tuple(1 if d in gone else n for d, n in enumerate(tensor.shape) if keepdim or d not in gone)
    if not kept and not keepdim:
        return values.sum(0)
    rows = [
        (_C.zeros_like(row) if d in gone else row)
        for d, row in enumerate(p.indices.unbind(0))
        if keepdim or d not in gone
    ]
    result = coo(_C.stack(rows), values, shape)
    return like(tensor, coalesce(result)) if len(kept) < depth else coo(p.indices, values, shape, p.coalesced)


@operator("any")
def any_element(tensor):
    return parts(coalesce(as_coo(tensor))).values.any()


@operator("linalg_vector_norm")
def vector_norm(tensor, ord=2, dim=None, keepdim=False, dtype=None):
    if dim or keepdim:
        raise NotImplementedError("norms of sparse tensors over some dimensions are not implemented")
    if ord <= 0:
        raise NotImplementedError(
            f"the norm of order {ord} of a sparse tensor is not implemented: it counts zeros"
        )
    return _C.linalg_vector_norm(parts(coalesce(as_coo(tensor))).values, ord, dtype=dtype)
