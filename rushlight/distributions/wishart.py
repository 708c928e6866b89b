"""The Wishart distribution."""

import math

import rushlight as rl

from . import constraints
from .chi2 import Chi2
from .exp_family import ExponentialFamily
from .multivariate_normal import precision_to_scale_tril
from .utils import lazy_property

__all__ = ["Wishart"]


class Wishart(ExponentialFamily):
    """Sums of outer products of df normal vectors: positive definite matrices, by Bartlett's decomposition."""

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None
    ):
        given = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                "Expected exactly one of covariance_matrix or precision_matrix or scale_tril to be specified."
            )
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
            )
        df = rl.tensor(df, dtype=matrix.dtype) if not isinstance(df, rl.Tensor) else df
        event_shape = matrix.shape[-2:]
        batch_shape = rl.broadcast_shapes(df.shape, matrix.shape[:-2])
        setattr(self, name, matrix.expand(batch_shape + event_shape))
        self.df = df.expand(batch_shape)
        if bool((self.df <= event_shape[-1] - 1).any()):
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {event_shape[-1] - 1}."
            )
        super().__init__(batch_shape, event_shape, validate_args)
        if name == "covariance_matrix":
            self._factor = rl.linalg.cholesky(matrix)
        else:
            self._factor = matrix if name == "scale_tril" else precision_to_scale_tril(matrix)
        self._chi2 = self._diagonal()

    @property
    def arg_constraints(self):
        n = self.__dict__.get("_event_shape", (1,))[-1]
        return {"covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
                "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(n - 1)}  # fmt: skip

    def _diagonal(self):
        """Squares of the diagonal of Bartlett's factor."""
        n = self._event_shape[-1]
        return Chi2(
            self.df.unsqueeze(-1) - rl.arange(n, dtype=self.df.dtype).expand(self._batch_shape + (n,))
        )

    def _expand_parts(self, old, batch_shape):
        self._chi2 = self._diagonal()

    @lazy_property
    def scale_tril(self):
        return self._factor.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self):
        return (self._factor @ self._factor.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self):
        return rl.cholesky_inverse(self._factor).expand(self._batch_shape + self._event_shape)

    @property
    def mean(self):
        return self.df.reshape(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def mode(self):
        factor = (self.df - self.covariance_matrix.shape[-1] - 1).masked_fill(
            self.df <= self.covariance_matrix.shape[-1] + 1, float("nan"))  # fmt: skip
        return factor.reshape(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def variance(self):
        v = self.covariance_matrix
        d = v.diagonal(0, -2, -1)
        return self.df.reshape(self._batch_shape + (1, 1)) * (v.pow(2) + d.unsqueeze(-1) * d.unsqueeze(-2))

    def rsample(self, sample_shape=()):
        n = self._event_shape[-1]
        shape = rl.Size(sample_shape) + self._batch_shape
        diagonal = self._chi2.rsample(sample_shape).sqrt()
        below = rl.randn(shape + (n * (n - 1) // 2,), dtype=self._factor.dtype)
        cells = [i * n + j for i in range(n) for j in range(i)]
        noise = rl.zeros(shape + (n * n,), dtype=self._factor.dtype)
        if cells:
            noise = noise.scatter(-1, rl.tensor(cells).expand(below.shape), below)
        factor = self._factor @ (noise.reshape(shape + (n, n)) + diagonal.diag_embed())
        return factor @ factor.mT

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n, nu = self._event_shape[-1], self.df
        log_det_scale = 2 * self._factor.diagonal(0, -2, -1).log().sum(-1)
        solved = rl.cholesky_solve(value, self._factor)
        return (-0.5 * nu * (log_det_scale + n * math.log(2.0)) - rl.mvlgamma(nu / 2, n)
                + 0.5 * (nu - n - 1) * rl.linalg.slogdet(value)[1] - 0.5 * solved.diagonal(0, -2, -1).sum(-1))  # fmt: skip

    def entropy(self):
        n, nu = self._event_shape[-1], self.df
        log_det_scale = 2 * self._factor.diagonal(0, -2, -1).log().sum(-1)
        steps = rl.arange(n, dtype=self._factor.dtype)
        digammas = rl.digamma(nu.unsqueeze(-1) / 2 - steps / 2).sum(-1)
        return (0.5 * (n + 1) * (log_det_scale + n * math.log(2)) + rl.mvlgamma(nu / 2, n)
                - 0.5 * (nu - n - 1) * digammas + 0.5 * nu * n)  # fmt: skip
