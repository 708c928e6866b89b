"""The multivariate normal distribution with a covariance of low rank plus a diagonal."""

import math

import rushlight as rl

from . import constraints
from .distribution import Distribution
from .multivariate_normal import batch_mahalanobis
from .utils import lazy_property, standard_normal

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of covariance W W^T + D; work grows with the rank of W, not with the dimension squared.

    The formulas go through the small capacitance matrix I + W^T D^-1 W (Woodbury).
    """

    arg_constraints = {"loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
                       "cov_diag": constraints.independent(constraints.positive, 1)}  # fmt: skip
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event_shape = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch dimensions"
            )
        if cov_factor.shape[-2:-1] != event_shape:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m")
        if cov_diag.shape[-1:] != event_shape:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event_shape}")
        batch_shape = rl.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        self.loc, self.cov_diag = (
            loc.expand(batch_shape + event_shape),
            cov_diag.expand(batch_shape + event_shape),
        )
        self.cov_factor = cov_factor.expand(batch_shape + cov_factor.shape[-2:])
        self._w, self._d = cov_factor, cov_diag  # as given: without the broadcast dimensions
        weighted = cov_factor.mT / cov_diag.unsqueeze(-2)
        self._capacitance_tril = rl.linalg.cholesky(
            weighted @ cov_factor + rl.eye(cov_factor.shape[-1], dtype=loc.dtype)
        )
        super().__init__(batch_shape, event_shape, validate_args)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        return (self._w.pow(2).sum(-1) + self._d).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self):
        matrix = self._w @ self._w.mT + self._d.diag_embed()
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        return rl.linalg.cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self):
        a = rl.linalg.solve_triangular(
            self._capacitance_tril, self._w.mT / self._d.unsqueeze(-2), upper=False
        )
        matrix = self._d.reciprocal().diag_embed() - a.mT @ a
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        eps_w = standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc.dtype)
        eps_d = standard_normal(shape, self.loc.dtype)
        return self.loc + (self._w @ eps_w.unsqueeze(-1)).squeeze(-1) + self._d.sqrt() * eps_d

    def _log_det(self):
        return 2 * self._capacitance_tril.diagonal(0, -2, -1).log().sum(-1) + self._d.log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        difference = value - self.loc
        weighted = self._w.mT / self._d.unsqueeze(-2)
        small = (weighted @ difference.unsqueeze(-1)).squeeze(-1)
        distance = (difference.pow(2) / self._d).sum(-1) - batch_mahalanobis(self._capacitance_tril, small)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + distance)

    def entropy(self):
        h = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return h.expand(self._batch_shape) if self._batch_shape else h
