"""torch.linalg: factorisations, solvers, products and norms. Kernels and derivatives: core/ops/linalg.cpp."""

import math as _math
from functools import cache as _cache

from . import _C
from ._C import _LinAlgError as LinAlgError  # noqa: F401
from ._composite import autocasts as _autocasts
from ._composite import shown_as as _shown_as
from ._linalg._results import results as _results
from ._linalg.ldl import ldl_factor, ldl_factor_ex, ldl_solve  # noqa: F401
from ._linalg.norms import cond, matrix_norm, matrix_rank, norm, vector_norm  # noqa: F401
from ._linalg.products import cross as _cross
from ._linalg.products import multi_dot  # noqa: F401

eigh, eig, qr, svd = _C.linalg_eigh, _C.linalg_eig, _C.linalg_qr, _C.linalg_svd
det, slogdet = _C.linalg_det, _C.linalg_slogdet
inv_ex, cholesky_ex, solve_ex = _C.linalg_inv_ex, _C.linalg_cholesky_ex, _C.linalg_solve_ex
matmul = _C.matmul


def _result(value, out):
    return value if out is None else out.resize_(value.shape).copy_(value)


def inv(A, *, out=None):
    """Inverse of square matrices; LinAlgError where there is none."""
    return _result(inv_ex(A, check_errors=True)[0], out)


def solve(A, B, *, left=True, out=None):
    """X with A X = B (X A = B for left=False); LinAlgError where A is singular."""
    return _result(solve_ex(A, B, left=left, check_errors=True)[0], out)


def cholesky(A, *, upper=False, out=None):
    """Lower triangular L with L L^H = A; LinAlgError where A is not positive definite."""
    return _result(cholesky_ex(A, upper=upper, check_errors=True)[0], out)


def eigvalsh(A, UPLO="L", *, out=None):
    """Eigenvalues of Hermitian matrices, ascending."""
    return _result(eigh(A, UPLO)[0], out)


def eigvals(A, *, out=None):
    """Eigenvalues of square matrices, complex, in no particular order."""
    return _result(eig(A)[0], out)


def svdvals(A, *, driver=None, out=None):
    """Singular values, descending."""
    return _result(svd(A, False)[1], out)


def matrix_power(A, n, *, out=None):
    """A multiplied with itself n times; the inverse for negative n."""
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError("linalg.matrix_power: A must be batches of square matrices, but they are "
                           f"{A.shape[-2] if A.dim() > 1 else 1} by {A.shape[-1]} matrices")  # fmt: skip
    if n < 0:
        A, n = inv(A), -n
    result = _C.eye(A.shape[-1], dtype=A.dtype).expand(A.shape).clone()
    while n:
        if n & 1:
            result = result @ A
        n >>= 1
        if n:
            A = A @ A
    return _result(result, out)


def pinv(A, *, atol=None, rtol=None, hermitian=False, out=None):
    """Moore-Penrose pseudo-inverse; singular values up to max(atol, rtol * largest) count as zero."""
    u, s, vh = svd(A, False)
    if rtol is None:
        rtol = 0.0 if atol is not None else max(A.shape[-2:]) * (2.0**-52 if s.dtype is _C.float64 else 2.0**-23)
    limit = s.detach().amax(-1, keepdim=True) * rtol if s.shape[-1] else s
    limit = limit.clamp(min=0.0 if atol is None else atol)
    keep = s > limit
    inverse = _C.where(keep, 1 / _C.where(keep, s, _C.ones_like(s)), _C.zeros_like(s))
    return _result((vh.mH * inverse.unsqueeze(-2)) @ u.mH, out)


@_autocasts("full")
def lstsq(A, B, rcond=None, *, driver=None, out=None):
    """X that minimises |A X - B|, with residuals, rank and singular values."""
    vector = B.dim() == A.dim() - 1
    b = B.unsqueeze(-1) if vector else B
    x = pinv(A, rtol=rcond) @ b
    m, n = A.shape[-2:]
    rank = matrix_rank(A, rtol=rcond)
    full = m > n and bool((rank == n).all())
    residuals = ((A @ x - b).abs() ** 2).sum(-2) if full else _C.empty((0,), dtype=x.dtype)
    values = _C.empty((0,), dtype=A.dtype) if driver in (None, "gels", "gelsy") else svdvals(A)
    fields = ("solution", "residuals", "rank", "singular_values")
    return _results("linalg_lstsq", fields, (x.squeeze(-1) if vector else x, residuals, rank, values), out)


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """X with A X = B for triangular A; only the named triangle of A is read."""
    t = _C.triu(A) if upper else _C.tril(A)
    if unitriangular:
        t = t - _C.diag_embed(t.diagonal(dim1=-2, dim2=-1)) + _C.eye(A.shape[-1], dtype=A.dtype)
    return _result(solve(t, B, left=left), out)


def cross(input, other, *, dim=-1, out=None):
    """Cross product of vectors of three elements along dim."""
    return _result(_cross(input, other, dim), out)


