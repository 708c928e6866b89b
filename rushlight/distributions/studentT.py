"""Student's t distribution."""

import math

import rushlight as rl

from . import constraints
from .chi2 import Chi2
from .distribution import Distribution
from .utils import broadcast_all, standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """Student's t distribution of df degrees of freedom, moved by loc and scaled."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), validate_args=validate_args)

    def _expand_parts(self, old, batch_shape):
        self._chi2 = old._chi2.expand(batch_shape)

    @property
    def mean(self):
        return self.loc.masked_fill(self.df <= 1, float("nan"))

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        heavy = finite.masked_fill(self.df <= 2, float("inf"))
        return heavy.masked_fill(self.df <= 1, float("nan"))

    def rsample(self, sample_shape=()):
        x = standard_normal(self._extended_shape(sample_shape), self.df.dtype)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * rl.rsqrt(z / self.df))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        norm = (self.scale.log() + 0.5 * self.df.log() + 0.5 * math.log(math.pi) + rl.lgamma(0.5 * self.df)
                - rl.lgamma(0.5 * (self.df + 1.0)))  # fmt: skip
        return -0.5 * (self.df + 1.0) * rl.log1p(y**2.0 / self.df) - norm

    def entropy(self):
        half = 0.5 * self.df
        log_beta = rl.lgamma(half) + math.lgamma(0.5) - rl.lgamma(half + 0.5)
        return (
            self.scale.log()
            + (half + 0.5) * (rl.digamma(half + 0.5) - rl.digamma(half))
            + 0.5 * self.df.log()
            + log_beta
        )
