"""The Kullback-Leibler divergence between two distributions, by the pair of their types."""

import math
import warnings

import rushlight as rl

from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .cauchy import Cauchy
from .continuous_bernoulli import ContinuousBernoulli
from .dirichlet import Dirichlet
from .distribution import Distribution
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .gumbel import Gumbel, euler_constant
from .half_normal import HalfNormal
from .independent import Independent
from .laplace import Laplace
from .lowrank_multivariate_normal import LowRankMultivariateNormal
from .multivariate_normal import MultivariateNormal, batch_mahalanobis
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .pareto import Pareto
from .poisson import Poisson
from .transformed_distribution import TransformedDistribution
from .uniform import Uniform
from .utils import sum_rightmost

__all__ = ["kl_divergence", "register_kl"]

_registered = {}  # (type of p, type of q) -> function


def register_kl(type_p, type_q):
    """Decorator: the function gives kl_divergence(p, q) for these types and their subclasses."""
    for name, cls in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(cls, type) and issubclass(cls, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {cls}")

    def record(function):
        _registered[type_p, type_q] = function
        return function

    return record


def _find(type_p, type_q):
    """The function of the most specific registered pair."""
    pairs = [pair for pair in _registered if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])]
    if not pairs:
        return None

    def distance(pair):
        return type_p.__mro__.index(pair[0]), type_q.__mro__.index(pair[1])

    by_p = min(pairs, key=distance)
    by_q = min(pairs, key=lambda pair: distance(pair)[::-1])
    if _registered[by_p] is not _registered[by_q]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please register_kl({by_p[0].__name__}, "
            f"{by_q[1].__name__})", RuntimeWarning, stacklevel=3)  # fmt: skip
    return _registered[by_p]


