"""Products of vectors and chains of matrices."""

from .. import _C
from .._C import Tensor
from .._composite import autocasts, sampled, shown_as


def multi_dot(tensors, *, out=None):
    """Product of a chain of matrices in the order that needs the fewest multiplications.

    The first and the last may be vectors.
    """
    tensors = list(tensors)
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    first, last = tensors[0].dim() == 1, tensors[-1].dim() == 1
    if first:
        tensors[0] = tensors[0].unsqueeze(0)
    if last:
        tensors[-1] = tensors[-1].unsqueeze(-1)
    for i, t in enumerate(tensors):
        if t.dim() != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {t.dim()}D")
    result = _chain(tensors, _split_points([t.shape[0] for t in tensors] + [tensors[-1].shape[1]]), 0, n - 1)
    if first:
        result = result.squeeze(0)
    if last:
        result = result.squeeze(-1)
    return result if out is None else out.copy_(result)


def _split_points(sizes):
    """Dynamic programming over sub-chains (Cormen et al., "Introduction to Algorithms", section 15.2)."""
    n = len(sizes) - 1
    cost, split = [[0] * n for _ in range(n)], [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return split


def _chain(tensors, split, i, j):
    if i == j:
        return tensors[i]
    k = split[i][j]
    return _C.mm(_chain(tensors, split, i, k), _chain(tensors, split, k + 1, j))


@sampled("x(4,3), y(4,3)", "x(3,2), y(3,2), 0")
@shown_as("LinalgCrossBackward0")
@autocasts("as it is")
def cross(input, other, dim=None):
    """Cross product of vectors of three elements along dim (by default the first dimension of size three)."""
    if input.dim() != other.dim():
        raise RuntimeError(f"linalg.cross: inputs must have the same number of dimensions. Got {input.dim()} and {other.dim()}")
    if dim is None:
        dim = next((d for d, size in enumerate(input.shape) if size == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        lengths = f"{input.shape[dim]} and {other.shape[dim]}"
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {lengths}")
    a, b = input.unbind(dim), other.unbind(dim)
    parts = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return _C.stack(parts, dim)


Tensor.cross = cross
