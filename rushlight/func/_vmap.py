"""vmap: a function over batches from one over single elements."""

from .. import _C
from ._tree import flatten

Tensor = _C.Tensor


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """A function over batches from one over single elements. It runs func on one slice after the other and stacks.

    Args:
        in_dims: dimension of each argument to slice along, None for arguments that all slices share; nested as they are.
        out_dims: where the batch dimension of each output goes.
        randomness: "different" (each slice draws its own numbers, also what "error" does here) or "same".

    >>> rl.func.vmap(rl.dot)(rl.ones(3, 2), rl.ones(3, 2))
    tensor([2., 2., 2.])
    """

    def wrapper(*args, **kwargs):
        if not isinstance(in_dims, (int, tuple, list)):
            raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): expected `in_dims` to be int or a "
                             f"(potentially nested) tuple matching the structure of inputs, got: {type(in_dims)}.")  # fmt: skip
        flat, build = flatten(args)
        dims = _spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
        for x, d in zip(flat, dims):
            if d is not None and not isinstance(x, Tensor):
                raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for an input but the "
                                 f"input is of type {type(x)}. We cannot vmap over non-Tensor arguments, please use None as "
                                 "the respective in_dim")  # fmt: skip
            if d is not None and not -x.dim() <= d < x.dim():
                raise ValueError(f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): Got in_dim={d} for some input, but "
                                 f"that input is a Tensor of dimensionality {x.dim()} so expected in_dim to satisfy -{x.dim()} "
                                 f"<= in_dim < {x.dim()}.")  # fmt: skip
        sizes = {x.shape[d] for x, d in zip(flat, dims) if d is not None}
        if not sizes:
            raise ValueError(
                f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): at least one input must be batched"
            )
        if len(sizes) > 1:
            raise ValueError(f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                             f"{[x.shape[d] for x, d in zip(flat, dims) if d is not None]} for the mapped dimension")  # fmt: skip
        (count,) = sizes
        if count == 0:
            raise NotImplementedError("vmap: a batch of size 0")
        return _stacked([func(*a, **kwargs) for a in _slices(flat, dims, build, count, randomness)], out_dims)

    return wrapper


def _name(func):
    return getattr(func, "__name__", repr(func))


def _spread(dims, tree):
    """One dim per leaf of tree, from dims given for whole branches."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(flatten(tree)[0])
    branches = tree.values() if isinstance(tree, dict) else tree
    dims = [dims[k] for k in tree] if isinstance(dims, dict) else dims
    if not isinstance(tree, (tuple, list, dict)) or len(dims) != len(tree):
        raise ValueError("vmap: in_dims is not compatible with the structure of inputs")
    return [d for dim, branch in zip(dims, branches) for d in _spread(dim, branch)]


def _slices(flat, dims, build, count, randomness):
    state = None
    if randomness == "same":
        from ..random import get_rng_state, set_rng_state

        state = get_rng_state()
    for i in range(count):
        if state is not None:
            set_rng_state(state)
        yield build(iter([x if d is None else x.select(d, i) for x, d in zip(flat, dims)]))


def _stacked(results, out_dims):
    """One nest of tensors from the nests of the slices."""
    flats, build = [flatten(r)[0] for r in results], flatten(results[0])[1]
    for leaf in flats[0]:
        if not isinstance(leaf, Tensor):
            raise ValueError(f"vmap(...): the function must only return Tensors, got type {type(leaf)}. "
                             "Did you mean to set out_dims= to None for output?")  # fmt: skip
    dims = _spread(out_dims, results[0]) if not isinstance(results[0], Tensor) else [
        out_dims[0] if isinstance(out_dims, tuple) else out_dims]  # fmt: skip
    joined = [
        column[0] if d is None else _C.stack(column, d)
        for column, d in zip(([f[k] for f in flats] for k in range(len(dims))), dims)
    ]
    return build(iter(joined))


