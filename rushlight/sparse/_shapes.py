"""Operators of sparse tensors that move elements: transposes, selections, joins; see _ops.py."""

from .. import _C
from ._ops import alias, checked_dims, operator
from ._tensors import Coo, as_coo, coalesce, compressed, coo, is_sparse, parts


def swapped(tensor, first, second):
    """A COO tensor with two dimensions exchanged."""
    p = parts(tensor)
    depth = p.indices.shape[0]
    if first == second:
        return alias(tensor)
    size = list(tensor.shape)
    size[first], size[second] = size[second], size[first]
    if (first < depth) != (second < depth):
        raise RuntimeError(f"transpose: can only transpose sparse or dense dimensions with their own kind, got dimensions "
                           f"{first} and {second} of a tensor with {depth} sparse dimensions")  # fmt: skip
    if first >= depth:
        return coo(p.indices, p.values.transpose(first - depth + 1, second - depth + 1), size, p.coalesced)
    order = list(range(depth))
    order[first], order[second] = order[second], order[first]
    return coo(p.indices[_C.tensor(order)], p.values, size)


@operator("transpose", "swapaxes", "swapdims")
def transpose(tensor, dim0, dim1):
    checked_dims(tensor, (dim0, dim1))
    n = max(tensor.dim(), 1)
    first, second = dim0 % n, dim1 % n
    p = parts(tensor)
    if isinstance(p, Coo):
        return swapped(tensor, first, second)
    if tensor.dim() != 2:
        raise NotImplementedError("transpose of a batch of compressed matrices is not implemented")
    if first == second:
        return alias(tensor)
    other = {
        _C.sparse_csr: _C.sparse_csc,
        _C.sparse_csc: _C.sparse_csr,
        _C.sparse_bsr: _C.sparse_bsc,
        _C.sparse_bsc: _C.sparse_bsr,
    }
    values = p.values.transpose(1, 2) if p.block else p.values
    return compressed(other[p.layout], p.compressed, p.plain, values, (tensor.shape[1], tensor.shape[0]))


@operator("t")
def t(tensor):
    p = parts(tensor)
    if tensor.dim() > 2 or (isinstance(p, Coo) and p.values.dim() > 1):
        raise RuntimeError("t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got "
                           f"{p.indices.shape[0]} sparse and {p.values.dim() - 1} dense dimensions")  # fmt: skip
    return transpose(tensor, 0, 1) if tensor.dim() == 2 else alias(tensor)


@operator("reshape")
def reshape(tensor, shape):
    raise RuntimeError("reshape is not implemented for sparse tensors")


@operator("permute")
def permute(tensor, dims):
    p = parts(tensor)
    if len(dims) != tensor.dim():
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not match the length of the "
                           f"desired ordering of dimensions i.e. input.dim() = {tensor.dim()} is not equal to len(dims) = "
                           f"{len(dims)}")  # fmt: skip
    order = [d % max(tensor.dim(), 1) for d in checked_dims(tensor, dims)]
    if len(set(order)) != len(order):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    if not isinstance(p, Coo):
        return alias(tensor) if order == sorted(order) else transpose(tensor, 0, 1)
    depth = p.indices.shape[0]
    sparse, dense = order[:depth], order[depth:]
    if sorted(sparse) != list(range(depth)):
        raise RuntimeError("permute: sparse and dense dimensions cannot be mixed")
    values = p.values.permute([0, *[d - depth + 1 for d in dense]])
    indices = p.indices[_C.tensor(sparse, dtype=_C.int64)]
    return coo(indices, values, [tensor.shape[d] for d in order], p.coalesced and sparse == sorted(sparse))


@operator("unsqueeze")
def unsqueeze(tensor, dim):
    checked_dims(tensor, (dim,), extra=1)
    tensor = as_coo(tensor)
    p, d = parts(tensor), dim % (tensor.dim() + 1)
    depth = p.indices.shape[0]
    size = (*tensor.shape[:d], 1, *tensor.shape[d:])
    if d > depth:
        return coo(p.indices, p.values.unsqueeze(d - depth + 1), size, p.coalesced)
    row = _C.zeros((1, p.indices.shape[1]), dtype=_C.int64)
    return coo(_C.cat([p.indices[:d], row, p.indices[d:]]), p.values, size, p.coalesced)


