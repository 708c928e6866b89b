"""Kronecker products, reductions into indices, in-place forms, factorisations by pieces, special functions of the top level."""

from .. import _C
from .._C import Tensor
from .._composite import autocasts, sampled, shown_as
from .._linalg._results import results
from ._method import given, in_place, method

__all__ = ["conj_physical_", "igamma", "igammac", "index_reduce", "kron", "ldexp_", "lu", "lu_solve", "lu_unpack",
           "nonzero_static", "ormqr", "pca_lowrank", "segment_reduce", "svd_lowrank"]  # fmt: skip


def _kron_reference(a, b):
    import numpy as np

    return np.kron(a, b)


@method
@sampled("x(2,3), y(3,2)", "x(2,), y(2,3)", ref=_kron_reference)
@shown_as("UnsafeViewBackward0")
def kron(input, other, *, out=None):
    """The Kronecker product: blocks of other, each times one element of input."""
    rank = max(input.dim(), other.dim())
    a = input.reshape((1,) * (rank - input.dim()) + tuple(input.shape))
    b = other.reshape((1,) * (rank - other.dim()) + tuple(other.shape))
    left = [n for size in a.shape for n in (size, 1)]
    right = [n for size in b.shape for n in (1, size)]
    product = a.reshape(left) * b.reshape(right)
    return given(product.reshape([m * n for m, n in zip(a.shape, b.shape)]), out)


@method
def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """input with slices of source at index along dim reduced into it by "prod", "mean", "amax" or "amin"."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    shape = [1] * source.dim()
    shape[dim] = index.numel()
    return input.scatter_reduce(
        dim, index.reshape(shape).expand(source.shape), source, reduce, include_self=include_self
    )


in_place("index_reduce", index_reduce)


def igamma(input, other, *, out=None):
    """The regularised lower incomplete gamma function."""
    from ..special import gammainc

    return gammainc(input, other, out=out)


def igammac(input, other, *, out=None):
    """The regularised upper incomplete gamma function."""
    from ..special import gammaincc

    return gammaincc(input, other, out=out)


for _function in (igamma, igammac):
    method(_function)
    in_place(_function.__name__, _function)

for _name in ("float_power", "mvlgamma", "ldexp", "conj_physical"):
    if hasattr(Tensor, _name) and not hasattr(Tensor, _name + "_"):
        in_place(_name, getattr(Tensor, _name))


def _as_method(name):
    """The function form of a method that works in place."""

    def function(input, *args):
        return getattr(input, name)(*args)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Tensor.{name}."
    return function


ldexp_, conj_physical_ = _as_method("ldexp_"), _as_method("conj_physical_")


@method
def polygamma(self, n):
    """The n-th derivative of digamma."""
    return _C.polygamma(n, self)


in_place("polygamma", polygamma)


@method
def fill_diagonal_(self, fill_value, wrap=False):
    """Fill the diagonal with a number; with wrap it starts again below a tall matrix's lowest row."""
    if self.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    height, width = self.shape[0], self.shape[1]
    if self.dim() == 2 and wrap:
        for top in range(0, height, width + 1):
            self[top : top + width].diagonal().fill_(fill_value)
        return self
    self.as_strided((min(self.shape),), (sum(self.stride()),), self.storage_offset()).fill_(fill_value)
    return self


def segment_reduce(
    data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None
):
    """Reductions ("sum", "mean", "max", "min", "prod") over consecutive segments of dimension 0.

    Args:
        lengths: elements of each segment, or offsets: where each starts and the last ends.
        initial: result of empty segments, and a value that takes part in the others.
    """
    if axis != 0 or indices is not None:
        raise NotImplementedError("segment_reduce: only axis=0, with lengths or offsets")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    lengths = offsets.diff() if lengths is None else lengths
    if lengths.dim() != 1:
        raise NotImplementedError("segment_reduce: lengths of one dimension only")
    if not unsafe and (int(lengths.sum()) != data.shape[0] or bool((lengths < 0).any())):
        raise RuntimeError("segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when "
                           "!unsafe.")  # fmt: skip
    empty = {"sum": 0.0, "mean": float("nan"), "max": -float("inf"), "min": float("inf"), "prod": 1.0}
    if reduce not in empty:
        raise RuntimeError(f"unknown reduction {reduce}")
    owner = _C.repeat_interleave(lengths)
    index = owner.reshape((-1,) + (1,) * (data.dim() - 1)).expand(data.shape)
    start = _C.full(
        (lengths.numel(), *data.shape[1:]), empty[reduce] if initial is None else initial, dtype=data.dtype
    )
    kind = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    return start.scatter_reduce(0, index, data, kind, include_self=initial is not None or reduce != "mean")


