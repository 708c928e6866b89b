"""Distributions: samples from a seed, densities, moments, divergences and transforms as PyTorch gives them; derivatives of
samples; shapes, printing and errors."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import distributions as D
from rushlight.autograd import gradcheck

T = torch.tensor


def pairs(name):
    """A vector file's entries: an expression and the indented line under it."""
    lines = (Path(__file__).parent / "vectors" / name).read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    return list(zip(lines[::2], (line.strip() for line in lines[1::2])))


@pytest.mark.parametrize("expression, expected", pairs("distributions.txt"))
def test_values(expression, expected):
    shape, values = expected.split(")", 1)
    result = eval(expression, {"torch": torch, "T": T, "D": D})
    assert tuple(result.shape) == eval(shape + ")")
    expected = np.array([float(value) for value in values.split()])
    np.testing.assert_allclose(result.detach().double().numpy().ravel(), expected, rtol=5e-4, atol=5e-5)


# ---- derivatives ----

TWO = ["Normal", "Uniform", "Laplace", "Cauchy", "Gumbel", "LogNormal", "Weibull", "Pareto", "Kumaraswamy", "Gamma", "Beta",
       "StudentT", "FisherSnedecor", "InverseGamma"]  # fmt: skip
ONE = ["Exponential", "HalfNormal", "HalfCauchy", "Chi2"]


def parameters(name):
    first = T([0.7, 1.3], dtype=torch.float64)
    second = T([2.2, 3.1], dtype=torch.float64)
    return [p.requires_grad_() for p in ([first] if name in ONE else [first, second])]


@pytest.mark.parametrize("name", TWO + ONE)
def test_density_gradients(name):
    given = parameters(name)
    torch.manual_seed(2)
    value = getattr(D, name)(*given).sample((2,))
    assert gradcheck(lambda *p: getattr(D, name)(*p, validate_args=False).log_prob(value), given)


@pytest.mark.parametrize(
    "name", ["Normal", "Uniform", "Laplace", "Gumbel", "LogNormal", "Weibull", "Exponential", "HalfNormal"]
)
def test_sample_gradients(name):
    """The same draws with other parameters: finite differences are exact."""

    def sample(*p):
        torch.manual_seed(1)
        return getattr(D, name)(*p).rsample((3,))

    assert gradcheck(sample, parameters(name))


@pytest.mark.parametrize("concentration", [0.3, 1.0, 4.5, 60.0])
def test_gamma_samples_keep_their_quantile(concentration):
    a = torch.full((50,), concentration, dtype=torch.float64, requires_grad=True)
    x = D.Gamma(a, 1.0).rsample()
    (slope,) = torch.autograd.grad(x.sum(), a)
    h = 1e-4
    quantile = torch.special.gammainc(a.detach(), x.detach())
    moved = torch.special.gammainc(a.detach() + h, x.detach() + h * slope)
    assert float((moved - quantile).abs().max()) < 1e-6


def test_dirichlet_sample_gradients_keep_the_sum():
    a = T([0.5, 1.5, 3.0], dtype=torch.float64, requires_grad=True)
    x = D.Dirichlet(a).rsample((20,))
    (total,) = torch.autograd.grad(x.sum(), a, retain_graph=True)
    assert float(total.abs().max()) < 1e-12
    # the mean of x is a / sum(a): its derivative is the mean of the samples' derivatives
    torch.manual_seed(0)
    x = D.Dirichlet(a.expand(20000, 3)).rsample()
    (slope,) = torch.autograd.grad(x[:, 0].mean(), a)
    expected = [(5 - 0.5) / 25, -0.5 / 25, -0.5 / 25]
    np.testing.assert_allclose(slope.numpy(), expected, atol=3e-3)


def test_straight_through_gradient_reaches_the_probabilities():
    probs = T([0.2, 0.8], requires_grad=True)
    sample = D.OneHotCategoricalStraightThrough(probs).rsample()
    assert sorted(sample.tolist()) == [0.0, 1.0]
    (sample * T([1.0, 2.0])).sum().backward()
    assert probs.grad is not None


# ---- shapes, printing, errors ----


