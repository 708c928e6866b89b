"""What sparse tensors add to Tensor: changes of layout, their parts, and the derivatives of these."""

from .. import _C
from .._C import Tensor
from ..autograd.function import Function, recorded_as
from . import _products, _tensors
from ._constructors import warn_beta
from ._ops import checked_dims, operator
from ._tensors import COMPRESSED, LAYOUT_NAMES, Compressed, Coo, is_sparse, parts


def _method(function):
    """Attach a function to Tensor under its own name."""
    setattr(Tensor, function.__name__, function)
    return function


def _expect(tensor, name, kind, wanted):
    if not wanted(parts(tensor)):
        raise RuntimeError(
            f"{name} expected sparse {kind} tensor layout but got {LAYOUT_NAMES[tensor.layout]}"
        )
    return parts(tensor)


def _coordinates(tensor, name):
    return _expect(tensor, name, "coordinate", lambda p: isinstance(p, Coo))


def _masked(dense_or_sparse, pattern):
    """The values of a gradient where a sparse tensor has elements, in that tensor's layout."""
    source = _tensors.as_coo(pattern)
    if isinstance(parts(pattern), Coo):
        source = pattern = _tensors.coalesce(pattern)
    if is_sparse(dense_or_sparse):
        dense_or_sparse = _tensors.to_dense(dense_or_sparse)
    values = _tensors.gather(dense_or_sparse, parts(source).indices)
    p = parts(pattern)
    if isinstance(p, Coo):
        return _tensors.with_values(pattern, values.contiguous())
    made = _tensors.coo(parts(source).indices, values, pattern.shape)
    return _tensors.to_compressed(made, p.layout, p.block or None)


# ---- changes of layout ----


def _in_layout(tensor, layout, block=None, sparse_dim=None):
    if layout is _C.strided:
        return _tensors.to_dense(tensor) if is_sparse(tensor) else tensor
    if layout is not _C.sparse_coo:
        return _tensors.to_compressed(tensor, layout, block)
    return _tensors.as_coo(tensor) if is_sparse(tensor) else _tensors.to_coo(tensor, sparse_dim)


class _Convert(Function):
    """Another layout; the gradient goes back to the layout of the input."""

    @staticmethod
    def forward(ctx, tensor, layout, block, sparse_dim):
        p = parts(tensor)
        ctx.layout, ctx.block = tensor.layout, p.block if isinstance(p, Compressed) and p.block else None
        return _in_layout(tensor, layout, block, sparse_dim)

    @staticmethod
    def backward(ctx, grad):
        return _convert(grad, ctx.layout, ctx.block), None, None, None


@recorded_as("ToSparseBackward0")
class _ToSparse0(_Convert):
    pass


@recorded_as("ToSparseBackward1")
class _ToSparse1(_Convert):
    pass


@recorded_as("ToSparseCsrBackward0")
class _ToSparseCsr(_Convert):
    pass


@recorded_as("ToSparseCscBackward0")
class _ToSparseCsc(_Convert):
    pass


@recorded_as("ToSparseBsrBackward0")
class _ToSparseBsr(_Convert):
    pass


@recorded_as("ToSparseBscBackward0")
class _ToSparseBsc(_Convert):
    pass


_NODES = {_C.sparse_coo: _ToSparse1, _C.sparse_csr: _ToSparseCsr, _C.sparse_csc: _ToSparseCsc, _C.sparse_bsr: _ToSparseBsr,
          _C.sparse_bsc: _ToSparseBsc}  # fmt: skip


def _convert(tensor, layout, block=None, sparse_dim=None, node=None):
    p = parts(tensor)
    if tensor.layout is layout and (block is None or tuple(block) == p.block):
        return tensor
    if layout is _C.strided:
        return tensor.to_dense()
    if layout in COMPRESSED:
        warn_beta(layout)
    return (node or _NODES[layout]).apply(tensor, layout, block, sparse_dim)