@_autocasts("lower")
def vecdot(x, y, *, dim=-1, out=None):
    """Dot product of vectors along dim, the first conjugated."""
    return _result(((x.conj() if x.is_complex() else x) * y).sum(dim), out)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """Diagonals of matrices, as a view."""
    return A.diagonal(offset, dim1, dim2)


def vander(x, N=None):
    """Vandermonde matrix: the powers 0..N-1 of x along a new last dimension."""
    n = x.shape[-1] if N is None else N
    ones = _C.ones_like(x).unsqueeze(-1)
    if n == 1:
        return ones
    return _C.cat([ones, x.unsqueeze(-1).expand(*x.shape, n - 1).cumprod(-1)], -1)


@_autocasts("full")
def tensorinv(A, ind=2, *, out=None):
    """Inverse of A as a map from its last dimensions to its first ind ones."""
    rows = _math.prod(A.shape[:ind])
    if ind <= 0 or rows != _math.prod(A.shape[ind:]):
        raise RuntimeError(f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
                           f"{_math.prod(A.shape[ind:])} != {rows}")  # fmt: skip
    return _result(inv(A.reshape(rows, rows)).reshape(A.shape[ind:] + A.shape[:ind]), out)


@_autocasts("full")
def tensorsolve(A, B, dims=None, *, out=None):
    """X with tensordot(A, X, X.dim()) = B."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    shape = A.shape[B.dim() :]
    return _result(solve(A.reshape(B.numel(), -1), B.reshape(-1)).reshape(shape), out)


@_autocasts("as it is")
@_shown_as("LinalgMatrixExpBackward0")
def matrix_exp(A):
    """Exponential of square matrices, by scaling and squaring with a Pade approximant (Higham 2005)."""
    coefficients = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
                    670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1)  # fmt: skip
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"linalg.matrix_exp: A must be batches of square matrices, but they are {tuple(A.shape)}")
    size = float(A.detach().abs().sum(-2).amax()) if A.numel() else 0.0
    squarings = max(0, _math.ceil(_math.log2(size / 5.37))) if 0 < size < _math.inf else 0
    x = A / 2.0**squarings
    eye = _C.eye(A.shape[-1], dtype=A.dtype).expand(A.shape)
    b = [c / coefficients[0] for c in coefficients]
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x2 @ x4
    u = x @ (x6 @ (b[13] * x6 + b[11] * x4 + b[9] * x2) + b[7] * x6 + b[5] * x4 + b[3] * x2 + b[1] * eye)
    v = x6 @ (b[12] * x6 + b[10] * x4 + b[8] * x2) + b[6] * x6 + b[4] * x4 + b[2] * x2 + b[0] * eye
    result = solve(v - u, v + u)
    for _ in range(squarings):
        result = result @ result
    return result


@_autocasts("full")
def householder_product(input, tau, *, out=None):
    """First columns of the product of Householder reflections, as geqrf stores them."""
    m, n = input.shape[-2:]
    q = _C.eye(m, dtype=input.dtype).expand(*input.shape[:-2], m, m)
    below = _C.tril(input, -1)
    for i in range(tau.shape[-1]):
        v = below[..., i] + _C.eye(m, dtype=input.dtype)[i]
        qv = (q @ v.unsqueeze(-1)) * tau[..., i].unsqueeze(-1).unsqueeze(-1)
        q = q - qv @ (v.conj() if v.is_complex() else v).unsqueeze(-2)
    return _result(q[..., :n], out)


def lu_factor(A, *, pivot=True, out=None):
    """Compact LU factorisation with row exchanges, and the exchanges (counted from one)."""
    factors, pivots, info = _lu_with_info(A, pivot)
    _check_lu("linalg.lu_factor", info)
    return _results("linalg_lu_factor", ("LU", "pivots"), (factors, pivots), out)


def lu_factor_ex(A, *, pivot=True, check_errors=False, out=None):
    """lu_factor() and info: the number of the first zero on U's diagonal, counted from one; 0 where there is none."""
    factors, pivots, info = _lu_with_info(A, pivot)
    if check_errors:
        _check_lu("linalg.lu_factor_ex", info)
    return _results("linalg_lu_factor_ex", ("LU", "pivots", "info"), (factors, pivots, info), out)


def _lu_with_info(A, pivot):
    if A.dim() < 2:
        raise RuntimeError(
            f"torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead"
        )
    factors, pivots, _ = _factored(A, pivot)
    zero = factors.detach().diagonal(0, -2, -1) == 0
    first = zero.to(_C.int32).argmax(-1) + 1 if zero.shape[-1] else zero.sum(-1)
    return factors, pivots, (first * zero.any(-1)).to(_C.int32)


