"""LDL: factorisation of symmetric or Hermitian matrices that need not be definite, and the solutions of equations by it.

A[p][:, p] = L D L^H, D made of blocks of one or two rows, by the method of Bunch and Kaufman (Math. Comp. 31, 1977). Factors and
pivots are those of LAPACK's sytrf with the lower triangle: pivot k counts from one, and is negative in both rows of a block of two.
"""

import math

import numpy as np

from .. import _C
from ._results import results

__all__ = ["ldl_factor", "ldl_factor_ex", "ldl_solve"]

_GROWTH = (1 + math.sqrt(17)) / 8  # how much larger an element outside the diagonal must be to be preferred


def _size(x):
    return abs(x.real) + abs(x.imag)


def _exchange(a, k, p, hermitian):
    """Exchange rows and columns k < p of the symmetric matrix of which the lower triangle is kept; rows of L stay."""
    a[p + 1 :, [k, p]] = a[p + 1 :, [p, k]]
    between, row = a[k + 1 : p, k].copy(), a[p, k + 1 : p].copy()
    a[k + 1 : p, k], a[p, k + 1 : p] = (row.conj(), between.conj()) if hermitian else (row, between)
    a[k, k], a[p, p] = a[p, p], a[k, k]
    if hermitian:
        a[p, k] = a[p, k].conj()


def _choose(a, k, hermitian):
    """(row to exchange with, rows of the block) of step k; None where the column is zero."""
    n = len(a)
    diagonal = _size(a[k, k].real if hermitian else a[k, k])
    below = np.abs(a[k + 1 :, k].real) + np.abs(a[k + 1 :, k].imag)
    largest = below.max(initial=0.0)
    if max(diagonal, largest) == 0 or math.isnan(diagonal):
        return None
    if diagonal >= _GROWTH * largest:
        return k, 1
    p = k + 1 + int(below.argmax())
    others = np.concatenate([a[p, k:p], a[p + 1 : n, p]])
    row = (np.abs(others.real) + np.abs(others.imag)).max(initial=0.0)
    if diagonal >= _GROWTH * largest * (largest / row):
        return k, 1
    return p, 1 if _size(a[p, p].real if hermitian else a[p, p]) >= _GROWTH * row else 2


def _factorise(a, hermitian):
    """LDL in place in the lower triangle of a; the pivots, and the number of the first zero block from one (0: none)."""
    n, info, k = len(a), 0, 0
    pivots = np.zeros(n, np.int32)
    turned = np.conj if hermitian else (lambda x: x)
    while k < n:
        found = _choose(a, k, hermitian)
        if found is None:
            info = info or k + 1
            pivots[k] = k + 1
            k += 1
            continue
        p, rows = found
        last = k + rows - 1
        if p != last:
            _exchange(a, last, p, hermitian)
            if rows == 2:
                a[[last, p], k] = a[[p, last], k]
        if hermitian:
            a[range(k, last + 1), range(k, last + 1)] = a[range(k, last + 1), range(k, last + 1)].real
        block = a[k : last + 1, k : last + 1].copy()
        if rows == 2:
            block[0, 1] = turned(block[1, 0])
        rest, column = slice(last + 1, n), a[last + 1 :, k : last + 1].copy()
        factors = np.linalg.solve(block.T, column.T).T if rows == 2 else column / block[0, 0]
        a[rest, rest] -= np.tril(factors @ turned(column).T)
        a[rest, k : last + 1] = factors
        pivots[k : last + 1] = p + 1 if rows == 1 else -(p + 1)
        k = last + 1
    return pivots, info


def _check(A):
    if A.dim() < 2:
        raise RuntimeError("torch.linalg.ldl_factor_ex: The input tensor A must have at least 2 dimensions.")
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            "torch.linalg.ldl_factor_ex: A must be batches of square matrices, but they are "
            f"{A.shape[-2]} by {A.shape[-1]} matrices"
        )
    if not (A.is_floating_point() or A.is_complex()):
        raise RuntimeError(
            f"torch.linalg.ldl_factor_ex: Expected a floating point or complex tensor as input. Got {A.dtype._scalar_name}"
        )


