"""Norms of vectors and matrices, and what is made of them: cond, matrix_rank."""

import math

from .. import _C
from .._C import Tensor
from .._composite import autocasts


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None, out=None):
    """The ord-norm of the elements over dim (all of them by default)."""
    return _C.linalg_vector_norm(x, ord, dim, keepdim, dtype=dtype, out=out)


def _matrix_dims(x, dim):
    a, b = (d % x.dim() if x.dim() else d for d in dim)
    if a == b:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return a, b


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """Norm of the matrices over two dimensions: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    if A.dim() < 2:
        raise RuntimeError(f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")  # noqa: F541
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {tuple(dim)}")
    x = A if dtype is None else A.to(dtype)
    a, b = _matrix_dims(x, dim)
    if ord == "fro":
        result = _C.linalg_vector_norm(x, 2, (a, b), keepdim)
    elif ord in ("nuc", 2, -2):
        s = _C.linalg_svd(x.movedim((a, b), (-2, -1)), False)[1]
        result = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        if keepdim:
            for d in sorted((a, b)):
                result = result.unsqueeze(d)
    elif ord in (1, -1, math.inf, -math.inf):
        summed, kept = (a, b) if abs(ord) == 1 else (b, a)
        sums = x.abs().sum(summed, keepdim=True)
        result = sums.amax(kept, keepdim=True) if ord > 0 else sums.amin(kept, keepdim=True)
        if not keepdim:
            result = result.squeeze((a, b))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    return result if out is None else out.copy_(result)


def norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None):
    """linalg.norm: the 2-norm of the flattened tensor, a vector norm over one dim, or a matrix norm over two."""
    if isinstance(dim, int):
        dim = (dim,)
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype, out=out)
    if isinstance(ord, str) or (dim is not None and len(dim) == 2) or (dim is None and A.dim() == 2):
        if dim is None and A.dim() != 2:
            raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
                               f"Got {A.dim()}D.")  # fmt: skip
        return matrix_norm(A, ord, dim or (-2, -1), keepdim, dtype=dtype, out=out)
    if dim is None and A.dim() != 1:
        raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D.")
    return vector_norm(A, ord, dim, keepdim, dtype=dtype, out=out)


def torch_norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None):
    """The p-norm of the elements over dim; "fro" is the 2-norm of all of them, "nuc" the sum of singular values."""
    if p == "nuc":
        return matrix_norm(input, "nuc", dim if dim is not None else (-2, -1), keepdim, dtype=dtype, out=out)
    order = 2 if p in ("fro", None) else p
    return vector_norm(input, order, dim, keepdim, dtype=dtype, out=out)


def _method_norm(self, p="fro", dim=None, keepdim=False, dtype=None):
    return torch_norm(self, p, dim, keepdim, dtype=dtype)


_method_norm.__name__ = "norm"
_method_norm.__doc__ = torch_norm.__doc__
Tensor.norm = _method_norm
torch_norm.__name__ = torch_norm.__qualname__ = "norm"


@autocasts("full")
def cond(A, p=None, *, out=None):
    """Condition number of matrices in the norm p (2 by default)."""
    if p in (None, 2, -2):
        s = _C.linalg_svd(A, False)[1]
        result = s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    else:
        result = matrix_norm(A, p) * matrix_norm(_C.linalg_inv_ex(A, check_errors=True)[0], p)
    return result if out is None else out.copy_(result)


@autocasts("full")
def matrix_rank(A, tol=None, *, atol=None, rtol=None, hermitian=False, out=None):
    """How many singular values exceed max(atol, rtol * largest)."""
    s = (_C.linalg_eigh(A)[0].abs() if hermitian else _C.linalg_svd(A, False)[1]).detach()
    atol = tol if tol is not None else atol
    if rtol is None:
        rtol = 0.0 if atol is not None else max(A.shape[-2:]) * _eps(s.dtype)
    atol = 0.0 if atol is None else atol
    top = s.amax(-1, keepdim=True) if s.shape[-1] else s
    limit = top * rtol
    limit = _C.maximum(limit, atol.unsqueeze(-1) if isinstance(atol, Tensor) else _C.full_like(limit, atol))
    result = (s > limit).sum(-1)
    return result if out is None else out.resize_(result.shape).copy_(result)


def _eps(dtype):
    return 2.0**-52 if dtype is _C.float64 else 2.0**-23
