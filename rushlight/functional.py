"""Functions of tensors made of other operators: tensordot, distances, grids, broadcasting helpers. einsum and the aliases of
linear algebra live in `_linalg` and are re-exported here."""

import itertools
import math
import warnings

from . import _C
from ._C import Tensor
from ._composite import autocasts, sampled, shown_as
from ._linalg.aliases import *  # noqa: F403
from ._linalg.aliases import __all__ as _aliases
from ._linalg.einsum import einsum
from .autograd import is_grad_enabled

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors", "cartesian_prod",
    "cdist", "combinations", "einsum", "meshgrid", "tensordot", "unravel_index", *_aliases,
]  # fmt: skip


def _listed(tensors):
    """Tensors given one by one or as one sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return list(tensors[0])
    return list(tensors)


# ---- shapes ----


def broadcast_shapes(*shapes):
    """The shape that shapes broadcast to.

    >>> rl.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    shapes = [(shape,) if isinstance(shape, int) else shape for shape in shapes]
    result = [1] * max((len(shape) for shape in shapes), default=0)
    for shape in shapes:
        for i in range(-1, -1 - len(shape), -1):
            if shape[i] == 1 or shape[i] == result[i]:
                continue
            if result[i] != 1 or shape[i] < 0:
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {shape[i]} at {i}! Mismatching argument at index "
                    f"{shapes.index(shape)} had {shape}; but expected shape should be broadcastable to {result}"
                )
            result[i] = shape[i]
    return _C.Size(result)


def broadcast_tensors(*tensors):
    """Views of the tensors, expanded to one common shape."""
    tensors = _listed(tensors)
    if len(tensors) == 2 and tensors[0].shape == tensors[1].shape:
        return tuple(tensors)
    shape = []
    for t in tensors:
        shape = _broadcast_two(shape, list(t.shape))
    return tuple([t.expand(shape) for t in tensors])


def _broadcast_two(a, b):
    n = max(len(a), len(b))
    a, b = [1] * (n - len(a)) + a, [1] * (n - len(b)) + b
    for i in reversed(range(n)):
        if a[i] != b[i] and a[i] != 1 and b[i] != 1:
            raise RuntimeError(
                f"The size of tensor a ({a[i]}) must match the size of tensor b ({b[i]}) at non-singleton dimension {i}"
            )
    return [y if x == 1 else x for x, y in zip(a, b)]


def _at_least(n, tensors, reshape):
    tensors = _listed(tensors)
    results = tuple(t if t.dim() >= n else reshape(t) for t in tensors)
    return results[0] if len(results) == 1 else results


def atleast_1d(*tensors):
    """Each tensor with at least one dimension."""
    return _at_least(1, tensors, lambda t: t.reshape(1))


def atleast_2d(*tensors):
    """Each tensor with at least two dimensions; a vector becomes a row."""
    return _at_least(2, tensors, lambda t: t.reshape(1, 1) if t.dim() == 0 else t.unsqueeze(0))


def atleast_3d(*tensors):
    """Each tensor with at least three dimensions; new ones come first and last."""

    def grow(t):
        if t.dim() == 0:
            return t.reshape(1, 1, 1)
        return t.unsqueeze(0).unsqueeze(-1) if t.dim() == 1 else t.unsqueeze(-1)

    return _at_least(3, tensors, grow)


# ---- grids and combinations ----


def _plain_text(t):
    """A matrix as PyTorch's core prints it in messages: all rows, and a line with type and sizes."""
    if t.dim() != 2 or t.is_complex() or not bool(t.isfinite().all()):
        return repr(t)
    whole = bool((t == t.trunc()).all()) if t.is_floating_point() else True
    texts = [[str(int(v)) if whole else f"{v:.4f}" for v in row] for row in t.tolist()]
    width = 1 + max((len(text) for row in texts for text in row), default=0)
    rows = "".join(" ".join(text.rjust(width) for text in row) + "\n" for row in texts if row)
    return f"{rows}[ torch.{t.dtype._type_name}{{{t.shape[0]},{t.shape[1]}}} ]"


def meshgrid(*tensors, indexing=None):
    """Coordinates of the grid that vectors span: one tensor per vector, all of the grid's shape.

    Args:
        indexing: "ij" (the first vector runs along the first dimension; default) or "xy" (the first two exchanged).
    """
    tensors = _listed(tensors)
    if not tensors:
        raise ValueError("meshgrid expects a non-empty TensorList")
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            stacklevel=2,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    for t in tensors:
        if t.dim() > 1:
            raise RuntimeError(
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: "
                + _plain_text(t)
            )
    if len({t.dtype for t in tensors}) > 1:
        raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    swapped = indexing == "xy" and len(tensors) >= 2
    if swapped:
        tensors[0], tensors[1] = tensors[1], tensors[0]
    shape = [t.numel() for t in tensors]
    grids = []
    for i, t in enumerate(tensors):
        along = [1] * len(shape)
        along[i] = shape[i]
        grids.append(t.reshape(along).expand(shape))
    if swapped:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def cartesian_prod(*tensors):
    """All combinations of one element of each vector, as rows."""
    tensors = _listed(tensors)
    for t in tensors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return _C.stack([g.flatten() for g in meshgrid(tensors, indexing="ij")], 1)