def _check_lu(name, info):
    if bool(info.any()):
        i = int(info[info != 0][0])
        raise RuntimeError(
            f"torch.{name}: U[{i},{i}] is zero and using it on lu_solve would result in a division by zero. If you still "
            "want to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )


def lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None):  # noqa: N803
    """X with A X = B (X A = B for left=False, A^H in place of A for adjoint), from what lu_factor() gave for A."""
    if LU.dtype != B.dtype:
        raise RuntimeError(
            f"linalg.lu_solve: Expected LU and B to have the same dtype, but found LU of type {LU.dtype._scalar_name} and B "
            f"of type {B.dtype._scalar_name} instead"
        )
    if pivots.dtype != _C.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    if B.dim() < 2:
        raise RuntimeError("linalg.lu_solve: The input tensor B must have at least 2 dimensions.")
    n = LU.shape[-1]
    if LU.shape[-2] != n or B.shape[-2 if left else -1] != n:
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation {equation} "
            f"({LU.shape[-2]}x{n} and {B.shape[-2]}x{B.shape[-1]})"
        )
    if not left:  # X A = B is A^H X^H = B^H
        return _result(lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH, out)
    from ._composites.algebra import lu_unpack

    P, L, U = lu_unpack(LU, pivots)  # noqa: N806
    if adjoint:
        half = solve_triangular(U.mH, B, upper=False)
        return _result(P @ solve_triangular(L.mH, half, upper=True, unitriangular=True), out)
    half = solve_triangular(L, P.mT @ B, upper=False, unitriangular=True)
    return _result(solve_triangular(U, half, upper=True), out)


def lu(A, *, pivot=True, out=None):
    """P, L, U with P L U = A."""
    compact, _, order = _factored(A, pivot)
    m, n = A.shape[-2:]
    k = min(m, n)
    lower = _C.tril(compact[..., :k], -1) + _C.eye(m, k, dtype=A.dtype)
    permutation = (order.unsqueeze(-2) == _C.arange(m).unsqueeze(-1)).to(A.dtype)  # column j holds a one in row order[j]
    return _results("linalg_lu", ("P", "L", "U"), (permutation, lower, _C.triu(compact[..., :k, :])), out)


def _factored(A, pivot):
    """Gaussian elimination: the compact factors, the row exchanges from one, and the resulting order of the rows."""
    if A.requires_grad:
        return _lu_function().apply(A, pivot)
    return _eliminated(A, pivot)


def _eliminated(A, pivot):
    import numpy as np

    work = A.detach().numpy().copy().reshape(-1, *A.shape[-2:])
    m, n = A.shape[-2:]
    k = min(m, n)
    pivots, order = np.empty((len(work), k), np.int32), np.tile(np.arange(m), (len(work), 1))
    for a, exchanges, rows in zip(work, pivots, order, strict=True):
        for i in range(k):
            best = i + int(np.argmax(np.abs(a[i:, i]))) if pivot else i
            exchanges[i] = best + 1
            a[[i, best]], rows[[i, best]] = a[[best, i]], rows[[best, i]]
            if a[i, i] != 0:
                a[i + 1 :, i] /= a[i, i]
                a[i + 1 :, i + 1 :] -= np.outer(a[i + 1 :, i], a[i, i + 1 :])
    batch = A.shape[:-2]
    return (_C.from_numpy(work).reshape(A.shape), _C.from_numpy(pivots).reshape(*batch, k),
            _C.from_numpy(order).reshape(*batch, m))  # fmt: skip


@_cache
def _lu_function():
    """_factored as a Function with a derivative; made on first use."""
    from .autograd import Function

    class LinalgLuFactor(Function):
        @staticmethod
        def forward(ctx, A, pivot):
            compact, pivots, order = _eliminated(A, pivot)
            ctx.save_for_backward(compact, order)
            ctx.mark_non_differentiable(pivots, order)
            return compact, pivots, order

        @staticmethod
        def backward(ctx, grad, *_):
            return _lu_gradient(grad, *ctx.saved_tensors), None

    return LinalgLuFactor


def _lu_gradient(grad, compact, order):
    """Gradient for A[order] = L U from that of the compact factors. The k x k corner follows from
    dL U + L dU = dA; what lies right of it or below it is a triangular solve by itself."""
    m, n = compact.shape[-2:]
    k = min(m, n)
    lower = _C.tril(compact[..., :k, :k], -1) + _C.eye(k, dtype=compact.dtype)
    upper = _C.triu(compact[..., :k, :k])
    corner = grad[..., :k, :k]
    inner = _C.tril(lower.mH @ _C.tril(corner, -1), -1) + _C.triu(_C.triu(corner) @ upper.mH)
    if n > m:
        inner = inner - _C.tril(grad[..., k:] @ compact[..., k:].mH, -1)
    elif m > n:
        inner = inner - _C.triu(compact[..., k:, :].mH @ grad[..., k:, :])
    result = solve_triangular(lower.mH, inner, upper=True)
    result = solve_triangular(upper.mH, result, upper=False, left=False)
    if n > m:
        result = _C.cat([result, solve_triangular(lower.mH, grad[..., k:], upper=True)], -1)
    elif m > n:
        below = solve_triangular(upper.mH, grad[..., k:, :], upper=False, left=False)
        result = _C.cat([result, below], -2)
    return (order.unsqueeze(-2) == _C.arange(m).unsqueeze(-1)).to(result.dtype) @ result

