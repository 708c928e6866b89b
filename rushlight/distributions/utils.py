"""What distributions share: broadcasting of parameters, probabilities from logits and back, attributes computed once."""

import functools
from numbers import Number

import rushlight as rl

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec",
           "vec_to_tril_matrix"]  # fmt: skip


def broadcast_all(*values):
    """The values (tensors or numbers) as tensors of one shape; numbers take the dtype of the first tensor."""
    if not all(isinstance(v, (rl.Tensor, Number)) for v in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                         "__torch_function__.")  # fmt: skip
    first = next((v for v in values if isinstance(v, rl.Tensor)), None)
    dtype = rl.get_default_dtype() if first is None else first.dtype
    return rl.broadcast_tensors(
        *(v if isinstance(v, rl.Tensor) else rl.tensor(v, dtype=dtype) for v in values)
    )


def standard_normal(shape, dtype, device=None):
    """Standard normal numbers, drawn as torch.normal of tensors draws them."""
    return rl.normal(rl.zeros(shape, dtype=dtype), rl.ones(shape, dtype=dtype))


def sum_rightmost(value, dims):
    """Sum over the last `dims` dimensions."""
    return value if dims == 0 else value.sum(tuple(range(-dims, 0)))


def clamp_probs(probs):
    """Probabilities at least one rounding error away from 0 and 1."""
    eps = rl.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits, is_binary=False):
    """Probabilities: the sigmoid of log odds when binary, else the softmax over the last dimension."""
    return rl.sigmoid(logits) if is_binary else rl.softmax(logits, -1)


def probs_to_logits(probs, is_binary=False):
    """Log odds when binary, else log probabilities."""
    safe = clamp_probs(probs)
    return rl.log(safe) - rl.log1p(-safe) if is_binary else rl.log(safe)


class lazy_property:  # noqa: N801
    """A method whose result becomes an attribute of the instance at the first access."""

    def __init__(self, wrapped):
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        with rl.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def tril_matrix_to_vec(mat, diag=0):
    """The lower triangle of the last two dimensions (up to diagonal diag), row by row, as one dimension."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows = [i for i in range(n) for j in range(n) if j <= i + diag]
    columns = [j for i in range(n) for j in range(n) if j <= i + diag]
    return mat[..., rl.tensor(rows), rl.tensor(columns)]


def vec_to_tril_matrix(vec, diag=0):
    """The lower triangular matrix whose lower triangle (up to diagonal diag), row by row, is the last dimension of vec."""
    count, n = vec.shape[-1], 1
    while sum(min(max(i + 1 + diag, 0), n) for i in range(n)) < count:
        n += 1
    cells = [i * n + j for i in range(n) for j in range(n) if j <= i + diag]
    if len(cells) != count:
        raise ValueError(f"The size of last dimension is {count} which cannot be expressed as the lower triangular part of a "
                         "square D x D matrix.")  # fmt: skip
    flat = rl.zeros((*vec.shape[:-1], n * n), dtype=vec.dtype)
    index = rl.tensor(cells).expand(vec.shape)
    return flat.scatter(-1, index, vec).reshape(*vec.shape[:-1], n, n)