def kl_divergence(p, q):
    """The divergence of q from p: the mean of log p(x) - log q(x) over x drawn from p.

    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    function = _find(type(p), type(q))
    if function is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
        )
    return function(p, q)


def _infinite(p, q):
    """q has no density where p has some."""
    shape = rl.broadcast_shapes(p.batch_shape, q.batch_shape)
    return rl.full(shape, float("inf"), dtype=rl.get_default_dtype())


_BOUNDED, _POSITIVE, _WHOLE, _LINE = (
    (Beta, ContinuousBernoulli),
    (Exponential, Gamma),
    (Poisson,),
    (Normal, Laplace, Gumbel),
)
for _p, _q in [(p, q) for p in (*_LINE, *_POSITIVE, Pareto) for q in (*_BOUNDED, Uniform)] + [
        (p, q) for p in _LINE for q in (*_POSITIVE, Pareto)] + [
        (p, q) for p in _POSITIVE for q in (Pareto,)] + [
        (Poisson, q) for q in (Bernoulli, Binomial)] + [(p, Pareto) for p in _BOUNDED]:  # fmt: skip
    register_kl(_p, _q)(_infinite)

# ---- one family ----


@register_kl(Normal, Normal)
def _normal(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p, q):
    return _normal(p.base_dist, q.base_dist)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p, q):
    from ..nn.functional import softplus

    one = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    one = rl.where(p.probs == 0, 0.0, rl.where(q.probs == 0, float("inf"), one))
    zero = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    zero = rl.where(p.probs == 1, 0.0, rl.where(q.probs == 1, float("inf"), zero))
    return one + zero


@register_kl(Binomial, Binomial)
def _binomial(p, q):
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return rl.where(p.total_count > q.total_count, float("inf"), kl)


@register_kl(Categorical, Categorical)
def _categorical(p, q):
    terms = p.probs * (p.logits - q.logits)
    terms = rl.where((q.probs == 0).expand(terms.shape), float("inf"), terms)
    return rl.where((p.probs == 0).expand(terms.shape), 0.0, terms).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p, q):
    return _categorical(p._categorical, q._categorical)


@register_kl(Beta, Beta)
def _beta(p, q):
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p, q):
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    norm = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return norm + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Exponential, Exponential)
def _exponential(p, q):
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(Gamma, Gamma)
def _gamma(p, q):
    a, b = p.concentration, q.concentration
    return (b * (p.rate / q.rate).log() + rl.lgamma(b) - rl.lgamma(a) + (a - b) * rl.digamma(a)
            + (q.rate - p.rate) * (a / p.rate))  # fmt: skip


@register_kl(Geometric, Geometric)
def _geometric(p, q):
    return -p.entropy() - rl.log1p(-q.probs) / p.probs - q.logits


@register_kl(Gumbel, Gumbel)
def _gumbel(p, q):
    ratio = p.scale / q.scale
    shift = (p.loc - q.loc) / q.scale
    return (
        -ratio.log()
        + ratio * euler_constant
        + shift
        + rl.exp(rl.lgamma(1 + ratio) - shift)
        - (1 + euler_constant)
    )


@register_kl(Laplace, Laplace)
def _laplace(p, q):
    distance = (p.loc - q.loc).abs()
    ratio = p.scale / q.scale
    return -ratio.log() + distance / q.scale + ratio * rl.exp(-distance / p.scale) - 1


@register_kl(Poisson, Poisson)
def _poisson(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniform(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return rl.where((q.low > p.low) | (q.high < p.high), float("inf"), result)


@register_kl(Pareto, Pareto)
def _pareto(p, q):
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return rl.where(p.support.lower_bound < q.support.lower_bound, float("inf"), result)


@register_kl(Cauchy, Cauchy)
def _cauchy(p, q):
    top = ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log()
    return top - (4 * p.scale * q.scale).log()


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p, q):
    mean = p.mean * (p.logits - q.logits)
    return mean + p._log_constant() + rl.log1p(-p.probs) - q._log_constant() - rl.log1p(-q.probs)


def _scale_tril(d):
    return d.scale_tril if isinstance(d, LowRankMultivariateNormal) else d._factor


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _multivariate_normal(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    a, b = _scale_tril(p), _scale_tril(q)
    half_log_ratio = b.diagonal(0, -2, -1).log().sum(-1) - a.diagonal(0, -2, -1).log().sum(-1)
    shape = rl.broadcast_shapes(a.shape, b.shape)
    trace = rl.linalg.solve_triangular(b.expand(shape), a.expand(shape), upper=False).pow(2).sum((-2, -1))
    return half_log_ratio + 0.5 * (trace + batch_mahalanobis(b, q.loc - p.loc) - p.event_shape[0])


@register_kl(Independent, Independent)
def _independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


# ---- different families ----


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Beta, Uniform)
def _beta_uniform(p, q):
    result = -p.entropy() + (q.high - q.low).log()
    return rl.where((q.low > 0) | (q.high < 1), float("inf"), result)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p, q):
    ratio = q.rate / p.rate
    a = q.concentration
    return -a * rl.log(ratio) + ratio + rl.lgamma(a) + a * euler_constant - (1 + euler_constant)


@register_kl(Exponential, Normal)
def _exponential_normal(p, q):
    variance = q.scale.pow(2)
    entropy = rl.log(p.rate.pow(2) * variance * 2 * math.pi)
    return 0.5 * (
        entropy
        - 2
        + 2 / (p.rate.pow(2) * variance)
        - 2 * q.loc / (p.rate * variance)
        + q.loc.pow(2) / variance
    )


def _to_exponential(p, q):
    return -p.entropy() - q.rate.log() + q.rate * p.mean


for _cls in (Gamma, Beta, Pareto, ContinuousBernoulli):
    register_kl(_cls, Exponential)(_to_exponential)


def _to_gamma(mean_log):
    """By the mean and the mean logarithm of p."""

    def kl(p, q):
        norm = q.concentration.lgamma() - q.concentration * q.rate.log()
        return -p.entropy() + norm - (q.concentration - 1) * mean_log(p) + q.rate * p.mean

    return kl


def _integral_of_log(x):
    return rl.xlogy(x, x) - x


register_kl(Beta, Gamma)(
    _to_gamma(lambda p: p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma())
)
register_kl(Pareto, Gamma)(_to_gamma(lambda p: p.scale.log() + p.alpha.reciprocal()))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p, q):
    low = p.low.clamp(min=0)
    kl = _to_gamma(lambda p: (_integral_of_log(p.high) - _integral_of_log(low)) / (p.high - low))
    return rl.where(p.low < 0, float("inf"), kl(p, q))


def _to_gumbel(mean_exp):
    """By the mean of p and mean_exp(p, scale), the mean of exp(-x / scale)."""

    def kl(p, q):
        mean = mean_exp(p, q.scale) * rl.exp(q.loc / q.scale)
        return -p.entropy() + q.scale.log() + (p.mean - q.loc) / q.scale + mean

    return kl


register_kl(Exponential, Gumbel)(_to_gumbel(lambda p, s: p.rate / (p.rate + 1 / s)))
register_kl(Gamma, Gumbel)(_to_gumbel(lambda p, s: (p.rate / (p.rate + 1 / s)).pow(p.concentration)))
register_kl(Uniform, Gumbel)(
    _to_gumbel(lambda p, s: s * (rl.exp(-p.low / s) - rl.exp(-p.high / s)) / (p.high - p.low))
)


@register_kl(Beta, ContinuousBernoulli)
def _beta_continuous_bernoulli(p, q):
    return -p.entropy() - p.mean * q.logits - rl.log1p(-q.probs) - q._log_constant()


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p, q):
    result = -p.entropy() + (q.high - q.low).log()
    return rl.where((q.low > 0) | (q.high < 1), float("inf"), result)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p, q):
    low = p.low.clamp(min=0)
    mean_log = (_integral_of_log(p.high) - _integral_of_log(low)) / (p.high - low)
    result = -p.entropy() - q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * mean_log
    return rl.where(p.low < q.scale, float("inf"), result)


def _to_normal(p, q):
    """-entropy of p minus the mean of a normal log density, by mean and variance of p."""
    return (-p.entropy() + q.scale.log() + 0.5 * math.log(2 * math.pi)
            + 0.5 * (p.variance + (p.mean - q.loc).pow(2)) / q.scale.pow(2))  # fmt: skip


for _cls in (Gamma, Laplace, Gumbel, Beta, Uniform, ContinuousBernoulli, Pareto):
    register_kl(_cls, Normal)(_to_normal)


@register_kl(Normal, Laplace)
def _normal_laplace(p, q):
    distance = p.loc - q.loc
    z = distance / p.scale
    mean_distance = math.sqrt(2 / math.pi) * p.scale * rl.exp(-0.5 * z.pow(2)) + distance * rl.erf(
        math.sqrt(0.5) * z
    )
    return -p.entropy() + rl.log(2 * q.scale) + mean_distance / q.scale


@register_kl(Normal, Gumbel)
def _normal_gumbel(p, q):
    mean = (p.loc - q.loc) / q.scale
    spread = (p.scale / q.scale).pow(2)
    return -p.entropy() + q.scale.log() + mean + rl.exp(-mean + 0.5 * spread)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p, q):
    result = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return rl.where(p.low < 0, float("inf"), result)


@register_kl(Uniform, Beta)
def _uniform_beta(p, q):
    length = p.high - p.low

    a = (q.concentration1 - 1) * (_integral_of_log(p.high) - _integral_of_log(p.low)) / length
    b = (q.concentration0 - 1) * (_integral_of_log(1 - p.low) - _integral_of_log(1 - p.high)) / length
    norm = (
        q.concentration1.lgamma() + q.concentration0.lgamma() - (q.concentration1 + q.concentration0).lgamma()
    )
    return rl.where((p.high > 1) | (p.low < 0), float("inf"), norm - a - b - length.log())