@_method
def to_sparse(self, sparse_dim=None, *, layout=None, blocksize=None, dense_dim=None):
    """A sparse copy with the elements that are not 0; itself where the layout is right already.

    Args:
        sparse_dim: only the first dimensions are sparse, the others stay dense.
        layout: the layout, sparse_coo if not given.
        blocksize: (rows, columns) of the blocks of sparse_bsr and sparse_bsc.
    """
    layout = _C.sparse_coo if layout is None else layout
    if dense_dim:
        raise NotImplementedError("to_sparse: dense_dim is not implemented")
    if sparse_dim is not None:
        if layout is not _C.sparse_coo:
            raise RuntimeError("to_sparse: sparse_dim fits only the layout sparse_coo")
        if is_sparse(self):
            p = parts(self)
            if not isinstance(p, Coo) or p.indices.shape[0] != sparse_dim:
                raise RuntimeError("to_sparse: conversion from Sparse to Sparse with sparse_dim argument !=self.sparse_dim() "
                                   "is not supported")  # fmt: skip
            return self
        return _convert(self, layout, None, sparse_dim, _ToSparse0)
    return _convert(self, layout, blocksize)


@_method
def to_sparse_coo(self):
    """to_sparse() in coordinate layout."""
    return self.to_sparse()


@_method
def to_sparse_csr(self, dense_dim=None):
    """to_sparse() with compressed rows."""
    return self.to_sparse(layout=_C.sparse_csr, dense_dim=dense_dim)


@_method
def to_sparse_csc(self, dense_dim=None):
    """to_sparse() with compressed columns."""
    return self.to_sparse(layout=_C.sparse_csc, dense_dim=dense_dim)


@_method
def to_sparse_bsr(self, blocksize, dense_dim=None):
    """to_sparse() with compressed rows of blocks of the given size."""
    return self.to_sparse(layout=_C.sparse_bsr, blocksize=blocksize, dense_dim=dense_dim)


@_method
def to_sparse_bsc(self, blocksize, dense_dim=None):
    """to_sparse() with compressed columns of blocks of the given size."""
    return self.to_sparse(layout=_C.sparse_bsc, blocksize=blocksize, dense_dim=dense_dim)


@recorded_as("ToDenseBackward0")
class _ToDense(Function):
    @staticmethod
    def forward(ctx, tensor, masked):
        ctx.save_for_backward(tensor)
        ctx.masked = masked
        return _tensors.to_dense(tensor)

    @staticmethod
    def backward(ctx, grad):
        (tensor,) = ctx.saved_tensors
        if is_sparse(grad):
            return grad, None
        if not ctx.masked:
            return grad.to_sparse(layout=tensor.layout), None
        return grad.sparse_mask(tensor), None


@_method
def to_dense(self, dtype=None, *, masked_grad=None):
    """A strided tensor of the same values; a strided tensor itself.

    Args:
        dtype: only for strided tensors.
        masked_grad: False lets the gradient have elements where the sparse tensor has none.
    """
    if not is_sparse(self):
        return self if dtype is None else self.to(dtype)
    if dtype is not None:
        raise RuntimeError("dtype argument is not supported by sparse_to_dense")
    return _ToDense.apply(self, masked_grad is not False)


@recorded_as("SparseMaskBackward0")
class _Mask(Function):
    @staticmethod
    def forward(ctx, tensor, mask):
        ctx.save_for_backward(mask)
        ctx.sparse = is_sparse(tensor)
        return _masked(tensor, mask)

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        grad = grad.sparse_mask(mask)
        return (grad if ctx.sparse else grad.to_dense()), None


@_method
def sparse_mask(self, mask):
    """The values of this tensor where the sparse tensor mask has elements, as a tensor in the layout of mask."""
    if not is_sparse(mask):
        raise RuntimeError("sparse_mask: expected mask to be a sparse tensor")
    if self.shape != mask.shape:
        raise RuntimeError(f"sparse_mask(): operands have incompatible sizes; self has size {list(self.shape)} but mask has "
                           f"size {list(mask.shape)}")  # fmt: skip
    return _Mask.apply(self, mask.detach())


# ---- sums ----


@recorded_as("SparseSumBackward0")
class _Sum(Function):
    """The gradient has elements only where the summed tensor has."""

    @staticmethod
    def forward(ctx, tensor, dim, keepdim, dtype):
        ctx.save_for_backward(tensor)
        ctx.dims, ctx.keepdim = sorted(d % tensor.dim() for d in dim), keepdim
        return _products.sum_dim(tensor, dim, keepdim, dtype)

    @staticmethod
    def backward(ctx, grad):
        (tensor,) = ctx.saved_tensors
        grad = grad.to_dense()
        if not ctx.keepdim:
            for d in ctx.dims:
                grad = grad.unsqueeze(d)
        return grad.expand(tensor.shape).sparse_mask(tensor), None, None, None


