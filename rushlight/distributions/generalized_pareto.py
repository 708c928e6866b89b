"""The generalised Pareto distribution."""

import rushlight as rl

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """Excesses above loc: exponential for concentration 0, power law above it, bounded below it."""

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(self, loc, scale, concentration, validate_args=None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def _is_exponential(self):
        return rl.isclose(self.concentration, rl.zeros_like(self.concentration))

    def _safe(self):
        """The concentration without zeros, for the branch that zeros do not take."""
        return rl.where(self._is_exponential(), rl.ones_like(self.concentration), self.concentration)

    def rsample(self, sample_shape=()):
        return self.icdf(rl.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y, k = (value - self.loc) / self.scale, self._safe()
        power = -(1 + 1 / k) * rl.log1p(k * y)
        return rl.where(self._is_exponential(), -y, power) - rl.log(self.scale)

    def log_survival_function(self, value):
        """log of the probability of a sample above value."""
        if self._validate_args:
            self._validate_sample(value)
        y, k = (value - self.loc) / self.scale, self._safe()
        return rl.where(self._is_exponential(), -y, -rl.log1p(k * y) / k)

    def log_cdf(self, value):
        """log of cdf()."""
        return rl.log1p(-rl.exp(self.log_survival_function(value)))

    def cdf(self, value):
        return rl.exp(self.log_cdf(value))

    def icdf(self, value):
        k = self._safe()
        log_left = rl.log1p(-value)
        return self.loc + self.scale * rl.where(
            self._is_exponential(), -log_left, rl.expm1(-k * log_left) / k
        )

    @property
    def mean(self):
        k = self.concentration
        return rl.where(k < 1, self.loc + self.scale / (1 - k), float("inf"))

    @property
    def variance(self):
        k = self.concentration
        return rl.where(k < 0.5, self.scale**2 / ((1 - k) ** 2 * (1 - 2 * k)), float("inf"))

    @property
    def mode(self):
        return self.loc

    def entropy(self):
        return rl.log(self.scale) + self.concentration + 1

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        upper = rl.where(self.concentration < 0, self.loc - self.scale / self._safe(), float("inf"))
        return constraints.interval(self.loc, upper)