@method
def nonzero_static(input, *, size, fill_value=-1):
    """The first `size` rows of nonzero(), filled up with fill_value where there are fewer."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    rows = _C.nonzero(input)[:size]
    missing = size - rows.shape[0]
    filler = _C.full((missing, rows.shape[1]), fill_value, dtype=_C.int64)
    return _C.cat([rows, filler]) if missing else rows


# ---- factorisations ----


@method
def lu(A, *, pivot=True, get_infos=False, out=None):
    """The LU factors in one matrix, and the pivots; with get_infos also zeros of type int32."""
    _C._warn_once(
        "torch.lu is deprecated in favor of torch.linalg.lu_factor / torch.linalg.lu_factor_ex and will be removed in a "
        "future PyTorch release.\nLU, pivots = torch.lu(A, compute_pivots)\nshould be replaced with\n"
        "LU, pivots = torch.linalg.lu_factor(A, compute_pivots)\nand\n"
        "LU, pivots, info = torch.lu(A, compute_pivots, get_infos=True)\nshould be replaced with\n"
        "LU, pivots, info = torch.linalg.lu_factor_ex(A, compute_pivots)",
        1,
    )
    from ..linalg import lu_factor_ex

    factors, pivots, info = lu_factor_ex(A, pivot=pivot)
    if get_infos:
        return results("_lu_with_info", ("LU", "pivots", "info"), (factors, pivots, info), out)
    return tuple(results("linalg_lu_factor", ("LU", "pivots"), (factors, pivots), out))


def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True, *, out=None):  # noqa: N803
    """(P, L, U) of what lu() gives."""
    rows, columns = LU_data.shape[-2:]
    k = min(rows, columns)
    empty = _C.empty(0, dtype=LU_data.dtype)
    P, L, U = empty, empty, empty  # noqa: N806
    if unpack_data:
        L = LU_data[..., :, :k].tril(-1) + _C.eye(rows, k, dtype=LU_data.dtype)  # noqa: N806
        U = LU_data[..., :k, :].triu()  # noqa: N806
    if unpack_pivots:
        P = _permutation(LU_pivots, rows).to(LU_data.dtype)  # noqa: N806
    return results("lu_unpack", ("P", "L", "U"), (P, L, U), out)


def _permutation(pivots, rows):
    """The matrix P of P L U, from the exchanges of rows that pivoting made."""
    import numpy as np

    flat = pivots.reshape(-1, pivots.shape[-1]).numpy() - 1
    order = np.tile(np.arange(rows), (len(flat), 1))
    for one, exchanges in zip(order, flat):
        for i, j in enumerate(exchanges):
            one[[i, j]] = one[[j, i]]
    matrix = np.zeros((len(flat), rows, rows))
    for one, to in zip(matrix, order):
        one[to, np.arange(rows)] = 1
    return _C.from_numpy(matrix.reshape(tuple(pivots.shape[:-1]) + (rows, rows)))


@autocasts("full")
def lu_solve(b, LU_data, LU_pivots, *, out=None):  # noqa: N803
    """The solution of A x = b from what lu() gives for A."""
    _C._warn_once(
        "torch.lu_solve is deprecated in favor of torch.linalg.lu_solveand will be removed in a future PyTorch release.\n"
        "Note that torch.linalg.lu_solve has its arguments reversed.\nX = torch.lu_solve(B, LU, pivots)\n"
        "should be replaced with\nX = torch.linalg.lu_solve(LU, pivots, B)",
        1,
    )
    from .. import linalg

    return linalg.lu_solve(LU_data, LU_pivots, b, out=out)


Tensor.lu_solve = lu_solve


@autocasts("full")
@method
def ormqr(input, tau, other, left=True, transpose=False, *, out=None):
    """other times the whole Q of a QR factorisation given by its reflectors (geqrf)."""
    m, k = input.shape[-2:]
    eye = _C.eye(m, dtype=input.dtype).expand(input.shape[:-2] + (m, m))
    Q = eye  # noqa: N806
    for i in range(min(k, tau.shape[-1])):
        unit = _C.where(_C.arange(m) == i, _C.ones_like(input[..., i]), input[..., i] * (_C.arange(m) > i))
        v = unit.unsqueeze(-1)
        H = eye - tau[..., i, None, None] * (v @ v.transpose(-2, -1).conj())  # noqa: N806
        Q = Q @ H  # noqa: N806
    Q = Q.transpose(-2, -1).conj() if transpose else Q  # noqa: N806
    return given(Q @ other if left else other @ Q, out)


def svd_lowrank(A, q=6, niter=2, M=None):  # noqa: N803
    """Approximate singular value decomposition of rank q, by random projections refined niter times."""
    from ..linalg import qr, svd

    q = min(q, *A.shape[-2:])
    A = A if M is None else A - M  # noqa: N806
    basis = qr(A @ _C.randn(A.shape[-1], q, dtype=A.dtype))[0]
    for _ in range(niter):
        basis = qr(A @ qr(A.transpose(-2, -1).conj() @ basis)[0])[0]
    U, S, Vh = svd(basis.transpose(-2, -1).conj() @ A, full_matrices=False)  # noqa: N806
    return basis @ U, S, Vh.transpose(-2, -1).conj()


def pca_lowrank(A, q=None, center=True, niter=2):  # noqa: N803
    """Principal components: svd_lowrank of A, of centred columns unless told not to."""
    q = min(6, *A.shape[-2:]) if q is None else q
    if not 0 <= q <= min(A.shape[-2:]):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(A.shape[-2:])}"
        )
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
