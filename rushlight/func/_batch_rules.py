"""Batching rules: how an operator works on all slices at once. They come from the families of the op table; an operator
without a rule runs slice by slice."""

import functools

from .. import _C
from ._batched import NotBatchable, batched_of, levels, unwrap, wrap

Tensor = _C.Tensor


# ---- operators by name ----


@functools.cache
def _table():
    rows = {}
    for row in _C._op_table():
        name = row["name"] + ("." + row["overload"] if row["overload"] else "")
        inside = row["signature"][row["signature"].index("(") + 1 : row["signature"].rindex(") ->")]
        params, keyword, depth, start = [], False, 0, 0
        for i, character in enumerate(inside + ","):
            depth += (character in "[(") - (character in "])")
            if character == "," and depth == 0:
                text = inside[start:i].strip()
                start = i + 1
                if text == "*":
                    keyword = True
                elif text:
                    params.append((text.split("=")[0].split()[-1], keyword))
        rows[name] = row["family"], params, row["composite"]
    return rows


def _row(name):
    """(family, parameters, composite, in place) of an operator or of its in-place form."""
    rows = _table()
    if name in rows:
        base = name.split(".")[0]
        return (*rows[name], base.endswith("_") and not base.startswith("__"))
    base, _, overload = name.partition(".")
    return (*rows[base.removesuffix("_") + ("." + overload if overload else "")], True)


def run(name, args):
    """Calls an operator with all its arguments in order."""
    params = _row(name)[1]
    given = [a for a, (_, keyword) in zip(args, params) if not keyword]
    # what was left out on the right stays left out: it may belong to no overload that the names can tell apart
    named = {p: a for a, (p, keyword) in zip(args, params) if keyword and a is not None}
    while given and given[-1] is None:
        given.pop()
    base = name.split(".")[0]
    function = getattr(_C, base, None) or getattr(Tensor, base)
    return function(*given, **named)


# ---- the entry ----


def _each(args, f):
    return [tuple(f(x) for x in a) if isinstance(a, tuple) else f(a) for a in args]


def apply(name, args):
    """The outputs of an operator, some of whose arguments are batched."""
    found = [b for a in args for x in (a if isinstance(a, tuple) else (a,)) if (b := batched_of(x))]
    level = max((b.level for b in found), key=lambda level: levels.index(level) if level in levels else -1)
    if name in _FORBIDDEN:
        raise _FORBIDDEN[name]()
    base = name.split(".")[0]
    if base in _DYNAMIC:
        raise RuntimeError(
            "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over "
            f"aten::{base}. Please file an issue at https://github.com/pytorch/pytorch/issues if you need this feature."
        )
    pairs = _each(args, lambda x: unwrap(x, level))
    family, params, composite, in_place = _row(name)
    if composite:
        # made of operators that have rules; what reads memory instead has to run slice by slice
        if base in _READS_MEMORY or name in _READS_MEMORY:
            raise NotBatchable
        return NotImplemented
    call = Call(name, [p for p, _ in params], pairs, level, in_place)
    draws = family == "random" or base in _DRAWING
    if not (draws or call.any_batched()):
        result = run(name, [call.plain(a) for a in pairs])
        return None if in_place else _wrapped(result, level, False)
    if draws:
        result = _random(call)
    else:
        rule = RULES.get(name) or RULES.get(base) or FAMILIES.get(family)
        result = rule(call) if rule else None
    if result is None:
        result = one_by_one(call)
    return None if in_place else _wrapped(result, level, True)


def _wrapped(result, level, batched):
    if isinstance(result, (tuple, list)):
        return tuple(None if r is None else wrap(r, level, batched) for r in result)
    return wrap(result, level, batched)


class Call:
    """One application. args: (value, batched) for each argument, tuples of those for lists."""

    def __init__(self, name, params, args, level, in_place):
        self.name, self.params, self.args, self.level, self.in_place = name, params, args, level, in_place

    def tensors(self):
        for a in self.args:
            if self.is_pair(a):
                if isinstance(a[0], Tensor):
                    yield a
            else:
                yield from (pair for pair in a if isinstance(pair[0], Tensor))

    def any_batched(self):
        return any(batched for _, batched in self.tensors())

    @staticmethod
    def is_pair(a):
        return len(a) == 2 and isinstance(a[1], bool)

    def plain(self, a):
        """An argument as the operator takes it."""
        return a[0] if self.is_pair(a) else tuple(x for x, _ in a)

    def value(self, i):
        """The value of a tensor argument with its batch dimension, whether it has one or not."""
        value, batched = self.args[i]
        return value if batched else value.expand(self.level.size, *value.shape)

    def rank(self, i=0):
        value, batched = self.args[i]
        return value.dim() - batched

    def arguments(self):
        return [self.plain(a) for a in self.args]

    def position(self, *names):
        return next((i for i, p in enumerate(self.params) if p in names), None)


