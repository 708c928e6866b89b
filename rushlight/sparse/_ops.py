"""The operators of sparse tensors, written with dense operators on indices and values.

Each function stands in the table under the name of the operator whose arguments it takes. Results are recorded with the
derivative of that operator. What is missing here raises NotImplementedError.
"""

from .. import _C
from .._C import Tensor
from ._tensors import (
    LAYOUT_NAMES,
    Coo,
    _Sparse,
    add_to_dense,
    as_coo,
    coalesce,
    compressed,
    coo,
    flatten,
    gather,
    is_sparse,
    not_available,
    parts,
    replace,
    sum_rows,
    to_compressed,
    to_dense,
    with_values,
)


def operator(*names):
    """Decorator: the function carries out the operators of these names."""

    def add(function):
        for name in names:
            _Sparse.table[name] = function
        return function

    return add


def _is_number(x):
    """A Python number, or a dense tensor that acts as one."""
    return not isinstance(x, Tensor) or (x.dim() == 0 and not is_sparse(x))


def _like(tensor, result):
    """A COO result in the layout of tensor, if it has the dimensions for it."""
    p = parts(tensor)
    return (
        result
        if isinstance(p, Coo) or result.dim() != tensor.dim()
        else to_compressed(result, p.layout, p.block or None)
    )


# ---- copies and conversions ----


@operator("clone")
def clone(tensor, memory_format=None):
    p = parts(tensor)
    if isinstance(p, Coo):
        return coo(p.indices.clone(), p.values.clone(), tensor.shape, p.coalesced)
    return compressed(p.layout, p.compressed.clone(), p.plain.clone(), p.values.clone(), tensor.shape)


@operator("alias", "positive", "resolve_conj", "resolve_neg")
def alias(tensor):
    return with_values(tensor, parts(tensor).values)


@operator("to_dtype")
def to_dtype(tensor, dtype):
    return with_values(tensor, parts(tensor).values.to(dtype))


@operator("zeros_like", "empty_like")
def zeros_like(tensor, dtype=None, device=None, memory_format=None):
    p, dtype = parts(tensor), dtype or tensor.dtype
    if device is not None and device.type != "cpu":
        raise NotImplementedError(f"sparse tensors on the device {device} are not implemented")
    if isinstance(p, Coo):
        indices = p.indices[:, :0].clone()
        return coo(indices, _C.empty((0, *p.values.shape[1:]), dtype=dtype), tensor.shape, True)
    plain = p.plain[..., :0].clone()
    axis = plain.dim() - 1
    shape = (*p.values.shape[:axis], 0, *p.values.shape[axis + 1 :])
    return compressed(
        p.layout, _C.zeros_like(p.compressed), plain, _C.empty(shape, dtype=dtype), tensor.shape
    )


@operator("zero_")
def zero_(tensor):
    return replace(tensor, zeros_like(tensor))


@operator("copy_")
def copy_(tensor, source, non_blocking=False):
    if not (is_sparse(tensor) and is_sparse(source)):
        raise RuntimeError("copy_() between dense and sparse Tensors is not implemented! Found self type = "
                           f"{tensor.type()} and src type = {source.type()}")  # fmt: skip
    if tensor.shape != source.shape:
        raise RuntimeError(f"copy_: the sizes {list(tensor.shape)} and {list(source.shape)} differ")
    if tensor.layout is not source.layout:
        raise RuntimeError("copy of sparse tensors requires the same layout, but got "
                           f"{tensor.layout} and {source.layout}")  # fmt: skip
    return replace(tensor, clone(source))


@operator("contiguous")
def contiguous(tensor, memory_format=None):
    raise RuntimeError("unsupported memory format option Contiguous")


@operator("numpy")
def numpy(tensor):
    raise TypeError(
        f"can't convert {LAYOUT_NAMES[tensor.layout]} layout tensor to numpy. Use Tensor.to_dense() first."
    )


@operator("tolist")
def tolist(tensor):
    raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")


@operator("item")
def item(tensor):
    return to_dense(tensor).item()


@operator("untyped_storage")
def untyped_storage(tensor):
    name = "SparseTensorImpl" if isinstance(parts(tensor), Coo) else "SparseCsrTensorImpl"
    raise NotImplementedError(f"Cannot access storage of {name}")


# ---- element by element ----

# f(0) = 0; PyTorch adds equal coordinates up before it applies them
_ZERO_TO_ZERO = ("abs", "sign", "sgn", "sqrt", "sin", "sinh", "tan", "tanh", "asin", "asinh", "atan", "atanh", "floor", "ceil",
                 "round", "trunc", "expm1", "log1p", "relu", "deg2rad", "rad2deg", "erf", "erfinv", "square", "isnan",
                 "isinf", "isposinf", "isneginf", "signbit", "nan_to_num", "frac")  # fmt: skip


