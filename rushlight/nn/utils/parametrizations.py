"""Ready-made parametrizations: weight_norm and spectral_norm."""

import rushlight as rl

from ..modules.module import Module
from .parametrize import register_parametrization


def norm_except_dim(v, pow=2, dim=0):
    """The norm over all dimensions but dim, which is kept; dim=-1 means over everything."""
    if dim == -1:
        return v.norm(pow)
    shape = [1] * v.dim()
    shape[dim] = v.size(dim)
    return v.transpose(0, dim).reshape(v.size(dim), -1).norm(pow, 1).view(shape)


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


def _normalize(x, eps):
    return rl.nn.functional.normalize(x, dim=0, eps=eps)


def power_iteration(matrix, u, v, iterations, eps):
    """Improves, in place, estimates of the first singular vectors of a matrix."""
    for _ in range(iterations):
        u.copy_(_normalize(rl.mv(matrix, v), eps))
        v.copy_(_normalize(rl.mv(matrix.t(), u), eps))


def as_matrix(weight, dim):
    """The weight with dimension dim first and the others flattened."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.dim()) if d != dim))
    return weight.reshape(weight.size(0), -1)


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
                u = _normalize(matrix.new_empty(rows).normal_(0, 1), eps)
                v = _normalize(matrix.new_empty(columns).normal_(0, 1), eps)
                self.register_buffer("_u", u)
                self.register_buffer("_v", v)
                power_iteration(matrix, self._u, self._v, 15, eps)

    def forward(self, weight):
        if weight.dim() == 1:
            return _normalize(weight, self.eps)
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