# ---- rules ----


def aligned(value, batched, rank):
    """The value with dimensions of size 1 behind the batch, so that slices of this rank broadcast."""
    missing = rank - (value.dim() - 1) if batched else 0
    return value.reshape(value.shape[0], *[1] * missing, *value.shape[1:]) if missing > 0 else value


def pointwise(call):
    tensors = list(call.tensors())
    ranks = [value.dim() - batched for value, batched in tensors]
    rank = max(ranks)
    if call.in_place:
        target, batched = call.args[0]
        if not batched:
            raise RuntimeError(
                "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in "
                "extra_args that has more elements than `self`. This happened due to `other` being vmapped over but `self` "
                "not being vmapped over in a vmap. Please try to use out-of-place operators instead of inplace arithmetic."
            )
        if rank > target.dim() - 1:
            return None
    # a slice without dimensions yields to the others in promotion
    dtypes = {value.dtype for value, _ in tensors}
    common = None
    if len(dtypes) > 1 and 0 in ranks and rank:
        common = functools.reduce(_C.promote_types, [v.dtype for (v, _), r in zip(tensors, ranks) if r])

    def change(pair):
        value, batched = pair
        if not isinstance(value, Tensor):
            return value
        if common is not None and value.dim() == batched and _kind(value.dtype) <= _kind(common):
            value = value.to(common)
        return aligned(value, batched, rank)

    return run(call.name, [change(a) if call.is_pair(a) else tuple(map(change, a)) for a in call.args])


def _kind(dtype):
    return 0 if dtype == _C.bool else 1 if not (dtype.is_floating_point or dtype.is_complex) else 2 + dtype.is_complex


_DIMS = ("dim", "dim0", "dim1", "dim2", "dims", "dimension", "start_dim", "end_dim", "source", "destination")


def _shift(d, rank):
    if not -rank <= d < rank:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {d})")
    return d % rank + 1


def shifted(call, extra=0):
    """The operator on the values, its dimensions counted behind the batch. All tensors have the batch."""
    first, batched = next(call.tensors())
    rank = first.dim() - batched + extra
    if rank == 0:
        return None
    args = []
    for i, (p, a) in enumerate(zip(call.params, call.args)):
        if not call.is_pair(a):
            if p in _DIMS and a and all(isinstance(d, int) for d, _ in a):
                args.append(tuple(_shift(d, rank) for d, _ in a))
            elif any(isinstance(x, Tensor) for x, _ in a):
                if len({v.dim() - b for v, b in a}) > 1:
                    return None  # cat: an empty vector goes with anything
                args.append(tuple(v if b else v.expand(call.level.size, *v.shape) for v, b in a))
            else:
                args.append(call.plain(a))
        elif isinstance(a[0], Tensor):
            if not a[1] and call.in_place and i == 0:
                return None
            args.append(call.value(i))
        else:
            args.append(_shift(a[0], rank) if p in _DIMS and type(a[0]) is int else a[0])
    return run(call.name, args)


def reduction(call):
    rank = call.rank()
    i = call.position("dim")
    if rank == 0:
        return None
    dim = call.args[i] if i is not None else None
    if dim is not None and not call.is_pair(dim) and len(dim):
        return shifted(call)
    if dim is not None and call.is_pair(dim) and type(dim[0]) is int:
        return shifted(call)
    value = call.value(0)
    name = call.name.split(".")[0]
    if i is None and name in ("sum", "mean", "any", "all", "prod", "max", "min"):
        flat = value.flatten(1)
        if name in ("max", "min"):
            return run("a" + name, [flat, (1,)])
        options = {"dtype": call.args[1][0]} if len(call.args) > 1 and call.args[1][0] is not None else {}
        return getattr(_C, name)(flat, 1, **options)
    if i is None or "dtype" not in call.params and name not in ("amax", "amin", "count_nonzero", "any", "all", "logsumexp"):
        return None
    args = call.arguments()
    args[0], args[i] = value, tuple(range(1, rank + 1))
    return run(call.name, args)


def _sizes(*prefix):
    """For view, expand, reshape, repeat: the batch goes before the sizes."""

    def rule(call):
        value = call.value(0)
        sizes = tuple(call.plain(call.args[1]))
        if call.name in ("expand", "repeat"):
            value = aligned(value, True, len(sizes))
        method = "reshape" if call.name == "_unsafe_view" else call.name
        return getattr(value, method)(*(prefix or (value.shape[0],)), *sizes)

    return rule


