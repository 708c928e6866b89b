"""Names of linear algebra outside linalg: rushlight.norm, inverse, det, chain_matmul, ... and the Tensor methods."""

from .. import _C
from .._C import Tensor
from .._composite import autocasts
from ._results import results
from .norms import torch_norm as norm
from .products import cross, multi_dot

__all__ = ["chain_matmul", "cholesky", "cross", "det", "inverse", "logdet", "matrix_exp", "matrix_power", "norm", "pinverse", "qr",
           "slogdet", "svd", "cholesky_inverse", "cholesky_solve", "triangular_solve", "geqrf", "orgqr", "frobenius_norm",
           "nuclear_norm", "norm_except_dim"]  # fmt: skip


def _linalg():
    from .. import linalg

    return linalg


def _deprecated(text):
    """Say once, at the line that called the function which calls this."""
    _C._warn_once(text, 2)


def inverse(input, *, out=None):
    """Inverse of square matrices."""
    return _linalg().inv(input, out=out)


def det(input):
    """Determinant of square matrices."""
    return _C.linalg_det(input)


def logdet(input):
    """Logarithm of the determinant: nan where it is negative, -inf where it is zero."""
    sign, value = _C.linalg_slogdet(input)
    return _C.where(sign == -1, _C.full_like(value, float("nan")), value)


def slogdet(input, *, out=None):
    """Sign and logarithm of the absolute value of the determinant."""
    return results("slogdet", ("sign", "logabsdet"), _C.linalg_slogdet(input), out)


def cholesky(input, upper=False, *, out=None):
    """Lower triangular L with L L^H = input."""
    _deprecated(
        "torch.cholesky is deprecated in favor of torch.linalg.cholesky and will be removed in a future PyTorch release.\n"
        "L = torch.cholesky(A)\nshould be replaced with\nL = torch.linalg.cholesky(A)\nand\n"
        "U = torch.cholesky(A, upper=True)\nshould be replaced with\nU = torch.linalg.cholesky(A).mH\n"
        "This transform will produce equivalent results for all valid (symmetric positive definite) inputs."
    )
    return _linalg().cholesky(input, upper=upper, out=out)


def qr(input, some=True, *, out=None):
    """QR decomposition (reduced unless some is False)."""
    _deprecated(
        "torch.qr is deprecated in favor of torch.linalg.qr and will be removed in a future PyTorch release.\n"
        "The boolean parameter 'some' has been replaced with a string parameter 'mode'.\nQ, R = torch.qr(A, some)\n"
        "should be replaced with\nQ, R = torch.linalg.qr(A, 'reduced' if some else 'complete')"
    )
    return results("qr", ("Q", "R"), _C.linalg_qr(input, "reduced" if some else "complete"), out)


def svd(input, some=True, compute_uv=True, *, out=None):
    """Singular value decomposition U, S, V (not its transpose)."""
    u, s, vh = _C.linalg_svd(input, not some)
    return results("svd", ("U", "S", "V"), (u, s, vh.mH), out)


@autocasts("full")
def pinverse(input, rcond=1e-15):
    """Moore-Penrose pseudo-inverse."""
    return _linalg().pinv(input, rtol=rcond)


def matrix_power(input, n, *, out=None):
    """input multiplied with itself n times."""
    return _linalg().matrix_power(input, n, out=out)


def matrix_exp(input):
    """Exponential of square matrices."""
    return _linalg().matrix_exp(input)


def chain_matmul(*matrices, out=None):
    """Product of a chain of matrices."""
    _deprecated(
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use torch.linalg.multi_dot "
        "instead, which accepts a list of two or more tensors rather than multiple parameters."
    )
    return multi_dot(matrices, out=out) if len(matrices) > 1 else matrices[0]


@autocasts("full")
def cholesky_inverse(input, upper=False, *, out=None):
    """Inverse of the matrix whose Cholesky factor is input."""
    factor = input.mH if upper else input
    result = _linalg().inv(factor @ factor.mH)
    return result if out is None else out.copy_(result)


@autocasts("full")
def cholesky_solve(input, input2, upper=False, *, out=None):
    """X with A X = input, where input2 is the Cholesky factor of A."""
    factor = input2.mH if upper else input2
    result = _linalg().solve(factor @ factor.mH, input)
    return result if out is None else out.copy_(result)


@autocasts("full")
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False, *, out=None):
    """X with A X = b for triangular A, and A."""
    _deprecated(
        "torch.triangular_solve is deprecated in favor of torch.linalg.solve_triangularand will be removed in a future "
        "PyTorch release.\ntorch.linalg.solve_triangular has its arguments reversed and does not return a copy of one of "
        "the inputs.\nX = torch.triangular_solve(B, A).solution\nshould be replaced with\n"
        "X = torch.linalg.solve_triangular(A, B)."
    )
    matrix = A.mT if transpose else A
    x = _linalg().solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return results("triangular_solve", ("solution", "cloned_coefficient"), (x, A.clone()), out)


@autocasts("full")
def geqrf(input, *, out=None):
    """Householder reflections of the QR decomposition, as LAPACK stores them."""
    import numpy as np

    flat = input.detach().numpy().reshape(-1, *input.shape[-2:])
    factored = [np.linalg.qr(a, "raw") for a in flat]
    a = np.stack([np.ascontiguousarray(h.T) for h, _ in factored]).reshape(input.shape)
    tau = np.stack([t for _, t in factored]).reshape(*input.shape[:-2], -1)
    return results("geqrf", ("a", "tau"), (_C.from_numpy(a), _C.from_numpy(tau)), out)


@autocasts("full")
def orgqr(input, input2, *, out=None):
    """First columns of the product of Householder reflections."""
    return _linalg().householder_product(input, input2, out=out)


def frobenius_norm(input, dim=(), keepdim=False):
    """Square root of the sum of squares over dim."""
    return _C.linalg_vector_norm(input, 2, dim or None, keepdim)


def nuclear_norm(input, dim=(-2, -1), keepdim=False):
    """Sum of the singular values."""
    from .norms import matrix_norm

    return matrix_norm(input, "nuc", dim, keepdim)


def norm_except_dim(v, pow=2, dim=0):
    """The norm of v over all dimensions but dim, which keeps its place."""
    if dim == -1:
        return norm(v, pow)
    others = [d for d in range(v.dim()) if d != dim % v.dim()]
    return norm(v, pow, others, keepdim=True)


for _function in (inverse, det, logdet, slogdet, cholesky, qr, svd, pinverse, matrix_power, matrix_exp, cholesky_inverse,
                  cholesky_solve, geqrf, orgqr, triangular_solve):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
