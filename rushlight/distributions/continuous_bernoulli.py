"""The continuous Bernoulli distribution."""

import math

import rushlight as rl
import rushlight.nn.functional as F

from . import constraints
from .bernoulli import one_of
from .exp_family import ExponentialFamily
from .utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs, probs_to_logits

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(ExponentialFamily):
    """Density proportional to probs**x * (1 - probs)**(1 - x) on [0, 1].

    Near probs = 1/2, inside lims, Taylor polynomials replace formulas that divide 0 by 0 there.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None):
        self._given, value = one_of(probs, logits)
        (value,) = broadcast_all(value)
        if (
            probs is not None
            and validate_args is not None
            and not bool(self.arg_constraints["probs"].check(value).all())
        ):
            raise ValueError("The parameter probs has invalid values")
        setattr(self, self._given, clamp_probs(value) if probs is not None else value)
        self._lims = lims
        super().__init__(value.size(), validate_args=validate_args)

    def _outside(self):
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self):
        """probs, moved out of the middle where the formulas divide by zero."""
        return rl.where(self._outside(), self.probs, self._lims[0] * rl.ones_like(self.probs))

    def _log_constant(self):
        p = self._cut_probs()
        below, above = rl.where(p <= 0.5, p, 0.0), rl.where(p >= 0.5, p, 1.0)
        log_norm = rl.log(rl.abs(rl.log1p(-p) - rl.log(p))) - rl.where(
            p <= 0.5, rl.log1p(-2.0 * below), rl.log(2.0 * above - 1.0))  # fmt: skip
        x = (self.probs - 0.5).pow(2)
        return rl.where(self._outside(), log_norm, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self):
        p = self._cut_probs()
        exact = p / (2.0 * p - 1.0) + 1.0 / (rl.log1p(-p) - rl.log(p))
        x = self.probs - 0.5
        return rl.where(self._outside(), exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)

    @property
    def stddev(self):
        return rl.sqrt(self.variance)

    @property
    def variance(self):
        p = self._cut_probs()
        exact = p * (p - 1.0) / (1.0 - 2.0 * p).pow(2) + 1.0 / (rl.log1p(-p) - rl.log(p)).pow(2)
        x = (self.probs - 0.5).pow(2)
        return rl.where(self._outside(), exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    @lazy_property
    def logits(self):
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self):
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    @property
    def param_shape(self):
        return self.__dict__[self._given].size()

    def rsample(self, sample_shape=()):
        return self.icdf(rl.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_constant()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        p = self._cut_probs()
        exact = (rl.pow(p, value) * rl.pow(1.0 - p, 1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = rl.where(self._outside(), exact, value)
        return rl.where(value <= 0.0, 0.0, rl.where(value >= 1.0, 1.0, inside))

    def icdf(self, value):
        p = self._cut_probs()
        exact = (rl.log1p(-p + value * (2.0 * p - 1.0)) - rl.log1p(-p)) / (rl.log(p) - rl.log1p(-p))
        return rl.where(self._outside(), exact, value)

    def entropy(self):
        log_left = rl.log1p(-self.probs)
        return self.mean * (log_left - rl.log(self.probs)) - self._log_constant() - log_left

    @property
    def _natural_params(self):
        return (self.logits,)

    def _log_normalizer(self, x):
        outside = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = rl.where(outside, x, (self._lims[0] - 0.5) * rl.ones_like(x))
        exact = rl.log(rl.abs(rl.special.expm1(cut))) - rl.log(rl.abs(cut))
        return rl.where(outside, exact, 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0)