@operator("sum.dim")
def _sum_dim(tensor, dim, keepdim=False, dtype=None):
    dim = tuple(range(tensor.dim())) if not dim else tuple(checked_dims(tensor, dim))
    return _Sum.apply(tensor, dim, keepdim, dtype)


_tensors._Sparse.keep_history.add(_sum_dim)


# ---- parts ----


@recorded_as("CoalesceBackward0")
class _Coalesce(Function):
    @staticmethod
    def forward(ctx, tensor):
        return _tensors.coalesce(tensor)

    @staticmethod
    def backward(ctx, grad):
        return grad


@_method
def coalesce(self):
    """A copy where each coordinate appears once, in order; equal ones are added up. Itself where that holds already."""
    return self if _coordinates(self, "coalesce").coalesced else _Coalesce.apply(self)


@_method
def is_coalesced(self):
    """Whether each coordinate appears once, in order."""
    return _coordinates(self, "is_coalesced").coalesced


@_method
def _coalesced_(self, coalesced):
    """Says that the coordinates are, or are not, in order and distinct."""
    p = _coordinates(self, "_coalesced_")
    return _C._set_delegate(self, Coo(p.indices, p.values, bool(coalesced)))


def _raw(tensor, name):
    p = parts(tensor)
    if p is None:
        raise _tensors.not_available(name, "CPU")
    return p


@_method
def _nnz(self):
    """Number of elements that are stored (in each batch)."""
    p = _raw(self, "_nnz")
    return p.indices.shape[1] if isinstance(p, Coo) else p.plain.shape[-1]


@_method
def _indices(self):
    """The coordinates (sparse_dim, nnz), coalesced or not."""
    p = _raw(self, "_indices")
    if not isinstance(p, Coo):
        raise _tensors.not_available("_indices", p.backend)
    return p.indices.detach()


@_method
def _values(self):
    """The stored values, coalesced or not, without history."""
    return _raw(self, "_values").values.detach()


@_method
def indices(self):
    """The coordinates (sparse_dim, nnz) of a coalesced tensor."""
    p = _coordinates(self, "indices")
    if not p.coalesced:
        raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
    return p.indices.detach()


@recorded_as("ValuesBackward0")
class _Values(Function):
    @staticmethod
    def forward(ctx, tensor):
        ctx.save_for_backward(tensor)
        return parts(tensor).values.detach()

    @staticmethod
    def backward(ctx, grad):
        return _tensors.with_values(ctx.saved_tensors[0], grad)


@_method
def values(self):
    """The stored values: (nnz, ...) of a coalesced tensor."""
    p = _expect(self, "values", "coordinate", lambda p: p is not None)
    if isinstance(p, Coo) and not p.coalesced:
        raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
    return _Values.apply(self)


def _compressed_part(name, kind, by_row, part):
    def get(self):
        p = _expect(
            self, name, f"{kind} compressed", lambda p: isinstance(p, Compressed) and p.by_row is by_row
        )
        return getattr(p, part).detach()

    get.__name__, get.__doc__ = name, f"The {name.replace('_', ' ')} of a tensor with compressed {kind}s."
    return _method(get)


_compressed_part("crow_indices", "row", True, "compressed")
_compressed_part("col_indices", "row", True, "plain")
_compressed_part("ccol_indices", "column", False, "compressed")
_compressed_part("row_indices", "column", False, "plain")


@_method
def sparse_dim(self):
    """Number of sparse dimensions, 0 for a strided tensor."""
    p = parts(self)
    return 0 if p is None else p.indices.shape[0] if isinstance(p, Coo) else 2


@_method
def dense_dim(self):
    """Number of dense dimensions."""
    p = parts(self)
    if p is None:
        return self.dim()
    if isinstance(p, Coo):
        return p.values.dim() - 1
    return p.values.dim() - p.plain.dim() - (2 if p.block else 0)