def _keep(call):
    """Operators on every element that take their tensor as it is."""
    args = call.arguments()
    return run(call.name, args)


def _squeeze(call):
    value = call.value(0)
    return value.squeeze(tuple(d for d in range(1, value.dim()) if value.shape[d] == 1))


def _transposed(call):
    value = call.value(0)
    return value.transpose(1, 2) if value.dim() == 3 else value.view_as(value)


def _permute(call):
    rank, value = call.rank(), call.value(0)
    return value.permute(0, *(_shift(d, rank) for d in call.plain(call.args[1])))


def _as_strided(call):
    value = call.value(0)
    sizes, strides, offset = (call.plain(a) for a in call.args[1:4])
    return value.as_strided((value.shape[0], *sizes), (value.stride(0), *strides), offset)


def _unsqueeze(call):
    return shifted(call, extra=1)


def _copy(call):
    target, batched = call.args[0]
    source, source_batched = call.args[1]
    if not batched:
        raise RuntimeError(
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
            "that has more elements than `self`. This happened due to `other` being vmapped over but `self` not being "
            "vmapped over in a vmap. Please try to use out-of-place operators instead of inplace arithmetic."
        )
    return target.copy_(aligned(source, source_batched, target.dim() - 1))


def _matrix_product(a, b):
    """a @ b of (value, batched) pairs."""
    (x, x_batched), (y, y_batched) = a, b
    x_rank, y_rank = x.dim() - x_batched, y.dim() - y_batched
    if x_rank == 1:
        x = x.unsqueeze(-2)
    if y_rank == 1:
        y = y.unsqueeze(-1)
    rank = max(x_rank, y_rank, 2)
    result = aligned(x, x_batched, rank) @ aligned(y, y_batched, rank)
    if y_rank == 1:
        result = result.squeeze(-1)
    return result.squeeze(-1 if y_rank == 1 else -2) if x_rank == 1 else result


def _product(call):
    return _matrix_product(call.args[0], call.args[1])


def _add_product(call):
    """addmm, addmv, baddbmm: beta * input + alpha * product."""
    options = dict(zip(call.params[3:], call.args[3:]))
    beta, alpha = (options[k][0] if k in options else 1 for k in ("beta", "alpha"))
    product = _matrix_product(call.args[1], call.args[2])
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    start = aligned(*call.args[0], product.dim() - 1)
    return (start if beta == 1 else start * beta) + product


def _embedding(call):
    return run(call.name, call.arguments()) if not call.args[0][1] else None


def _folded(call):
    """Convolution and pooling with weights that all slices share: slices are more samples."""
    value, batched = call.args[0]
    if not batched or any(b for _, b in list(call.tensors())[1:]):
        return None
    if call.rank() < 3 or (call.name.endswith("pool2d") and call.rank() != 4):
        return None
    args = call.arguments()
    args[0] = value.flatten(0, 1)
    result = run(call.name, args)
    return result.unflatten(0, value.shape[:2])


def _stack(call):
    values = [v if b else v.expand(call.level.size, *v.shape) for v, b in call.args[0]]
    dim = call.args[1][0] if len(call.args) > 1 else 0
    return _C.stack(values, _shift(dim, values[0].dim()))


# ---- without a rule ----


def one_by_one(call):
    """The operator on one slice after the other."""
    size = call.level.size

    def slice_of(pair, i):
        return pair[0][i] if pair[1] else pair[0]

    if call.in_place:
        target, batched = call.args[0]
        if not batched:
            raise RuntimeError(
                f"vmap: aten::{call.name}(self, *extra_args) is not possible because there exists a Tensor `other` in "
                "extra_args that is being vmapped over but `self` is not. Please try to use out-of-place operators."
            )
    results = []
    for i in range(size):
        args = [slice_of(a, i) if call.is_pair(a) else tuple(slice_of(x, i) for x in a) for a in call.args]
        results.append(run(call.name, args))
    if call.in_place:
        return ()
    if not size:
        raise NotImplementedError(f"vmap: {call.name} over a batch of size 0")
    if isinstance(results[0], (tuple, list)):
        return tuple(None if column[0] is None else _C.stack(column) for column in zip(*results))
    return _C.stack(results)


# ---- all rules ----

