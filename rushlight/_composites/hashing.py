"""hash_tensor: one number that tells tensors apart."""

import numpy as np

from .. import _C
from ._method import given, method

__all__ = ["hash_tensor"]


@method
def hash_tensor(input, dim=(), *, keepdim=False, mode=0, out=None):
    """The exclusive or of the bits of all elements, or of those along dim, as uint64. Floats count with the bits of their
    float64, integers and bools with those of their int64.

    Args:
        mode: which hash; 0 is the only one.

    >>> rl.hash_tensor(rl.arange(6).reshape(2, 3), 0)
    tensor([3, 5, 7], dtype=torch.uint64)
    """
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input.is_complex():
        raise NotImplementedError(f"\"xor_sum_cpu\" not implemented for '{input.dtype._scalar_name}'")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    rank = max(input.dim(), 1)
    for d in dims:
        if not -rank <= d < rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {d})")
        if input.dim() and input.shape[d] == 0:
            raise IndexError(f"hash_tensor: Expected reduction dim {d % rank} to have non-zero size.")
    if not dims and input.numel() == 0:
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
            "'dim' argument."
        )
    wide = input.detach().to(_C.float64 if input.is_floating_point() else _C.int64)
    bits = wide.contiguous().numpy().view(np.uint64)
    axes = tuple(sorted({d % rank for d in dims})) if dims and input.dim() else None
    return given(_C.from_numpy(np.array(np.bitwise_xor.reduce(bits, axis=axes, keepdims=keepdim))), out)