def test_shapes_and_expand():
    d = D.Normal(torch.zeros(3, 1), torch.ones(2))
    assert (d.batch_shape, d.event_shape) == ((3, 2), ())
    assert d.sample((5,)).shape == (5, 3, 2)
    wide = d.expand((4, 3, 2))
    assert wide.batch_shape == (4, 3, 2) and wide.loc.shape == (4, 3, 2)
    event = D.Independent(d, 1)
    assert (event.batch_shape, event.event_shape) == ((3,), (2,))
    assert event.log_prob(torch.zeros(3, 2)).shape == (3,)


def test_repr():
    assert repr(D.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
    assert repr(D.Categorical(T([0.5, 0.5]))) == "Categorical(probs: torch.Size([2]))"
    assert (
        repr(D.Independent(D.Normal(torch.zeros(2), 1.0), 1))
        == "Independent(Normal(loc: torch.Size([2]), scale: torch.Size([2])), 1)"
    )
    assert repr(D.ComposeTransform([D.ExpTransform()])) == "ComposeTransform(\n    ExpTransform()\n)"
    assert repr(D.constraints.unit_interval) == "Interval(lower_bound=0.0, upper_bound=1.0)"


@pytest.mark.parametrize("make, text", [
    (lambda: D.Normal(0.0, -1.0), "Expected parameter scale (Tensor of shape ()) of distribution Normal(loc: 0.0, scale: -1.0) to "
     "satisfy the constraint GreaterThan(lower_bound=0.0), but found invalid values:\n-1.0"),
    (lambda: D.Normal(0.0, 1.0).log_prob(T(math.nan)), "Expected value argument (Tensor of shape ()) to be within the support "
     "(Real()) of the distribution Normal(loc: 0.0, scale: 1.0), but found invalid values:\nnan"),
    (lambda: D.Normal(0.0, 1.0).log_prob(1.0), "The value argument to log_prob must be a Tensor"),
    (lambda: D.Bernoulli(), "Either `probs` or `logits` must be specified, but not both."),
    (lambda: D.Categorical(T(1.0)), "`probs` parameter must be at least one-dimensional."),
    (lambda: D.Normal("a", 1), "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
     "__torch_function__."),
])  # fmt: skip
def test_errors(make, text):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == text


def test_unknown_divergence():
    with pytest.raises(NotImplementedError):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Categorical(T([0.5, 0.5])))


def test_registered_divergence_and_subclasses():
    class Mine(D.Normal):
        pass

    assert float(D.kl_divergence(Mine(0.0, 1.0), D.Normal(1.0, 1.0))) == 0.5
    D.register_kl(Mine, Mine)(lambda p, q: "mine")
    assert D.kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0)) == "mine"


@pytest.mark.parametrize(
    "constraint", ["real", "positive", "nonnegative", "unit_interval", "simplex", "real_vector"]
)
def test_constraint_transforms(constraint):
    constraint = getattr(D.constraints, constraint)
    x = T([0.3, -1.2, 0.8])
    for registry in (D.biject_to, D.transform_to):
        y = registry(constraint)(x)
        assert bool(constraint.check(y).all())
        z = registry(constraint).inv(y)
        np.testing.assert_allclose(registry(constraint)(z).numpy(), y.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [
    lambda: D.Normal(T([0.0, 1.0]), 1.0), lambda: D.Gumbel(0.0, 1.0), lambda: D.Beta(1.0, 2.0),
    lambda: D.MixtureSameFamily(D.Categorical(T([0.3, 0.7])), D.Normal(T([-1.0, 1.0]), 1.0)),
])  # fmt: skip
def test_pickle(make):
    d = make()
    copy = pickle.loads(pickle.dumps(d))
    torch.manual_seed(0)
    first = d.sample()
    torch.manual_seed(0)
    assert torch.equal(first, copy.sample())


def test_policy_gradient_as_in_tutorials():
    logits = torch.zeros(3, requires_grad=True)
    d = D.Categorical(logits=logits)
    action = d.sample()
    (-d.log_prob(action) * 2.0).backward()
    expected = 2.0 * (torch.full((3,), 1 / 3) - (torch.arange(3) == action).float())
    np.testing.assert_allclose(logits.grad.numpy(), expected.numpy(), rtol=1e-6)
