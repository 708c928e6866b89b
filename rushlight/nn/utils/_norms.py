"""Norms of weights, which weight_norm and spectral_norm share in their older and newer forms."""

import rushlight as rl


def norm_except_dim(v, pow=2, dim=0):
    """The norm over all dimensions but dim, which is kept; dim=-1 means over everything."""
    if dim == -1:
        return v.norm(pow)
    shape = [1] * v.dim()
    shape[dim] = v.size(dim)
    return v.transpose(0, dim).reshape(v.size(dim), -1).norm(pow, 1).view(shape)


def normalized(x, eps):
    """x divided by its norm."""
    return rl.nn.functional.normalize(x, dim=0, eps=eps)


def power_iteration(matrix, u, v, iterations, eps):
    """Improves, in place, estimates of the first singular vectors of a matrix."""
    for _ in range(iterations):
        u.copy_(normalized(rl.mv(matrix, v), eps))
        v.copy_(normalized(rl.mv(matrix.t(), u), eps))


def as_matrix(weight, dim):
    """The weight with dimension dim first and the others flattened."""
    if dim != 0:
        weight = weight.permute(dim, *(d for d in range(weight.dim()) if d != dim))
    return weight.reshape(weight.size(0), -1)
