"""Ready-made parametrizations: orthogonal, weight_norm and spectral_norm."""

import rushlight as rl

from ..modules.module import Module
from ._norms import as_matrix, norm_except_dim, normalized, power_iteration
from .parametrize import register_parametrization


class _OrthMaps:
    """The three ways from a free matrix to an orthogonal one."""

    matrix_exp, cayley, householder = "matrix_exp", "cayley", "householder"


def _is_orthogonal(q, eps=None):
    """Whether the columns of q are orthonormal, up to rounding."""
    rows, columns = q.size(-2), q.size(-1)
    if rows < columns:
        return False
    identity = rl.eye(columns, dtype=q.dtype, device=q.device)
    eps = 10.0 * columns * rl.finfo(q.dtype).eps if eps is None else eps
    return rl.allclose(q.mH @ q, identity, atol=eps)


def _orthonormal_columns(a):
    """Q of the QR decomposition of a (rows >= columns), with the sign of R's diagonal: a itself if it is orthogonal."""
    reflectors, tau = rl.geqrf(a)
    q = rl.linalg.householder_product(reflectors, tau)
    return q * reflectors.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, if it is wide) from a free one.

    With use_trivialization the result is base times the map of a matrix that starts at the map's identity, and base
    is what the weight was (Lezcano-Casado, 2019).
    """

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        rows, columns = x.size(-2), x.size(-1)
        wide = rows < columns
        if wide:
            x, rows, columns = x.mT, columns, rows
        if self.orthogonal_map == _OrthMaps.householder:
            # unit vectors in the lower triangle; R's diagonal in the state after right_inverse is 1 or -1
            a = x.tril(diagonal=-1)
            tau = 2.0 / (1.0 + (a * a).sum(dim=-2))
            q = rl.linalg.householder_product(a, tau)
            q = q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            a = x.tril()
            if rows != columns:  # a square matrix, of which the first columns are used
                a = rl.cat([a, a.new_zeros(rows, rows - columns).expand(*a.shape[:-2], -1, -1)], dim=-1)
            a = a - a.mH
            if self.orthogonal_map == _OrthMaps.matrix_exp:
                q = rl.matrix_exp(a)
            else:
                identity = rl.eye(rows, dtype=a.dtype, device=a.device)
                q = rl.linalg.solve(rl.add(identity, a, alpha=-0.5), rl.add(identity, a, alpha=0.5))
            if rows != columns:
                q = q[..., :columns]
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    @rl.no_grad()
    def right_inverse(self, q):
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {q.shape}."
            )
        given, rows, columns = q, q.size(-2), q.size(-1)
        wide = rows < columns
        if wide:
            q, rows, columns = q.mT, columns, rows
        if not hasattr(self, "base"):
            if self.orthogonal_map != _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            reflectors, tau = rl.geqrf(q)
            # tau is 2 for a vector of length 1 only; 0 where q is the identity already, with nothing to reflect
            reflectors.diagonal(dim1=-2, dim2=-1).sign_()
            reflectors.diagonal(dim1=-2, dim2=-1)[tau == 0.0] *= -1
            return reflectors.mT if wide else reflectors
        if rows == columns:
            full = q.clone() if _is_orthogonal(q) else _orthonormal_columns(q)
        else:
            q = q.clone() if _is_orthogonal(q) else _orthonormal_columns(q)
            filling = rl.randn(
                *(q.shape[:-2]), rows, rows - columns, dtype=q.dtype, device=q.device
            )  # the base is square: random columns, made orthogonal to those of q
            full = _orthonormal_columns(rl.cat([q, filling], dim=-1))
        self.base = full
        # the map of -identity (householder) or of 0 (its lower triangle) is the identity
        start = rl.zeros_like(given)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0 if self.orthogonal_map == _OrthMaps.householder else 1.0)
        return start


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Makes a matrix, or batch of matrices, orthogonal: Q^H Q = 1 if it is tall, Q Q^H = 1 if it is wide.

    Args:
        orthogonal_map: "matrix_exp", "cayley" (of a skew-symmetric matrix) or "householder" (a product of
            reflections). By default matrix_exp for square or complex matrices, householder for others.
        use_trivialization: keep the former weight as the base of the map, which can then start anywhere and be
            assigned to.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, rl.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = _OrthMaps.matrix_exp if square or weight.is_complex() else _OrthMaps.householder
    if getattr(_OrthMaps, orthogonal_map, None) is None:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    parametrization = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    register_parametrization(module, name, parametrization, unsafe=True)
    return module


class _WeightNorm(Module):
    """weight = g * v / |v|, with the norm over all dimensions but dim."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return weight_v * (weight_g / norm_except_dim(weight_v, 2, self.dim))

    def right_inverse(self, weight):
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Separates the length of a weight's vectors from their direction (Salimans and Kingma, 2016).

    Args:
        dim: the dimension whose entries have lengths of their own; None for one common length.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


class _SpectralNorm(Module):
    """weight = original / its largest singular value, which is tracked by power iteration."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.dim()}, {weight.dim() - 1}] "
                f"but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + weight.dim()
        self.eps = eps
        if weight.dim() > 1:
            self.n_power_iterations = n_power_iterations
            with rl.no_grad():
                matrix = as_matrix(weight, self.dim)
                rows, columns = matrix.size()
                u = normalized(matrix.new_empty(rows).normal_(0, 1), eps)
                v = normalized(matrix.new_empty(columns).normal_(0, 1), eps)
                self.register_buffer("_u", u)
                self.register_buffer("_v", v)
                power_iteration(matrix, self._u, self._v, 15, eps)

    def forward(self, weight):
        if weight.dim() == 1:
            return normalized(weight, self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            with rl.no_grad():
                power_iteration(matrix, self._u, self._v, self.n_power_iterations, self.eps)
        # copies: the next call changes the buffers in place
        u, v = self._u.clone(), self._v.clone()
        return weight / rl.dot(u, rl.mv(matrix, v))

    def right_inverse(self, value):
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divides a weight by its largest singular value (Miyato et al., 2018).

    Args:
        n_power_iterations: improvements of the estimate per call in training.
        dim: the dimension of outputs (1 for transposed convolutions, else 0).
    """
    if dim is None:
        nn = rl.nn
        transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        dim = 1 if isinstance(module, transposed) else 0
    weight = getattr(module, name)
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module
