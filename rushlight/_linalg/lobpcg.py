"""lobpcg: a few extreme eigenvalues of a large symmetric matrix, which is only multiplied with.

Knyazev, Toward the Optimal Preconditioned Eigensolver, SIAM J. Sci. Comput. 23 (2001): each step solves the small problem in the
space of the present vectors, their preconditioned residuals and the last directions.
"""

from functools import cache

from .. import _C

__all__ = ["lobpcg"]


def lobpcg(A, k=None, B=None, X=None, n=None, iK=None, niter=None, tol=None, largest=None, method=None, tracker=None,  # noqa: N803
           ortho_iparams=None, ortho_fparams=None, ortho_bparams=None):  # fmt: skip
    """The k largest, or smallest, eigenvalues and their vectors of A x = lambda B x.

    Args:
        A: symmetric matrices (..., m, m), dense or sparse; m is at least 3 k.
        k: how many (default: the columns of X, or 1).
        B: positive definite; identity by default.
        X: first approximations (..., m, n), n >= k; random by default.
        iK: approximates the inverse of A: the preconditioner.
        niter: most steps; -1 for no limit (default 1000).
        tol: residuals are small when they are below tol * (|A| + |lambda| |B|) |x| (default: the square root of the rounding unit).
        largest: False for the smallest.
        method, tracker, ortho_*: accepted; there is one method, which orthogonalises its basis in every step.

    Returns (..., k) and (..., m, k).
    """
    if tracker is not None:
        raise NotImplementedError("lobpcg: trackers are not implemented")
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise AssertionError(f"A must be square, got shape {A.shape}")
    if not A.is_floating_point():
        A = A.to(_C.get_default_dtype())  # noqa: N806
    m = A.shape[-1]
    k = (1 if X is None else X.shape[-1]) if k is None else k
    columns = (k if X is None else X.shape[-1]) if n is None else n
    if m < 3 * columns:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={columns})"
        )
    settings = (k, columns, 1000 if niter is None else niter, tol, largest is None or largest)
    if _C._is_grad_enabled() and (A.requires_grad or (B is not None and B.requires_grad)):
        return _function().apply(A, B, X, iK, settings)
    return _search(A, B, X, iK, settings)


def _search(A, B, X, iK, settings):  # noqa: N803
    if A.dim() == 2:
        return _one(A.detach(), *(None if t is None else t.detach() for t in (B, X, iK)), *settings)
    batch, m = A.shape[:-2], A.shape[-1]

    def flat(t):
        return None if t is None else t.detach().expand(*batch, *t.shape[-2:]).reshape(-1, *t.shape[-2:])

    results = [_one(a, *(None if t is None else t[i] for t in map(flat, (B, X, iK))), *settings)
               for i, a in enumerate(flat(A))]  # fmt: skip
    values, vectors = (_C.stack(list(part)) for part in zip(*results))
    return values.reshape(*batch, settings[0]), vectors.reshape(*batch, m, settings[0])


def _orthonormal(basis, B):  # noqa: N803
    """Columns that span what basis spans, orthonormal (in the product of B); dependent directions are dropped."""
    if B is None:
        q, r = _C.linalg_qr(basis)
        size = r.diagonal().abs()
        return q[:, size > size.max() * basis.shape[0] * _eps(basis)]
    gram = basis.mT @ (B @ basis)
    scale = gram.diagonal().clamp_min(1e-300).rsqrt()
    values, vectors = _C.linalg_eigh(gram * scale * scale.unsqueeze(-1))
    kept = values > values.max() * basis.shape[0] * _eps(basis)
    return (basis * scale) @ vectors[:, kept] * values[kept].rsqrt()


def _eps(x):
    return 2.0**-52 if x.dtype is _C.float64 else 2.0**-23


def _stretch(matrix, x):
    """A guess at the norm of a matrix: how much it stretches x."""
    return float(_C.linalg_vector_norm(matrix @ x) / _C.linalg_vector_norm(x))


def _one(A, B, X, iK, k, columns, niter, tol, largest):  # noqa: N803
    """k eigenvalues and vectors of one matrix."""
    m = A.shape[0]
    tol = _eps(A) ** 0.5 if tol is None else tol
    x = _C.randn(m, columns, dtype=A.dtype) if X is None else X.to(A.dtype)
    times_b = (lambda v: v) if B is None else (lambda v: B @ v)
    norm_a, norm_b = _stretch(A, x), 1.0 if B is None else _stretch(B, x)
    basis, directions, step = _orthonormal(x, B), None, 0
    while True:
        projected = basis.mT @ (A @ basis)
        values, small = _C.linalg_eigh((projected + projected.mT) / 2)
        if largest:
            values, small = values.flip(0), small.flip(1)
        count = min(columns, values.shape[0])
        values, small = values[:count], small[:, :count]
        x, before = basis @ small, x
        residual = A @ x - times_b(x) * values
        sizes = _C.linalg_vector_norm(residual, 2, 0)
        limit = (norm_a + values.abs() * norm_b) * _C.linalg_vector_norm(x, 2, 0) * tol
        step += 1
        if bool((sizes[:k] < limit[:k]).all()) or (0 <= niter < step):
            return values[:k], x[:, :k]
        residual = residual if iK is None else iK @ residual
        directions = x - before @ (before.mT @ times_b(x)) if step > 1 else None
        basis = _orthonormal(_C.cat([x, residual, *(() if directions is None else (directions,))], 1), B)


@cache
def _function():
    """lobpcg as a Function with a derivative; made on first use."""
    from ..autograd import Function, enable_grad, grad

    class LOBPCGAutogradFunction(Function):
        @staticmethod
        def forward(ctx, A, B, X, iK, settings):  # noqa: N803
            values, vectors = _search(A, B, X, iK, settings)
            ctx.save_for_backward(A, B, vectors)
            ctx.largest = settings[4]
            return values, vectors

        @staticmethod
        def backward(ctx, grad_values, grad_vectors):
            """By way of the whole eigenproblem: the pairs found are among its pairs, up to signs."""
            A, B, vectors = ctx.saved_tensors  # noqa: N806
            k = vectors.shape[-1]
            inputs = [t.detach().to_dense() if t.layout is not _C.strided else t.detach() for t in (A, B) if t is not None]
            inputs = [t.requires_grad_() for t in inputs]
            with enable_grad():
                values, all_vectors = _dense(*inputs)
                if ctx.largest:
                    values, all_vectors = values.flip(-1), all_vectors.flip(-1)
                values, found = values[..., :k], all_vectors[..., :k]
                same = (found.detach() * (vectors if B is None else B @ vectors)).sum(-2, keepdim=True).sign()
                loss = (values * grad_values).sum() + (found * same * grad_vectors).sum()
                grads = list(grad(loss, inputs))
            return grads[0], grads[1] if B is not None else None, None, None, None

    return LOBPCGAutogradFunction


def _dense(A, B=None):  # noqa: N803
    if B is None:
        return _C.linalg_eigh((A + A.mT) / 2)
    from ..linalg import inv

    inverse = inv(_C.linalg_cholesky_ex((B + B.mT) / 2)[0])
    values, vectors = _C.linalg_eigh(inverse @ ((A + A.mT) / 2) @ inverse.mT)
    return values, inverse.mT @ vectors
