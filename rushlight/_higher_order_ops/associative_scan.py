"""associative_scan: running results of any associative function, in a logarithmic number of steps (Blelloch 1990)."""

import rushlight as rl

from ..func._tree import flatten


def associative_scan(combine_fn, xs, dim, reverse=False, combine_mode="pointwise"):
    """combine_fn(... combine_fn(combine_fn(x0, x1), x2) ..., xn) for every n along dim.

    Args:
        combine_fn: associative; takes two nests like xs, whose tensors hold any number of elements along dim.
        xs: a tensor or a nest of tensors of the same size along dim.
        reverse: from the end to the start.

    >>> associative_scan(lambda a, b: a + b, rl.tensor([1, 2, 3, 4]), 0)
    tensor([ 1,  3,  6, 10])
    """
    if not callable(combine_fn):
        raise ValueError(f"Combine_fn must be a callable, but got {combine_fn}")
    leaves, build = flatten(xs)
    if not leaves:
        raise ValueError("xs leaves must at least have one leaf")
    sizes = {x.shape[dim] for x in leaves}
    if len(sizes) != 1:
        raise ValueError("xs leaves must have the same size along dim")

    def combine(a, b):
        return flatten(combine_fn(build(iter(a)), build(iter(b))))[0]

    def part(x, start, stop, step=1):
        index = [slice(None)] * x.dim()
        index[dim] = slice(start, stop, step)
        return x[tuple(index)]

    def scan(xs):
        n = xs[0].shape[dim]
        if n < 2:
            return xs
        pairs = combine([part(x, 0, n - n % 2, 2) for x in xs], [part(x, 1, None, 2) for x in xs])
        odd = scan(pairs)  # the results at 1, 3, 5, ...
        even = [part(x, 0, 1) for x in xs]
        if n > 2:
            before = [part(o, 0, (n - 1) // 2) for o in odd]
            later = combine(before, [part(x, 2, None, 2) for x in xs])
            even = [rl.cat([e, r], dim) for e, r in zip(even, later)]
        return [_interleaved(e, o, dim) for e, o in zip(even, odd)]

    if reverse:
        leaves = [x.flip(dim) for x in leaves]
    dim = dim % leaves[0].dim() if leaves[0].dim() else dim
    results = scan(leaves)
    if reverse:
        results = [r.flip(dim) for r in results]
    return build(iter(results))


def _interleaved(even, odd, dim):
    """even[0], odd[0], even[1], ...; even may have one element more."""
    both = odd.shape[dim]
    pairs = rl.stack([even.narrow(dim, 0, both), odd], dim + 1).flatten(dim, dim + 1)
    if even.shape[dim] == both:
        return pairs
    return rl.cat([pairs, even.narrow(dim, both, 1)], dim)
