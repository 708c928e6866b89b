"""The functions of rushlight.sparse. Their gradients keep the pattern of a sparse argument."""

from .. import _C
from ..autograd.function import Function, recorded_as
from . import _products
from ._constructors import sparse_compressed_tensor, sparse_coo_tensor
from ._ops import checked_dims
from ._tensors import Coo, as_coo, coo, flatten, is_sparse, parts, with_values


def _dense(tensor):
    return tensor.to_dense() if is_sparse(tensor) else tensor


def _at_pattern(left, right, pattern):
    """(left @ right) where a sparse matrix has elements, and only there."""
    pattern = pattern.coalesce() if isinstance(parts(pattern), Coo) else pattern
    rows, columns = parts(as_coo(pattern)).indices
    values = (_dense(left)[rows] * _dense(right).t()[columns]).sum(-1)
    p = parts(pattern)
    if isinstance(p, Coo):
        return with_values(pattern, values)
    return coo(_C.stack([rows, columns]), values, pattern.shape).to_sparse(
        layout=p.layout, blocksize=p.block or None
    )


class _Product(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return _products.mm(a, b)

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        first = second = None
        if ctx.needs_input_grad[0]:
            other = b.t().conj()
            first = _at_pattern(grad, other, a) if is_sparse(a) else grad @ other
        if ctx.needs_input_grad[1]:
            other = a.t().conj()
            second = _at_pattern(other, grad, b) if is_sparse(b) else other @ grad
        return first, second


@recorded_as("SparseAddmmBackward0")
class _SparseDense(_Product):
    pass


@recorded_as("SparseSparseMatmulBackward0")
class _SparseSparse(_Product):
    pass


def mm(mat1, mat2, reduce=None):
    """The product of two matrices, of which one or both are sparse; sparse where both are.

    Args:
        mat1: (n, k)
        mat2: (k, m)
    """
    if reduce not in (None, "sum"):
        raise NotImplementedError(f"sparse.mm with reduce={reduce!r} is not implemented")
    if not is_sparse(mat1) and not is_sparse(mat2):
        return mat1.mm(mat2)
    both = is_sparse(mat1) and is_sparse(mat2)
    return (_SparseSparse if both else _SparseDense).apply(mat1, mat2)


def addmm(mat, mat1, mat2, *, beta=1.0, alpha=1.0):
    """beta * mat + alpha * (mat1 @ mat2), mat1 sparse: (n, m) of (n, m), (n, k) and (k, m)."""
    return mat * beta + mm(mat1, mat2) * alpha


def sum(input, dim=None, dtype=None):
    """The sum of a sparse tensor, a number; over some dimensions, a sparse tensor again.

    The gradient has elements only where the input has.
    """
    if dim is None:
        return input.coalesce().values().sum(dtype=dtype)
    return input.sum(dim, dtype=dtype)


def sampled_addmm(input, mat1, mat2, *, beta=1.0, alpha=1.0):
    """beta * input + alpha * (mat1 @ mat2) at the elements of input (n, m), a tensor with compressed rows."""
    if input.layout is not _C.sparse_csr:
        raise RuntimeError(f"sampled_addmm: Expected self to have sparse csr layout, but got {input.layout}")
    if (
        mat1.dim() != 2
        or mat2.dim() != 2
        or (mat1.shape[0], mat2.shape[1]) != tuple(input.shape)
        or mat1.shape[1] != mat2.shape[0]
    ):
        raise RuntimeError(
            f"sampled_addmm: sizes {list(input.shape)}, {list(mat1.shape)} and {list(mat2.shape)} do not match"
        )
    rows, columns = parts(as_coo(input)).indices
    product = (mat1[rows] * mat2.t()[columns]).sum(-1)
    return sparse_compressed_tensor(input.crow_indices(), input.col_indices(), input.values() * beta + product * alpha,
                                    input.shape, layout=_C.sparse_csr, check_invariants=False)  # fmt: skip


def _grouped(values, group, count):
    """values minus the logarithm of the sum of exponentials of their group."""
    size = (count, *values.shape[1:])
    top = _C.full(size, float("-inf"), dtype=values.dtype).index_reduce_(0, group, values.detach(), "amax")
    shifted = values - top[group]
    return shifted - values.new_zeros(size).index_add(0, group, shifted.exp()).log()[group]


def log_softmax(input, dim, *, dtype=None):
    """log_softmax() over the stored elements of a COO tensor; the others count as -inf."""
    if not is_sparse(input) or not isinstance(parts(input), Coo):
        raise NotImplementedError(
            f"log_softmax and softmax are implemented for the layout sparse_coo, not for {input.layout}"
        )
    checked_dims(input, (dim,))
    if dtype is not None:
        input = input.to(dtype)
    if not input.is_floating_point():
        raise RuntimeError(f"softmax of a sparse tensor needs floating point numbers, got {input.dtype}")
    input = input.coalesce()
    indices, values, d = input.indices(), input.values(), dim % input.dim()
    depth = input.sparse_dim()
    if d >= depth:
        values = values.log_softmax(d - depth + 1)
    else:
        others = [k for k in range(depth) if k != d]
        place = flatten(indices[_C.tensor(others, dtype=_C.int64)], [input.shape[k] for k in others])
        groups, group, _ = _C._unique(place, False)
        values = _grouped(values, group, groups.shape[0])
    return sparse_coo_tensor(indices, values, input.shape, is_coalesced=True, check_invariants=False)


def softmax(input, dim, *, dtype=None):
    """softmax() over the stored elements of a COO tensor; the others stay 0."""
    out = log_softmax(input, dim, dtype=dtype)
    return sparse_coo_tensor(
        out.indices(), out.values().exp(), out.shape, is_coalesced=True, check_invariants=False
    )


def spdiags(diagonals, offsets, shape, layout=None):
    """A sparse matrix of given diagonals.

    Args:
        diagonals: (n, length); element j of a diagonal stands in column j.
        offsets: (n,) which diagonals, 0 the main one, positive above it; each once.
        shape: sizes of the matrix.
        layout: sparse_coo if not given, sparse_csr or sparse_csc.
    """
    diagonals = diagonals.unsqueeze(0) if diagonals.dim() == 1 else diagonals
    offsets = offsets.reshape(1) if offsets.dim() == 0 else offsets
    if diagonals.dim() != 2 or offsets.dim() != 1:
        raise RuntimeError(
            "Diagonals must be vector or matrix"
            if diagonals.dim() != 2
            else "Offsets must be scalar or vector"
        )
    if diagonals.shape[0] != offsets.shape[0]:
        raise RuntimeError(
            f"Number of diagonals ({diagonals.shape[0]}) does not match the number of offsets ({offsets.shape[0]})"
        )
    if offsets.dtype != _C.int64:
        raise RuntimeError(f"Offset Tensor must have dtype Long but got {offsets.dtype}")
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if _C._unique(offsets, False)[0].shape[0] != offsets.shape[0]:
        raise RuntimeError("Offset tensor contains duplicate values")
    if layout not in (None, _C.sparse_coo, _C.sparse_csr, _C.sparse_csc):
        raise RuntimeError(
            f"Only output layouts (Sparse, SparseCsc, and SparseCsr) are supported, got {layout}"
        )
    columns = _C.arange(min(diagonals.shape[1], shape[1])).expand(offsets.shape[0], -1)
    rows = columns - offsets.unsqueeze(1)
    inside = ((rows >= 0) & (rows < shape[0])).nonzero().t()
    indices = _C.stack([rows[tuple(inside)], columns[tuple(inside)]])
    made = sparse_coo_tensor(indices, diagonals[tuple(inside)], tuple(shape), check_invariants=False)
    return made if layout in (None, _C.sparse_coo) else made.to_sparse(layout=layout)


def _legacy_type(name, dtype):
    def make(*args):
        if args and isinstance(args[0], int):
            args = (args,)
        return sparse_coo_tensor(*args, dtype=dtype, check_invariants=True)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"The old way to write sparse_coo_tensor(..., dtype={dtype})."
    return make


DoubleTensor = _legacy_type("DoubleTensor", _C.float64)
FloatTensor = _legacy_type("FloatTensor", _C.float32)
LongTensor = _legacy_type("LongTensor", _C.int64)
IntTensor = _legacy_type("IntTensor", _C.int32)
