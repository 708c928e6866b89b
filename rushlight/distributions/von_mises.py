"""The von Mises distribution."""

import math

import rushlight as rl

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property

__all__ = ["VonMises"]


def _log_i0(x):
    """log of the modified Bessel function of order 0."""
    return rl.log(rl.special.i0e(x)) + x.abs()


class VonMises(Distribution):
    """The normal distribution's relative on the circle: angles around loc."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc, concentration, validate_args=None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        log_prob = self.concentration * rl.cos(value - self.loc)
        return log_prob - math.log(2 * math.pi) - _log_i0(self.concentration)

    @lazy_property
    def _proposal_r(self):
        kappa = self.concentration.double()
        tau = 1 + (1 + 4 * kappa**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
        exact = (1 + rho**2) / (2 * rho)
        return rl.where(
            kappa < 1e-5, 1 / kappa + kappa, exact
        )  # the first terms of its series, for small kappa

    def _expand_parts(self, old, batch_shape):
        self.__dict__.pop("_proposal_r", None)

    def sample(self, sample_shape=()):
        """Rejection sampling with a wrapped Cauchy proposal (Best and Fisher, 1979), in double precision."""
        shape = self._extended_shape(sample_shape)
        with rl.no_grad():
            kappa, r = self.concentration.double().expand(shape), self._proposal_r.expand(shape)
            angle = rl.empty(shape, dtype=rl.float64)
            done = rl.zeros(shape, dtype=rl.bool)
            while not bool(done.all()):
                u1, u2, u3 = rl.rand((3, *shape), dtype=rl.float64).unbind()
                z = rl.cos(math.pi * u1)
                f = (1 + r * z) / (r + z)
                c = kappa * (r - f)
                accept = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                if bool(accept.any()):
                    angle = rl.where(accept, (u3 - 0.5).sign() * f.acos(), angle)
                    done = done | accept
            return ((angle + math.pi + self.loc.double()) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        """1 minus the mean cosine: the circular variance."""
        return 1 - rl.special.i1e(self.concentration) / rl.special.i0e(self.concentration)