def _same_dtype(tensor, values):
    if not _C.can_cast(values.dtype, tensor.dtype):
        raise RuntimeError(
            f"result type {values.dtype} can't be cast to the desired output type {tensor.dtype}"
        )
    return values.to(tensor.dtype)


def _unary(name):
    function = getattr(_C, name)

    def call(values, *args):
        return function(values, decimals=args[0]) if name == "round" else function(values, *args)

    def apply(tensor, *args):
        if isinstance(parts(tensor), Coo):
            tensor = coalesce(tensor)
        return with_values(tensor, call(parts(tensor).values, *args))

    def apply_(tensor, *args):
        p = parts(tensor)
        if isinstance(p, Coo) and not p.coalesced:
            raise RuntimeError(f"{name}_ requires coalesced input")
        return replace(tensor, with_values(tensor, _same_dtype(tensor, call(p.values, *args))))

    operator(name)(apply)
    operator(name + "_")(apply_)


for _name in _ZERO_TO_ZERO:
    _unary(_name)


@operator("neg")
def neg(tensor):
    return with_values(tensor, -parts(tensor).values)


@operator("neg_")
def neg_(tensor):
    parts(tensor).values.neg_()
    return tensor


@operator("conj", "_conj")
def conj(tensor):
    return with_values(tensor, parts(tensor).values.conj())


@operator("real")
def real(tensor):
    return with_values(tensor, parts(tensor).values.real)


@operator("pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar")
def pow(tensor, exponent):
    if not is_sparse(tensor) or not _is_number(exponent):
        raise not_available("pow.Tensor_Tensor", "SparseCPU")
    if exponent == 0:
        raise RuntimeError(
            "pow: cannot raise to zeroth power on sparse tensor; it would make the result tensor dense"
        )
    tensor = coalesce(tensor) if isinstance(parts(tensor), Coo) else tensor
    return with_values(tensor, parts(tensor).values.pow(exponent))


# ---- sums and differences ----


def _scaled(values, alpha):
    return values if isinstance(alpha, int) and alpha == 1 else values * alpha


def _check_sizes(a, b):
    if a.shape != b.shape:
        raise RuntimeError(
            f"add: expected sizes of 'self' and 'other' to match, but {list(a.shape)} != {list(b.shape)}"
        )


@operator("add")
def add(a, b, alpha=1):
    if not is_sparse(b):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if not is_sparse(a):
        _check_dense(a, b)
        return add_to_dense(a.to(_C.promote_types(a.dtype, b.dtype), copy=True), b, alpha)
    _check_sizes(a, b)
    first, second = parts(as_coo(a)), parts(as_coo(b))
    if first.indices.shape[0] != second.indices.shape[0]:
        raise RuntimeError("add: expected 'self' and 'other' to have same number of sparse dimensions, but "
                           f"{first.indices.shape[0]} != {second.indices.shape[0]}")  # fmt: skip
    dtype = _C.promote_types(a.dtype, b.dtype)
    left, right = first.values.to(dtype), _scaled(second.values.to(dtype), alpha)
    both = first.coalesced and second.coalesced
    if first.indices.shape == second.indices.shape and bool((first.indices == second.indices).all()):
        return _like(a, coo(first.indices.clone(), left + right, a.shape, both))
    joined = coo(_C.cat([first.indices, second.indices], 1), _C.cat([left, right]), a.shape)
    return _like(a, coalesce(joined) if both else joined)


def _check_dense(a, b):
    if a.shape != b.shape:
        raise RuntimeError(
            f"add: expected 'self' and 'other' to have same size, but self has size {list(a.shape)} while other has size "
            f"{list(b.shape)} (FYI: dense-sparse addition does not currently support broadcasting)"
        )


@operator("add_")
def add_(a, b, alpha=1):
    if not is_sparse(b):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    dtype = _C.promote_types(a.dtype, b.dtype)
    if not _C.can_cast(dtype, a.dtype):
        raise RuntimeError(f"result type {dtype} can't be cast to the desired output type {a.dtype}")
    if is_sparse(a):
        return replace(a, add(a, b, alpha))
    _check_dense(a, b)
    return add_to_dense(a, b, alpha)


@operator("sub")
def sub(a, b, alpha=1):
    return add(a, b, -alpha)


@operator("sub_")
def sub_(a, b, alpha=1):
    return add_(a, b, -alpha)


@operator("rsub", "rsub.Tensor")
def rsub(a, b, alpha=1):
    b = b if isinstance(b, Tensor) else _C.tensor(b)
    return add(b, a, -alpha)


# ---- products and quotients ----


