"""The gamma distribution, and the derivative of its samples by the concentration."""

import numpy as np

import rushlight as rl

from .. import _C, _special_numpy
from ..autograd import Function
from ..autograd.function import once_differentiable
from . import constraints
from .exp_family import ExponentialFamily
from .utils import broadcast_all

__all__ = ["Gamma"]


class StandardGamma(Function):
    """Samples of rate 1. A sample x keeps its quantile when a changes: dx/da = -(dP/da) / (dP/dx)."""

    @staticmethod
    def forward(ctx, concentration):
        samples = _C._standard_gamma(concentration.detach())
        ctx.save_for_backward(concentration, samples)
        return samples

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        concentration, samples = ctx.saved_tensors
        a, x = (t.detach().to(rl.float64).numpy() for t in (concentration, samples))
        with np.errstate(all="ignore"):
            density = np.exp((a - 1) * np.log(x) - x - _special_numpy.lgamma(a))
            slope = -_special_numpy.gammainc_by_a(a, x) / density
        return grad * rl.from_numpy(np.asarray(slope)).to(grad.dtype)


def standard_gamma(concentration):
    """Samples of Gamma(concentration, 1), differentiable by the concentration."""
    return StandardGamma.apply(concentration)


class Gamma(ExponentialFamily):
    """Gamma distribution of a concentration (shape) and a rate."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration, rate, validate_args=None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.size(), validate_args=validate_args)

    @property
    def mean(self):
        return self.concentration / self.rate

    @property
    def mode(self):
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self):
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=rl.finfo(value.dtype).tiny)  # the same memory: samples stay positive
        return value

    def log_prob(self, value):
        value = rl.as_tensor(value, dtype=self.rate.dtype)
        if self._validate_args:
            self._validate_sample(value)
        return (rl.xlogy(self.concentration, self.rate) + rl.xlogy(self.concentration - 1, value) - self.rate * value
                - rl.lgamma(self.concentration))  # fmt: skip

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return rl.special.gammainc(self.concentration, self.rate * value)

    def entropy(self):
        a = self.concentration
        return a - rl.log(self.rate) + rl.lgamma(a) + (1.0 - a) * rl.digamma(a)

    @property
    def _natural_params(self):
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x, y):
        return rl.lgamma(x + 1) + (x + 1) * rl.log(-y.reciprocal())
