"""vmap: a function over batches from one over single elements. Batched tensors and their rules are in _batched.py and
_batch_rules.py; here are the arguments and results."""

import functools
from collections import namedtuple

from .. import _C
from ..autograd import function as _function
from ..autograd import set_grad_enabled
from ._batch_rules import set_hook
from ._batched import Level, NotBatchable, batched_of, levels, slices, unwrap, wrap
from ._tree import describe, flatten, leaves_of

Tensor = _C.Tensor


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """A function over batches from one over single elements: every operator works on all slices at once.

    Args:
        in_dims: dimension of each argument to slice along, None for arguments that all slices share; nested as they are.
        out_dims: where the batch dimension of each output goes.
        randomness: "error" (drawing random numbers raises), "different" (each slice draws its own) or "same".
        chunk_size: how many slices to compute at a time; all by default.

    >>> rl.vmap(rl.dot)(rl.ones(3, 2), rl.ones(3, 2))
    tensor([2., 2., 2.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        flat, build = flatten(args)
        dims = _in_dims(func, in_dims, args, flat)
        size = _batch_size(flat, dims)
        values = [x if d is None else x.movedim(d, 0) for x, d in zip(flat, dims)]
        if chunk_size is None or chunk_size >= size:
            return _run(func, values, dims, build, kwargs, size, out_dims, randomness)
        parts = []
        for start in range(0, size, chunk_size):
            some = [x if d is None else x[start : start + chunk_size] for x, d in zip(values, dims)]
            count = min(chunk_size, size - start)
            parts.append(_run(func, some, dims, build, kwargs, count, out_dims, randomness))
        flats, build_out = [leaves_of(p) for p in parts], flatten(parts[0])[1]
        places = _out_dims(func, out_dims, parts[0])
        joined = [c[0] if d is None else _C.cat(c, d) for c, d in zip(zip(*flats), places)]
        return build_out(iter(joined))

    return wrapper


def _run(func, values, dims, build, kwargs, size, out_dims, randomness):
    """One chunk: values with the batch first where dims has one."""
    level = Level(size, randomness)
    levels.append(level)
    set_hook()
    try:
        arguments = build(iter([x if d is None else wrap(x, level) for x, d in zip(values, dims)]))
        output = func(*arguments, **kwargs)
        places = _out_dims(func, out_dims, output)
        flat, build_out = flatten(output)
        joined = [_joined(func, x, d, level) for x, d in zip(flat, places)]
    except NotBatchable:
        joined = None
    finally:
        levels.remove(level)
        set_hook()
    if joined is None:
        return _slice_by_slice(func, values, dims, build, kwargs, size, out_dims, randomness)
    return build_out(iter(joined))


def _joined(func, x, dim, level):
    if dim is None:
        delegate = batched_of(x)
        if delegate is not None and delegate.level is level and delegate.batched:
            raise ValueError(
                f"vmap({_name(func)}, ...): `{_name(func)}` can not return a BatchedTensor when out_dim is None"
            )
        return delegate.value if delegate is not None and delegate.level is level else x
    if not isinstance(x, Tensor):
        raise ValueError(f"vmap({_name(func)}, ...): `{_name(func)}` must only return Tensors, got type {type(x)}. "
                         "Did you mean to set out_dims= to None for output?")  # fmt: skip
    return slices(x, level).movedim(0, dim)


def _slice_by_slice(func, values, dims, build, kwargs, size, out_dims, randomness):
    """For functions that leave the world of operators: one slice after the other, and stacked."""
    if not size:
        raise NotImplementedError("vmap: a batch of size 0 of a function that is not made of operators")
    from ..random import get_rng_state, set_rng_state

    state, results = get_rng_state(), []
    for i in range(size):
        if randomness == "same":
            set_rng_state(state)
        results.append(func(*build(iter([x if d is None else x[i] for x, d in zip(values, dims)])), **kwargs))
    places = _out_dims(func, out_dims, results[0])
    columns = zip(*[leaves_of(r) for r in results])
    return flatten(results[0])[1](iter([c[0] if d is None else _C.stack(c, d) for c, d in zip(columns, places)]))


# ---- custom functions with a rule of their own ----

VmapInfo = namedtuple("VmapInfo", ["batch_size", "randomness"])


def _apply_batched(cls, args, kwargs):
    """A Function whose forward() is the rule of cls for the innermost vmap; None where no argument is batched there."""
    if not levels:
        return None
    level = levels[-1]
    if not any(unwrap(x, level)[1] for x in leaves_of((args, kwargs))):
        return None
    advice = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"
    if cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap "
            "staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid "
            f"ambiguity. {advice}"
        )
    if cls.setup_context is _function.Function.setup_context:
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must "
            f"override the setup_context staticmethod. {advice}"
        )

    recording = _C.is_grad_enabled()  # what is recorded on the values belongs to the world outside vmap

    def forward(*inner):
        flat, build = flatten(inner)
        parts = [unwrap(x, level) for x in flat]
        dims = build(iter([0 if batched else None for _, batched in parts]))
        levels.remove(level)
        set_hook()
        try:
            with set_grad_enabled(recording):
                rule = cls.vmap(VmapInfo(level.size, level.randomness), dims, *build(iter([v for v, _ in parts])))
                if not (isinstance(rule, tuple) and len(rule) == 2):
                    raise RuntimeError(
                        f"Expected the vmap staticmethod to have two returns, an output and out_dims, got {rule!r}"
                    )
                output, places = rule
                values, build_out = flatten(output)
                places = _spread(places, output)
                if places is None:
                    raise ValueError(f"{cls.__name__}.vmap: out_dims does not have the structure of the output")
                values = [x if d is None else x.movedim(d, 0) for x, d in zip(values, places)]
        finally:
            levels.append(level)
            set_hook()
        return build_out(iter([wrap(x, level, d is not None) for x, d in zip(values, places)]))

    return type(cls.__name__, (cls,), {"forward": staticmethod(forward), "vmap": _function.Function.vmap,
                                       "__module__": cls.__module__})  # fmt: skip


_function.apply_batched = _apply_batched


# ---- dimensions ----


def _name(func):
    return getattr(func, "__name__", repr(func))


def _in_dims(func, in_dims, args, flat):
    name = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(f"{name}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of "
                         f"inputs, got: {type(in_dims)}.")  # fmt: skip
    if not args:
        raise ValueError(
            f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    dims = _spread(in_dims, args)
    if dims is None:
        raise ValueError(f"{name}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
                         f"{describe(in_dims)} but inputs has structure {describe(args)}.")  # fmt: skip
    for x, d in zip(flat, dims):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(f"{name}: Got in_dim={d} for an input but in_dim must be either an integer dimension or None.")
        if not isinstance(x, Tensor):
            raise ValueError(f"{name}: Got in_dim={d} for an input but the input is of type {type(x)}. We cannot vmap over "
                             "non-Tensor arguments, please use None as the respective in_dim")  # fmt: skip
        if not -x.dim() <= d < x.dim():
            raise ValueError(f"{name}: Got in_dim={d} for some input, but that input is a Tensor of dimensionality {x.dim()} "
                             f"so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}.")  # fmt: skip
    if all(d is None for d in dims):
        raise ValueError(f"{name}: at least one input must be batched")
    return dims


def _batch_size(flat, dims):
    sizes = [x.shape[d] for x, d in zip(flat, dims) if d is not None]
    if len(set(sizes)) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped "
            "dimension"
        )
    return sizes[0]


def _spread(dims, tree):
    """One dim per leaf of tree, from dims given for whole branches; None where they do not fit."""
    if not isinstance(dims, (tuple, list, dict)):
        return [dims] * len(leaves_of(tree))
    if not isinstance(tree, (tuple, list, dict)) or len(dims) != len(tree):
        return None
    if isinstance(dims, dict):
        if not isinstance(tree, dict) or set(dims) != set(tree):
            return None
        pairs = [(dims[k], tree[k]) for k in tree]
    else:
        pairs = list(zip(dims, tree.values() if isinstance(tree, dict) else tree))
    parts = [_spread(d, branch) for d, branch in pairs]
    return None if any(p is None for p in parts) else [d for p in parts for d in p]


def _out_dims(func, out_dims, output):
    if not (out_dims is None or isinstance(out_dims, (int, tuple, list, dict))):
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of ints "
            "representing where in the outputs the vmapped dimension should appear."
        )
    if isinstance(out_dims, tuple) and len(out_dims) == 1 and isinstance(output, Tensor):
        return [out_dims[0]]
    places = _spread(out_dims, output)
    if places is None:
        raise ValueError(
            f"vmap({_name(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of "
            f"`outputs`. out_dims has structure {describe(out_dims)} but outputs has structure {describe(output)}."
        )
    return places