def _common(a, b):
    """Coordinates that two coalesced COO tensors share, and the values of each there."""
    first, second = parts(a), parts(b)
    depth = first.indices.shape[0]
    if a.dim() != b.dim() or depth != second.indices.shape[0] or a.shape[:depth] != b.shape[:depth]:
        raise RuntimeError("sparse_binary_op_intersection_cpu(): expects sparse inputs with equal dimensionality, number of "
                           "sparse dimensions, and shape of sparse dimensions")  # fmt: skip
    here, there = flatten(first.indices, a.shape[:depth]), flatten(second.indices, b.shape[:depth])
    if not there.numel():
        none = here[:0]
        return first.indices[:, :0], first.values[none], second.values[none]
    at = _C.searchsorted(there, here).clamp(max=there.shape[0] - 1)
    hit = _C.nonzero(there[at] == here).squeeze(1)
    return first.indices[:, hit], first.values[hit], second.values[at[hit]]


@operator("mul")
def mul(a, b):
    if not is_sparse(a):
        a, b = b, a
    if _is_number(b):
        return with_values(a, parts(a).values * b)
    if is_sparse(b):
        indices, left, right = _common(coalesce(as_coo(a)), coalesce(as_coo(b)))
        values = left * right
        return _like(a, coo(indices, values, (*a.shape[: indices.shape[0]], *values.shape[1:]), True))
    if b.dim() > a.dim() or any(n not in (1, m) for n, m in zip(b.shape[::-1], a.shape[::-1])):
        raise NotImplementedError(f"a sparse tensor of size {list(a.shape)} cannot be broadcast to a dense one of size "
                                  f"{list(b.shape)}")  # fmt: skip
    source = as_coo(a)
    p = parts(source)
    return _like(a, coo(p.indices, p.values * gather(b.expand(a.shape), p.indices), a.shape, p.coalesced))


@operator("mul_")
def mul_(a, b):
    if not is_sparse(a):
        raise not_available("mul_", "SparseCPU")
    if _is_number(b):
        parts(a).values.mul_(b)
        return a
    result = mul(a, b)
    return replace(a, with_values(result, _same_dtype(a, parts(result).values)))


def _check_divisor(a, b):
    if not is_sparse(a) or not _is_number(b):
        shape = list(b.shape) if isinstance(b, Tensor) else []
        raise RuntimeError("Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
                           f"{shape} for divisor)")  # fmt: skip


@operator("div")
def div(a, b, rounding_mode=None):
    _check_divisor(a, b)
    if rounding_mode is not None and isinstance(parts(a), Coo):
        a = coalesce(a)
    return with_values(a, parts(a).values.div(b, rounding_mode=rounding_mode))


@operator("_div_scalar")
def div_scalar(a, b):
    return div(a, b)


@operator("floor_divide")
def floor_divide(a, b):
    return div(a, b, "floor")


@operator("div_", "floor_divide_")
def div_(a, b, rounding_mode=None):
    return replace(a, with_values(a, _same_dtype(a, parts(div(a, b, rounding_mode)).values)))


# ---- matrix products ----


def _matrix_parts(tensor):
    """Rows, columns and values of a sparse matrix."""
    p = parts(as_coo(tensor))
    if p.indices.shape[0] != 2:
        raise RuntimeError(f"mm: expected a sparse matrix with 2 sparse dimensions, got {p.indices.shape[0]}")
    return p.indices[0], p.indices[1], p.values


def _sparse_times_dense(a, b):
    """(n, k) @ (k, m), b with trailing columns: rows of b, scaled and summed."""
    rows, columns, values = _matrix_parts(a)
    dtype = _C.promote_types(a.dtype, b.dtype)
    if a.dtype != b.dtype:
        raise RuntimeError(
            f"expected scalar types of sparse and dense to be the same, got {a.dtype} and {b.dtype}"
        )
    return sum_rows(b[columns] * values.unsqueeze(1), rows, a.shape[0]).to(dtype)


def _sparse_times_sparse(a, b):
    """Every element (i, k) of a meets the row k of b."""
    if a.dtype != b.dtype:
        raise RuntimeError(f"mat1 dtype {a.dtype} does not match mat2 dtype {b.dtype}")
    rows, inner, left = _matrix_parts(a)
    right = parts(coalesce(as_coo(b)))
    starts = _C.searchsorted(right.indices[0].contiguous(), _C.arange(b.shape[0] + 1))
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
        return _like(a, _sparse_times_sparse(a, b))
    if is_sparse(a):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"addmm: Argument #3 (dense): Expected dim 0 size {a.shape[1]}, got {b.shape[0]}"
            )
        return _sparse_times_dense(a, b)
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and "
                           f"{b.shape[0]}x{b.shape[1]})")  # fmt: skip
    return _sparse_times_dense(_swapped(as_coo(b), 0, 1), a.t()).t().contiguous()


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
    return (
        _like(tensor, coalesce(result)) if len(kept) < depth else coo(p.indices, values, shape, p.coalesced)
    )


def checked_dims(tensor, dims, extra=0):
    """dims, or () for none; IndexError where one is out of range of the dimensions and `extra` more."""
    n = tensor.dim() + extra
    for d in dims or ():
        if not -n <= d < max(n, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})"
            )
    return dims or ()


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


# ---- shapes ----


def _swapped(tensor, first, second):
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
        return _swapped(tensor, first, second)
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
