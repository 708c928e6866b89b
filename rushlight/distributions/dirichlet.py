"""The Dirichlet distribution, and the derivative of its samples by the concentration."""

import numpy as np

import rushlight as rl

from .. import _C, _special_numpy
from ..autograd import Function
from ..autograd.function import once_differentiable
from . import constraints
from .exp_family import ExponentialFamily

__all__ = ["Dirichlet"]


class SampleDirichlet(Function):
    """Samples of a Dirichlet distribution.

    Component i has a beta distribution, which gives its own derivative by concentration i at a fixed quantile; the other
    components share the change in proportion, so that the sum stays 1.
    """

    @staticmethod
    def forward(ctx, concentration):
        samples = _C._sample_dirichlet(concentration.detach())
        ctx.save_for_backward(concentration, samples)
        return samples

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        concentration, samples = ctx.saved_tensors
        a, x, g = (t.detach().to(rl.float64).numpy() for t in (concentration, samples, grad))
        b = a.sum(-1, keepdims=True) - a
        with np.errstate(all="ignore"):
            log_beta = _special_numpy.lgamma(a) + _special_numpy.lgamma(b) - _special_numpy.lgamma(a + b)
            density = np.exp((a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - log_beta)
            slope = -_special_numpy.betainc_by_a(a, b, x) / density
        result = slope / (1 - x) * (g - (x * g).sum(-1, keepdims=True))
        return rl.from_numpy(np.asarray(result)).to(grad.dtype)


class Dirichlet(ExponentialFamily):
    """Distribution of probability vectors, with positive concentrations along the last dimension."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration, validate_args=None):
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args)

    def rsample(self, sample_shape=()):
        return SampleDirichlet.apply(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return rl.xlogy(a - 1.0, value).sum(-1) + rl.lgamma(a.sum(-1)) - rl.lgamma(a).sum(-1)

    @property
    def mean(self):
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self):
        less = (self.concentration - 1).clamp(min=0.0)
        mode = less / less.sum(-1, True)
        corner = (self.concentration < 1).all(-1, keepdim=True)
        largest = mode.argmax(-1, keepdim=True) == rl.arange(mode.shape[-1])
        return rl.where(corner, largest.to(mode.dtype), mode)

    @property
    def variance(self):
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self):
        a, k = self.concentration, self.concentration.size(-1)
        total = a.sum(-1)
        return (rl.lgamma(a).sum(-1) - rl.lgamma(total) - (k - total) * rl.digamma(total)
                - ((a - 1.0) * rl.digamma(a)).sum(-1))  # fmt: skip

    @property
    def _natural_params(self):
        return (self.concentration,)

    def _log_normalizer(self, x):
        return x.lgamma().sum(-1) - rl.lgamma(x.sum(-1))
