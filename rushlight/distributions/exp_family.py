"""Exponential families: distributions with a density exp(<t(x), natural parameters> - log normaliser + carrier)."""

import rushlight as rl

from .distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Base of exponential families: the entropy follows from the derivative of the log normaliser."""

    @property
    def _natural_params(self):
        raise NotImplementedError

    def _log_normalizer(self, *natural_params):
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self):
        raise NotImplementedError

    def entropy(self):
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        with rl.enable_grad():
            log_normalizer = self._log_normalizer(*natural)
            gradients = rl.autograd.grad(log_normalizer.sum(), natural, create_graph=True)
        result = log_normalizer - self._mean_carrier_measure
        for parameter, gradient in zip(natural, gradients):
            result = result - (parameter * gradient).reshape(self._batch_shape + (-1,)).sum(-1)
        return result
