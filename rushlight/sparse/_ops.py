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
    to_compressed,
    to_dense,
    unflatten,
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


def like(tensor, result):
    """A COO result in the layout of tensor, if it has the dimensions for it."""
    p = parts(tensor)
    return (
        result
        if isinstance(p, Coo) or result.dim() != tensor.dim()
        else to_compressed(result, p.layout, p.block or None)
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


@operator("item", "bool")
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


def _write(tensor, change):
    """Changes the values in their memory; where several of them share one place, in memory of their own."""
    values = parts(tensor).values
    if values.is_contiguous():
        change(values)
        return tensor
    return replace(tensor, with_values(tensor, change(values.clone())))


@operator("neg_")
def neg_(tensor):
    return _write(tensor, lambda values: values.neg_())


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
    matching = first.indices.shape == second.indices.shape and bool((first.indices == second.indices).all())
    if matching and left.is_contiguous() and right.is_contiguous():
        return like(a, coo(first.indices.clone(), left + right, a.shape, both))
    if both:
        return like(a, _merged(first.indices, left, second.indices, right, a.shape))
    return like(a, coo(_C.cat([first.indices, second.indices], 1), _C.cat([left, right]), a.shape))


def _merged(indices, values, others, other_values, size):
    """The sum of two coalesced tensors, given by their indices and their values of one dtype."""
    sizes = size[: indices.shape[0]]
    flat, place, place_of_others = _C._merge_positions(flatten(indices, sizes), flatten(others, sizes))
    kind = _C.int32 if values.dtype == _C.bool else values.dtype
    total = _C.zeros((flat.shape[0], *values.shape[1:]), dtype=kind).index_copy_(0, place, values.to(kind))
    total.index_add_(0, place_of_others, other_values.to(kind))
    return coo(unflatten(flat, sizes), total.to(values.dtype), size, True)


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
        return like(a, coo(indices, values, (*a.shape[: indices.shape[0]], *values.shape[1:]), True))
    if b.dim() > a.dim() or any(n not in (1, m) for n, m in zip(b.shape[::-1], a.shape[::-1])):
        raise NotImplementedError(f"a sparse tensor of size {list(a.shape)} cannot be broadcast to a dense one of size "
                                  f"{list(b.shape)}")  # fmt: skip
    source = as_coo(a)
    p = parts(source)
    return like(a, coo(p.indices, p.values * gather(b.expand(a.shape), p.indices), a.shape, p.coalesced))


@operator("mul_")
def mul_(a, b):
    if not is_sparse(a):
        raise not_available("mul_", "SparseCPU")
    if _is_number(b):
        return _write(a, lambda values: values.mul_(b))
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


@operator("_fused_sgd_")
def no_fused_step(*args):
    """Steps with sparse gradients are left to the optimiser's own lines, as core/ops/fused.cpp says of what it does not take."""
    return ()
