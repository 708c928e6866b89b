"""The LKJ distribution of correlation matrices, by their Cholesky factors."""

import math

import rushlight as rl

from . import constraints
from .beta import Beta
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Cholesky factors of random dim x dim correlation matrices, sampled row by row (the onion method)."""

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        # the squared length of row k without its diagonal entry is beta distributed
        before = (rl.arange(dim, dtype=self.concentration.dtype) - 1).clamp(min=0)
        marginal = self.concentration + 0.5 * (dim - 2)
        self._beta = Beta(before + 0.5, marginal.unsqueeze(-1) - 0.5 * before)
        super().__init__(self.concentration.size(), (dim, dim), validate_args)

    def _expand_parts(self, old, batch_shape):
        self._beta = old._beta.expand(batch_shape + (self.dim,))

    def sample(self, sample_shape=()):
        with rl.no_grad():
            length2 = self._beta.sample(sample_shape).unsqueeze(-1)
            direction = rl.randn(self._extended_shape(sample_shape), dtype=self.concentration.dtype).tril(-1)
            norm = direction.pow(2).sum(-1, keepdim=True).sqrt()
            direction = rl.where(norm == 0, rl.zeros_like(direction), direction / norm)
            rows = rl.sqrt(length2) * direction
            rest = (1 - (rows**2).sum(-1)).clamp(min=rl.finfo(rows.dtype).tiny).sqrt()
            return rows + rl.diag_embed(rest)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(0, -2, -1)[..., 1:]
        order = rl.arange(2, self.dim + 1, dtype=self.concentration.dtype)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        m = self.dim - 1
        alpha = self.concentration + 0.5 * m
        norm = 0.5 * m * math.log(math.pi) + rl.mvlgamma(alpha - 0.5, m) - rl.lgamma(alpha) * m
        return (order * diagonal.log()).sum(-1) - norm
