"""Jacobians and Hessians of functions: products with every unit vector, all at once under vmap."""

import functools

from .. import _C
from ._derivatives import check_tensors, chosen, dual_call, split_aux, vjp
from ._tree import flatten, leaves_of, map_tree
from ._vmap import vmap

Tensor = _C.Tensor


def _unit_vectors(tensors):
    """For tensors of n elements together: per tensor a batch (n, *shape); row i is one in element i of them all."""
    count = sum(t.numel() for t in tensors)
    first, batches = 0, []
    for t in tensors:
        units = _C.zeros((count, t.numel()), dtype=t.dtype)
        units[first : first + t.numel()].fill_diagonal_(1) if t.numel() else None
        first += t.numel()
        batches.append(units.reshape(count, *t.shape))
    return batches


def _split(batch, tensors, dim=0):
    """The parts of a batch that belong to each of the tensors."""
    return batch.split([t.numel() for t in tensors], dim)


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that gives the Jacobian of func: output.shape + input.shape for each pair of output and input. Backward
    mode: one product for each element of the output.

    Args:
        argnums: which arguments to differentiate by.
        has_aux: func returns (output, something that is passed through).
        chunk_size: how many rows are computed at a time; all by default.

    >>> rl.func.jacrev(lambda x: x**2)(rl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        _, wanted = chosen(args, argnums, lambda x: x)

        def partial(*picked):
            full = list(args)
            for n, x in zip(numbers, picked):
                full[n] = x
            return func(*full, **kwargs)

        picked = wanted if isinstance(argnums, tuple) else (wanted,)
        output, product, *aux = vjp(partial, *picked, has_aux=has_aux)
        flat_out, build_out = flatten(output)
        flat_in, build_in = flatten(wanted)

        def rows(*units):
            found = product(build_out(iter(units)))
            return tuple(leaves_of(found))

        batches = vmap(rows, chunk_size=chunk_size)(*_unit_vectors(flat_out)) if any(o.numel() for o in flat_out) else None
        per_output = []
        for k, o in enumerate(flat_out):
            blocks = []
            for i, x in enumerate(flat_in):
                if batches is None:
                    blocks.append(_C.zeros((*o.shape, *x.shape), dtype=x.dtype))
                else:
                    blocks.append(_split(batches[i], flat_out)[k].reshape(*o.shape, *x.shape))
            per_output.append(build_in(iter(blocks)))
        jacobian = build_out(iter(per_output))
        return (jacobian, aux[0]) if has_aux else jacobian

    return wrapper


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """The same as jacrev(func, argnums), in forward mode: one product for each element of the inputs.

    Args:
        randomness: what random operators in func do, as for vmap.

    >>> rl.func.jacfwd(lambda x: x**2)(rl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        numbers = (argnums,) if isinstance(argnums, int) else argnums
        _, wanted = chosen(args, argnums, lambda x: x)
        picked = wanted if isinstance(argnums, tuple) else (wanted,)
        flat_in, build_in = flatten(picked)
        found = {}

        def partial(*inputs):
            full = list(args)
            for n, x in zip(numbers, inputs):
                full[n] = x
            return func(*full, **kwargs)

        def columns(*units):
            output, tangents, *aux = dual_call(partial, picked, build_in(iter(units)), has_aux)
            found["output"] = output
            return (tangents, aux[0]) if has_aux else tangents

        units = _unit_vectors(flat_in)
        result = vmap(columns, randomness=randomness)(*units)
        tangents, aux = split_aux(result, has_aux, "jacfwd")
        if has_aux:
            aux = map_tree(lambda x: x[0] if isinstance(x, Tensor) else x, aux)
        check_tensors(tangents, "jacfwd")

        def blocks(t):  # (inputs' elements, *output.shape)
            shape = t.shape[1:]
            parts = [p.movedim(0, -1).reshape(*shape, *x.shape) for p, x in zip(_split(t, flat_in), flat_in)]
            nest = build_in(iter(parts))
            return nest if isinstance(argnums, tuple) else nest[0]

        jacobian = map_tree(blocks, tangents)
        return (jacobian, aux) if has_aux else jacobian

    return wrapper


def hessian(func, argnums=0):
    """A function that gives the second derivatives of func: forward over backward mode.

    >>> rl.func.hessian(lambda x: (x**3).sum())(rl.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