def _factored(A, hermitian):
    _check(A)
    n = A.shape[-1]
    work = np.tril(A.detach().numpy()).reshape(-1, n, n)
    hermitian = hermitian and A.is_complex()
    results = [_factorise(a, hermitian) for a in work]
    pivots = np.array([p for p, _ in results], np.int32).reshape(A.shape[:-1])
    info = np.array([i for _, i in results], np.int32).reshape(A.shape[:-2])
    return tuple(_C.from_numpy(x) for x in (work.reshape(A.shape), pivots, info))


def ldl_factor_ex(A, *, hermitian=False, check_errors=False, out=None):
    """(LD, pivots, info) of symmetric, or Hermitian, matrices (..., n, n), of which the lower triangle is read.

    info is the number of the first block of D that is zero, counted from one; 0 where there is none. No derivative.
    """
    LD, pivots, info = _factored(A, hermitian)  # noqa: N806
    if check_errors and bool(info.any()):
        raise RuntimeError(f"torch.linalg.ldl_factor_ex: D is singular, its block {int(info.max())} is zero")
    return results("linalg_ldl_factor_ex", ("LD", "pivots", "info"), (LD, pivots, info), out)


def ldl_factor(A, *, hermitian=False, out=None):
    """(LD, pivots) as ldl_factor_ex(); RuntimeError where D is singular."""
    LD, pivots, info = _factored(A, hermitian)  # noqa: N806
    if bool(info.any()):
        raise RuntimeError(f"torch.linalg.ldl_factor: D is singular, its block {int(info.max())} is zero")
    return results("linalg_ldl_factor", ("LD", "pivots"), (LD, pivots), out)


def _solved(a, pivots, b, hermitian):
    """The solution for one matrix; b is overwritten and returned."""
    n, turned = len(a), np.conj if hermitian else (lambda x: x)
    blocks, k = [], 0
    while k < n:
        blocks.append((k, 1 if pivots[k] > 0 else 2))
        k += blocks[-1][1]
    for k, rows in blocks:  # L, block after block, and D
        last, p = k + rows - 1, abs(int(pivots[k])) - 1
        b[[last, p]] = b[[p, last]]
        b[last + 1 :] -= a[last + 1 :, k : last + 1] @ b[k : last + 1]
        block = a[k : last + 1, k : last + 1].copy()
        if rows == 2:
            block[0, 1] = turned(block[1, 0])
        b[k : last + 1] = np.linalg.solve(block, b[k : last + 1]) if rows == 2 else b[k : last + 1] / block[0, 0]
    for k, rows in reversed(blocks):  # L^H
        last, p = k + rows - 1, abs(int(pivots[k])) - 1
        b[k : last + 1] -= turned(a[last + 1 :, k : last + 1]).T @ b[last + 1 :]
        b[[last, p]] = b[[p, last]]
    return b


def ldl_solve(LD, pivots, B, *, hermitian=False, out=None):  # noqa: N803
    """X with A X = B, from what ldl_factor() gave for A. No derivative."""
    n = LD.shape[-1]
    if B.dim() < 2:
        raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got -2)")
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(
            "torch.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.shape)} instead"
        )
    if B.shape[-2] != n:
        raise RuntimeError(
            f"Incompatible matrix sizes for torch.linalg.ldl_solve: each A matrix is {n} by {n} but each b matrix is "
            f"{B.shape[-2]} by {B.shape[-1]}"
        )
    swaps = pivots.numpy()
    if swaps.size and not (1 <= abs(swaps).min() <= abs(swaps).max() <= n):
        raise RuntimeError("torch.linalg.ldl_solve: pivots are out of range")
    batch = np.broadcast_shapes(tuple(LD.shape[:-2]), tuple(B.shape[:-2]))
    a = np.broadcast_to(LD.detach().numpy(), (*batch, n, n)).reshape(-1, n, n)
    p = np.broadcast_to(swaps, (*batch, n)).reshape(-1, n)
    b = np.array(np.broadcast_to(B.detach().numpy(), (*batch, *B.shape[-2:]))).reshape(-1, *B.shape[-2:])
    for matrix, exchanges, right in zip(a, p, b, strict=True):
        _solved(matrix, exchanges, right, hermitian and LD.is_complex())
    x = _C.from_numpy(b.reshape(*batch, *B.shape[-2:]))
    if out is None:
        return x
    return out.resize_(x.shape).copy_(x)