@operator("select")
def select(tensor, dim, index):
    if tensor.dim() == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    checked_dims(tensor, (dim,))
    d = dim % tensor.dim()
    n = tensor.shape[d]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(tensor.shape)} at dimension {d}"
        )
    source = as_coo(tensor)
    p = parts(source)
    depth, size = p.indices.shape[0], (*tensor.shape[:d], *tensor.shape[d + 1 :])
    if d >= depth:
        return coo(p.indices, p.values.select(d - depth + 1, index), size, p.coalesced)
    hit = _C.nonzero(p.indices[d] == index % n).squeeze(1)
    values = p.values[hit]
    if depth == 1:
        return values.sum(0).to(values.dtype)
    return coo(_C.cat([p.indices[:d], p.indices[d + 1 :]])[:, hit], values, size, p.coalesced)


@operator("select_backward")
def select_backward(grad, sizes, dim, index):
    source = as_coo(grad)
    p, d = parts(source), dim % len(sizes)
    depth = p.indices.shape[0]
    if d > depth:
        values = _C.select_backward(p.values, (p.values.shape[0], *sizes[depth:]), d - depth + 1, index)
        return coo(p.indices, values, sizes, p.coalesced)
    row = _C.full((1, p.indices.shape[1]), index % sizes[d], dtype=_C.int64)
    return coo(_C.cat([p.indices[:d], row, p.indices[d:]]), p.values, sizes, p.coalesced)


@operator("unbind")
def unbind(tensor, dim=0):
    checked_dims(tensor, (dim,))
    if tensor.dim() == 0:
        raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
    return tuple(select(tensor, dim, i) for i in range(tensor.shape[dim]))


@operator("index_select")
def index_select(tensor, dim, index):
    checked_dims(tensor, (dim,))
    d = dim % max(tensor.dim(), 1)
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    index = index.reshape(-1).to(_C.int64)
    n = tensor.shape[d]
    if index.numel() and (int(index.min()) < -n or int(index.max()) >= n):
        outside = next(i for i in index.tolist() if not -n <= i < n)
        raise IndexError(f"index_select(): index contains {outside} that is out of range for tensor of size "
                         f"{list(tensor.shape)} at dimension {d}")  # fmt: skip
    index = _C.where(index < 0, index + n, index)
    source = coalesce(as_coo(tensor))
    p = parts(source)
    depth = p.indices.shape[0]
    size = (*tensor.shape[:d], index.shape[0], *tensor.shape[d + 1 :])
    if d >= depth:
        return coo(p.indices, p.values.index_select(d - depth + 1, index), size, True)
    order = _C.argsort(p.indices[d], stable=True)
    ordered = p.indices[d][order]
    first, last = _C.searchsorted(ordered, index), _C.searchsorted(ordered, index, right=True)
    lengths = last - first
    place = _C.arange(index.shape[0]).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    hit = order[_C.arange(place.shape[0]) - before[place] + first[place]]
    indices = _C.cat([p.indices[:d, hit], place.unsqueeze(0), p.indices[d + 1 :, hit]])
    return coalesce(coo(indices, p.values[hit], size))


@operator("cat")
def cat(tensors, dim=0):
    if not all(is_sparse(x) for x in tensors):
        raise RuntimeError("Concatenating sparse tensors, but a dense tensor was found among them")
    first = tensors[0]
    checked_dims(first, (dim,))
    d = dim % max(first.dim(), 1)
    made = [parts(as_coo(x)) for x in tensors]
    depth = made[0].indices.shape[0]
    for x, p in zip(tensors, made, strict=True):
        if (
            x.shape[:d] != first.shape[:d]
            or x.shape[d + 1 :] != first.shape[d + 1 :]
            or p.indices.shape[0] != depth
        ):
            raise RuntimeError(f"All tensors must have the same shape except in the concatenating dimension, got "
                               f"{list(first.shape)} and {list(x.shape)}")  # fmt: skip
    size = (*first.shape[:d], sum(x.shape[d] for x in tensors), *first.shape[d + 1 :])
    offset, indices, values = 0, [], []
    for x, p in zip(tensors, made, strict=True):
        shifted, part = p.indices.clone(), p.values
        if d < depth:
            shifted[d] += offset
        else:  # rows of zeros before and after
            axis = d - depth + 1
            after = size[d] - offset - x.shape[d]
            wide = [
                _C.zeros((*part.shape[:axis], n, *part.shape[axis + 1 :]), dtype=part.dtype)
                for n in (offset, after)
            ]
            part = _C.cat([wide[0], part, wide[1]], axis)
        offset += x.shape[d]
        indices.append(shifted)
        values.append(part)
    return coo(_C.cat(indices, 1), _C.cat(values), size, d == 0 and all(p.coalesced for p in made))


@operator("stack")
def stack(tensors, dim=0):
    return cat([unsqueeze(x, dim) for x in tensors], dim)
