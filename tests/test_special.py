"""rushlight.special: stored values of PyTorch, derivatives against finite differences, accuracy at the edges, errors."""

import math
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import special as S
from rushlight.autograd import gradcheck

T = torch.tensor


def ramp(*shape, scale=2.0, **options):
    values = [((i * 613) % 1009) / 1009 * 2 * scale - scale for i in range(math.prod(shape))]
    return T(values, **options).reshape(shape)


def pairs(name):
    lines = (Path(__file__).parent / "vectors" / name).read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    return list(zip(lines[::2], (line.strip() for line in lines[1::2])))


@pytest.mark.parametrize("expression, expected", pairs("special.txt"))
def test_values(expression, expected):
    shape, values = expected.split(")", 1)
    result = eval(expression, {"torch": torch, "T": T, "S": S, "ramp": ramp})
    assert tuple(result.shape) == eval(shape + ")")
    expected = np.array([float(value) for value in values.split()])
    np.testing.assert_allclose(result.double().numpy().ravel(), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["erfcx", "log_ndtr", "i0e", "i1e", "expit", "entr", "psi", "gammaln"])
def test_derivatives(name):
    x = T(
        [0.3, 1.2, 4.0] if name in ("entr", "psi", "gammaln") else [-2.5, 0.3, 1.2, 4.0], dtype=torch.float64
    )
    assert gradcheck(getattr(S, name), (x.requires_grad_(),))


@pytest.mark.parametrize("function", [
    lambda x: S.gammainc(T([0.5, 2.0, 5.0], dtype=torch.float64), x), lambda x: S.gammaincc(T(2.5, dtype=torch.float64), x),
    lambda x: S.zeta(T(2.5, dtype=torch.float64), x), lambda x: S.xlog1py(x, 2 * x), lambda x: S.legendre_polynomial_p(x, 3),
])  # fmt: skip
def test_derivatives_by_the_second_argument(function):
    assert gradcheck(function, (T([0.4, 1.7, 6.0], dtype=torch.float64, requires_grad=True),))


def test_missing_derivative_says_so():
    a = T([1.5], requires_grad=True)
    with pytest.raises(NotImplementedError, match="igamma"):
        S.gammainc(a, T([1.0])).backward()


def test_accuracy():
    # values with 17 digits from series in higher precision
    cases = [(S.bessel_j0, 5.0916666666666666, -0.14714114109868767), (S.bessel_j1, 1e-8, 5e-9), (S.i1e, 1e-8, 4.99999995e-9),
             (S.erfcx, 20.0, 0.028174348741051319), (S.log_ndtr, -40.0, -804.6084420137538)]  # fmt: skip
    for function, x, expected in cases:
        assert float(function(T([x], dtype=torch.float64))) == pytest.approx(expected, rel=1e-12)
    lower = S.gammainc(T([20.0667], dtype=torch.float64), T([14.0767], dtype=torch.float64))
    upper = S.gammaincc(T([20.0667], dtype=torch.float64), T([14.0767], dtype=torch.float64))
    assert float(lower + upper) == pytest.approx(1.0, abs=1e-15)


def test_dtypes():
    assert S.i0e(T([1, 2])).dtype is torch.float32
    assert S.bessel_j0(T([1.0], dtype=torch.float64)).dtype is torch.float64
    assert S.log_ndtr(T([1, 2])).dtype is torch.float32
    with pytest.raises(NotImplementedError, match="igamma_cpu"):
        S.gammainc(T([1]), T([2]))
    assert S.erfcx(torch.empty(0)).shape == (0,)
    assert S.zeta(T(2.0), 1).shape == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_logsumexp_of_infinities_and_any_dimensions(dtype):
    inf, nan = math.inf, math.nan
    rows = torch.tensor(
        [[inf, 1, 2], [-inf, -inf, -inf], [-inf, 0, 0], [inf, nan, 1], [-inf, inf, 3], [nan, 1, 2]],
        dtype=dtype,
    )
    found = rows.logsumexp(1).double().numpy()
    np.testing.assert_allclose(
        found, [inf, -inf, math.log(2), nan, inf, nan], rtol=4e-3 if dtype == torch.bfloat16 else 1e-6
    )
    assert rows[:, :0].logsumexp(1).tolist() == [-inf] * 6
    x = np.random.default_rng(0).normal(size=(3, 20, 4, 5)) * 30
    for dims in [(0,), (1, 3), (0, 2), (3,), (0, 1, 2, 3)]:
        t = torch.from_numpy(x).to(dtype)
        want = np.log(np.exp(t.double().numpy()).sum(dims))
        np.testing.assert_allclose(
            t.logsumexp(dims).double().numpy(), want, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5
        )