RULES = {
    "view": _sizes(), "view.dtype": _keep, "expand": _sizes(), "repeat": _sizes(1), "_unsafe_view": _sizes(),
    "alias": _keep, "view_as_real": _keep, "view_as_complex": _keep, "clone": _keep, "to_dtype": _keep,
    "masked_fill.Tensor": one_by_one, "masked_fill_.Tensor": one_by_one,
    "zero_": _keep, "fill_.Scalar": _keep, "fill_.Tensor": _copy, "copy_": _copy,
    "squeeze": _squeeze, "t": _transposed, "permute": _permute, "as_strided": _as_strided, "unsqueeze": _unsqueeze,
    "tril": _keep, "triu": _keep, "tril_": _keep, "triu_": _keep,
    "mm": _product, "bmm": _product, "mv": _product, "dot": _product,
    "addmm": _add_product, "addmv": _add_product, "baddbmm": _add_product, "embedding": _embedding,
    "stack": _stack, "_convolution": _folded, "avg_pool2d": _folded, "adaptive_avg_pool2d": _folded,
}  # fmt: skip
RULES |= dict.fromkeys(
    ["squeeze.dim", "transpose", "select", "slice", "diagonal", "unfold", "split", "split.sizes", "unbind", "cumsum",
     "cumprod", "logcumsumexp", "cummax", "cummin", "_softmax",
     "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "sort", "sort.stable", "topk", "kthvalue",
     "median.dim", "nanmedian.dim", "mode", "flip", "cat", "gather", "scatter_add",
     "max.dim", "min.dim"], shifted)  # fmt: skip
FAMILIES = {"pointwise": pointwise, "reduction": reduction}


# ---- random numbers ----

_ERROR_MODE = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
    "flags on vmap or perform the randomness operation out of vmap"
)
_SAME_LOOKING = (
    "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same randomness. If this "
    "is necessary for your usage, please file an issue with functorch."
)
_DRAWING = {"rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"}


class _outside:  # noqa: N801
    """Inside, draws belong to the vmap around a level."""

    def __init__(self, level):
        self.level = level

    def __enter__(self):
        at = levels.index(self.level)
        self.inner = levels[at:]
        del levels[at:]
        set_hook()

    def __exit__(self, *exception):
        levels.extend(self.inner)
        set_hook()


def set_hook():
    _C._set_random_hook(unbatched_draw if levels else None)


def _random(call):
    mode = call.level.randomness
    if mode == "error":
        raise RuntimeError(_ERROR_MODE)
    value, batched = call.args[0]
    if not batched and call.in_place and mode == "different":
        raise RuntimeError(_SAME_LOOKING)
    if not batched and isinstance(value, Tensor):
        call.args[0] = value.expand(call.level.size, *value.shape), True
    with _outside(call.level):
        if mode == "same":
            return _same_draws(call)
        base = call.name.split(".")[0]
        if base in ("multinomial", "_sample_dirichlet"):
            return one_by_one(call)
        return pointwise(call)


def _same_draws(call):
    from ..random import get_rng_state, set_rng_state

    state, results = get_rng_state(), []
    for i in range(call.level.size):
        set_rng_state(state)
        args = [(a[0][i] if a[1] else a[0]) if call.is_pair(a) else call.plain(a) for a in call.args]
        results.append(run(call.name, args))
    return () if call.in_place else _C.stack(results)


def unbatched_draw(name, args):
    """The core asks about calls without batched arguments that make or fill tensors."""
    family, _, _, in_place = _row(name)
    if family != "random" and name.split(".")[0] not in _DRAWING:
        return NotImplemented
    level = levels[-1]
    if level.randomness == "error":
        raise RuntimeError(_ERROR_MODE)
    with _outside(level):
        if level.randomness == "same":
            result = run(name, args)
            return args[0] if in_place else result
        if in_place:
            raise RuntimeError(_SAME_LOOKING)
        return wrap(_C.stack([run(name, args) for _ in range(level.size)]), level)


# ---- what has no slice-wise meaning ----


def _error(text):
    return lambda: RuntimeError(text)


_READS_MEMORY = {"prelu", "take_along_dim", "float_power", "tensor_split.tensor", "recurrent_layer", "index_put", "index_put_",
                 "mvlgamma", "linspace.Tensor_Tensor", "_total_norm", "_scale_", "_fused_adam_", "_fused_sgd_"}  # fmt: skip
_DYNAMIC = {"nonzero", "masked_select", "_unique"}
_FORBIDDEN = {
    "item": _error(
        "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, "
        "please try to rewrite what you're doing with other operations. If error is occurring somewhere inside PyTorch "
        "internals, please file a bug report."
    ),
    "bool": _error(
        "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that "
        "yet, please file an issue at https://github.com/pytorch/pytorch/issues ."
    ),
    "numpy": NotBatchable,
    "tolist": NotBatchable,
    "untyped_storage": _error("Cannot access storage of BatchedTensorImpl"),
}
