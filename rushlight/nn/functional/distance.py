"""Distances and similarities between vectors."""

import numpy as np

import rushlight

from ..._composite import core_first, sampled, shown_as


def _cosine_reference(a, b, dim=1, eps=1e-8):
    length_a = np.maximum(np.sqrt((a * a).sum(dim)), eps)
    length_b = np.maximum(np.sqrt((b * b).sum(dim)), eps)
    return (a * b).sum(dim) / (length_a * length_b)


@sampled("x(3,4), x(3,4)", "x(3,4), x(3,4), dim=0", "x(3,4), x(1,4), eps=0.5", ref=_cosine_reference)
@core_first("cosine_similarity")
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """Cosine of the angle between x1 and x2 along dim; lengths below eps count as eps."""
    common = rushlight.promote_types(x1.dtype, x2.dtype)
    if not common.is_floating_point:
        name = rushlight.empty(0, dtype=common).type().split(".")[-1].removesuffix("Tensor")
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {name}")
    x1, x2 = rushlight.broadcast_tensors(x1, x2)
    unit1 = x1 / x1.norm(2, dim, keepdim=True).clamp(min=eps)
    unit2 = x2 / x2.norm(2, dim, keepdim=True).clamp(min=eps)
    return (unit1 * unit2).sum(dim)


@sampled(
    "x(3,4), x(3,4)",
    "x(3,4), x(4), eps=0.5, keepdim=True",
    ref=lambda a, b, eps=1e-6, keepdim=False: np.sqrt(((a - b + eps) ** 2).sum(-1, keepdims=keepdim)),
)
@shown_as("NormBackward1")
@core_first("pairwise_distance")
def pairwise_distance(x1, x2, p=2.0, eps=1e-06, keepdim=False):
    """p-norm of x1 - x2 + eps over the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@core_first("pdist")
def pdist(input, p=2.0):
    """p-norm distance between every two rows of a matrix, as the upper triangle read row by row."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = (rushlight.from_numpy(k) for k in np.triu_indices(input.size(0), 1))
    return (input[first] - input[second]).norm(p, -1)