def combinations(input, r=2, with_replacement=False):
    """All r-element subsets of a vector, as rows."""
    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input.numel()), r))
    if not rows:
        return input.new_empty(0, r)
    return input[_C.tensor(rows)]


def unravel_index(indices, shape):
    """Coordinates of flat indices in an array of the given shape, one tensor per dimension."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype is _C.bool:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    coordinates = []
    for size in reversed(shape):
        coordinates.append(indices % size)
        indices = indices // size
    return tuple(reversed(coordinates))


@shown_as("BlockDiagBackward0")
def block_diag(*tensors):
    """A matrix with the given matrices along its diagonal and zeros elsewhere."""
    tensors = _listed(tensors)
    for i, t in enumerate(tensors):
        if t.dim() > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. "
                f"Input {i} has {t.dim()} dimensions"
            )
    if not tensors:
        return _C.empty(1, 0)
    blocks = [atleast_2d(t) for t in tensors]
    width = sum(b.size(1) for b in blocks)
    dtype = blocks[0].dtype
    for b in blocks:
        dtype = _C.promote_types(dtype, b.dtype)
    rows, left = [], 0
    for b in blocks:
        right = width - left - b.size(1)
        zeros = [_C.zeros(b.size(0), n, dtype=dtype) for n in (left, right)]
        rows.append(_C.cat([zeros[0], b.to(dtype), zeros[1]], 1))
        left += b.size(1)
    return _C.cat(rows)


# ---- products and distances ----


def tensordot(a, b, dims=2, out=None):
    """Sum of products over dimensions of a and b.

    Args:
        dims: how many of a's last and b's first dimensions to sum over, or two lists of dimensions.

    >>> rl.tensordot(rl.ones(3, 4, 5), rl.ones(4, 3, 2), dims=([1, 0], [0, 1])).shape
    torch.Size([5, 2])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims_a, dims_b = list(range(-dims, 0)), list(range(dims))
    else:
        dims_a, dims_b = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(dims_a) != len(dims_b):
        raise RuntimeError("both dimension lists should have same length")
    if a.dtype != b.dtype:
        raise RuntimeError("both inputs should have same dtype")
    for i, j in zip(dims_a, dims_b):
        # a dimension of size one stands for any size: the other side is summed first
        if a.size(i) == 1 != b.size(j):
            b = b.sum(j, keepdim=True)
        elif b.size(j) == 1 != a.size(i):
            a = a.sum(i, keepdim=True)
        elif a.size(i) != b.size(j):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.size(i)} in dim {i} and second has size "
                f"{b.size(j)} in dim {j}"
            )
    dims_a, dims_b = [d % a.dim() for d in dims_a], [d % b.dim() for d in dims_b]
    free_a = [d for d in range(a.dim()) if d not in dims_a]
    free_b = [d for d in range(b.dim()) if d not in dims_b]
    inner = math.prod(a.size(d) for d in dims_a)
    shape = [a.size(d) for d in free_a] + [b.size(d) for d in free_b]
    left = a.permute(free_a + dims_a).reshape(math.prod(shape[: len(free_a)]), inner)
    right = b.permute(dims_b + free_b).reshape(inner, math.prod(shape[len(free_a) :]))
    result = left.mm(right).view(shape)
    return result if out is None else out.copy_(result)


@autocasts("full")
@sampled("x(3,4), y(2,4)", "x(2,3,4), y(2,2,4), p=1.0", ref=None)
@shown_as("CdistBackward0")
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """p-norm distances between every row of x1 and every row of x2: (..., n, k) and (..., m, k) give (..., n, m)."""
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
    if x1.size(-1) != x2.size(-1):
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.size(-1)} X2: {x2.size(-1)}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    modes = {
        None: 0, "use_mm_for_euclid_dist_if_necessary": 0, "use_mm_for_euclid_dist": 1, "donot_use_mm_for_euclid_dist": 2,
    }  # fmt: skip
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    mode = modes[compute_mode]
    many = max(x1.size(-2), x2.size(-2)) > 25
    needs_grad = is_grad_enabled() and (x1.requires_grad or x2.requires_grad)
    if p == 2 and not needs_grad and (mode == 1 or (mode == 0 and many)):
        squares = (x1 * x1).sum(-1, keepdim=True) + (x2 * x2).sum(-1).unsqueeze(-2)
        return (squares - 2 * x1.matmul(x2.transpose(-2, -1))).clamp_min(0).sqrt()
    return _C.linalg_vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
