"""Batched tensors: what vmap passes to a function. Such a tensor looks like one slice; its delegate holds all of them, the
batch dimension first, and carries out every operator by a rule for its kind, or slice by slice where there is none.

An operator that a rule runs sees the values, so that derivatives of outer transformations are recorded there, while those
inside vmap are recorded on the batched tensors themselves.
"""

from .. import _C

Tensor = _C.Tensor


class NotBatchable(Exception):
    """The function leaves the world of operators (NumPy): it has to run slice by slice."""


class Level:
    """One running vmap."""

    def __init__(self, size, randomness):
        self.size, self.randomness = size, randomness


levels = []  # the running ones, outermost first


class Batched:
    """Delegate of a batched tensor. value: (batch, *shape), or (*shape) where all slices are the same."""

    layout = _C.strided
    is_sparse = is_sparse_csr = is_quantized = False

    def __init__(self, value, level, batched):
        self.value, self.level, self.batched = value, level, batched

    @property
    def nbytes(self):
        return self.value.nbytes

    def call(self, name, args):
        from ._batch_rules import apply

        return apply(name, args)


def batched_of(x):
    """The delegate of a batched tensor, else None."""
    if not isinstance(x, Tensor):
        return None
    delegate = _C._delegate_of(x)
    return delegate if isinstance(delegate, Batched) else None


def wrap(value, level, batched=True):
    """A batched tensor of these slices (with batched=False, of one for all)."""
    first = 1 if batched else 0
    return _C._with_delegate(
        tuple(value.shape[first:]),
        value.dtype,
        Batched(value, level, batched),
        tuple(value.stride()[first:]),
        value.storage_offset(),
        True,
    )


def debug_unwrap(tensor, *, recurse=True):
    """What a batched tensor holds, for a look at it in a debugger: its slices, the batch first.

    Args:
        recurse: through all vmaps that run, not the innermost alone.
    """
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Expected tensor to be a Tensor, got {type(tensor).__name__}")
    while (delegate := batched_of(tensor)) is not None:
        tensor = delegate.value
        if not recurse:
            break
    return tensor


def unwrap(x, level):
    """(value, whether its first dimension is the batch) of a tensor at a level."""
    delegate = batched_of(x)
    if delegate is None or delegate.level is not level:
        return x, False
    return delegate.value, delegate.batched


def lifted(x):
    """x as a tensor of the innermost vmap, so that what is recorded on it stays inside."""
    if not levels or not isinstance(x, Tensor):
        return x
    delegate = batched_of(x)
    if delegate is not None and delegate.level is levels[-1]:
        return x
    before = _C._set_forward_ceiling(-1)  # tangents stay outside, on the batched tensor
    try:
        value = x.view_as(x) if x.requires_grad else x.detach()
    finally:
        _C._set_forward_ceiling(before)
    inside = wrap(value, levels[-1], batched=False)
    _C._copy_tangents(x, inside)
    return inside


def slices(x, level):
    """All slices of a result, batch first, for the caller of vmap; with what it carries in forward mode."""
    value, batched = unwrap(x, level)
    if not batched:
        value = value.expand(level.size, *value.shape)
    for k in _C._forward_levels():
        tangent = _C._tangent(x, k)
        if tangent is not None:
            if value is batched_of(x) or _C._tangent(value, k) is None:
                value = value.view_as(value)
            _C._set_tangent(value, k, slices(tangent, level))
    return value
