"""Kernels of core/ops/linalg.cpp: numpy.linalg on the memory of the tensors. Failures raise LinAlgError with PyTorch's text."""

import numpy as np

from .. import _C

LinAlgError = _C._LinAlgError


def run(name, inputs, outputs, flag):
    """Compute kernel `name` from the input tensors into the output tensors."""
    results = globals()["_" + name]([t.numpy() for t in inputs], flag, outputs)
    for out, result in zip(outputs, results, strict=False):
        out.numpy()[...] = result


def _batch_text(index, batch):
    return f"(Batch element {index}): " if batch else ""


def _zero_pivot(matrix):
    """One-based position of the first zero pivot of Gaussian elimination with row exchanges, 0 if there is none."""
    a = np.array(matrix)
    n = len(a)
    for k in range(n):
        p = k + int(np.argmax(np.abs(a[k:, k])))
        if a[p, k] == 0:
            return k + 1
        a[[k, p]] = a[[p, k]]
        a[k + 1 :, k:] -= np.outer(a[k + 1 :, k] / a[k, k], a[k, k:])
    return 0


def _first_singular(a):
    """(batch index, pivot) of the first singular matrix."""
    flat = a.reshape(-1, *a.shape[-2:])
    for i, m in enumerate(flat):
        if pivot := _zero_pivot(m):
            return i, pivot
    return 0, a.shape[-1]


def _inv(arrays, check, outputs):
    (a,) = arrays
    try:
        return np.linalg.inv(a), 0
    except np.linalg.LinAlgError:
        i, pivot = _first_singular(a)
        if check:
            raise LinAlgError(
                f"linalg.inv: {_batch_text(i, a.ndim > 2)}The diagonal element {pivot} is zero, the inversion could not be "
                "completed because the input matrix is singular."
            ) from None
        good = np.array([_zero_pivot(m) for m in a.reshape(-1, *a.shape[-2:])])
        safe = np.where((good == 0)[:, None, None], a.reshape(-1, *a.shape[-2:]), np.eye(a.shape[-1], dtype=a.dtype))
        return np.linalg.inv(safe).reshape(a.shape), good.reshape(a.shape[:-2])


def _det(arrays, flag, outputs):
    return (np.linalg.det(arrays[0]),)


def _slogdet(arrays, flag, outputs):
    return np.linalg.slogdet(arrays[0])


def _solve(arrays, flag, outputs):
    a, b = arrays
    check, vector = flag & 1, flag & 2
    if vector:
        b = b[..., None]
    try:
        x = np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        i, _ = _first_singular(a)
        if check:
            raise LinAlgError(
                f"torch.linalg.solve: {_batch_text(i, a.ndim > 2)}The solver failed because the input matrix is singular."
            ) from None
        info = np.array([_zero_pivot(m) for m in a.reshape(-1, *a.shape[-2:])]).reshape(a.shape[:-2])
        return np.zeros((), a.dtype), info
    return (x[..., 0] if vector else x), 0


def _cholesky(arrays, flag, outputs):
    (a,) = arrays
    check, upper = flag & 1, flag & 2
    if upper:
        a = a.swapaxes(-1, -2).conj()
    try:
        factor, info = np.linalg.cholesky(a), 0
    except np.linalg.LinAlgError:
        flat = a.reshape(-1, *a.shape[-2:])
        orders = np.array([_bad_minor(m) for m in flat])
        if check:
            i = int(np.flatnonzero(orders)[0])
            raise LinAlgError(
                f"linalg.cholesky: {_batch_text(i, a.ndim > 2)}The factorization could not be completed because the input is not "
                f"positive-definite (the leading minor of order {orders[i]} is not positive-definite)."
            ) from None
        safe = np.where((orders == 0)[:, None, None], flat, np.eye(a.shape[-1], dtype=a.dtype))
        factor, info = np.linalg.cholesky(safe).reshape(a.shape), orders.reshape(a.shape[:-2])
    return (factor.swapaxes(-1, -2).conj() if upper else factor), info


def _bad_minor(matrix):
    """Order of the first leading minor that is not positive definite, 0 if all are."""
    for k in range(1, len(matrix) + 1):
        try:
            np.linalg.cholesky(matrix[:k, :k])
        except np.linalg.LinAlgError:
            return k
    return 0


def _qr(arrays, mode, outputs):
    if mode == 2:
        return np.empty(0), np.linalg.qr(arrays[0], "r")
    return tuple(np.linalg.qr(arrays[0], "complete" if mode == 1 else "reduced"))


def _eigh(arrays, upper, outputs):
    return tuple(np.linalg.eigh(arrays[0], "U" if upper else "L"))


def _svd(arrays, full, outputs):
    return tuple(np.linalg.svd(arrays[0], full_matrices=bool(full)))


def _eig(arrays, flag, outputs):
    return tuple(np.linalg.eig(arrays[0]))
