"""Complex numbers in reductions, scans and convolutions: values against NumPy, derivatives by differences, and what has no
complex form."""

import numpy as np
import pytest

import rushlight as rl
from rushlight.autograd import gradcheck
from rushlight.nn import functional as F


def leaf(*shape, seed=0):
    random = np.random.RandomState(seed + sum(shape))
    return rl.from_numpy(random.randn(*shape) + 1j * random.randn(*shape)).requires_grad_()


@pytest.mark.parametrize("correction", [0, 1, 2])
@pytest.mark.parametrize("dim", [0, (0, 2), None])
def test_var_and_std(dim, correction):
    x = leaf(4, 3, 2)
    a = x.detach().numpy()
    expected = a.var(axis=dim, ddof=correction)
    variance, mean = rl.var_mean(x, dim, correction=correction)
    assert variance.dtype is rl.float64 and mean.dtype is rl.complex128
    np.testing.assert_allclose(variance.detach().numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(mean.detach().numpy(), a.mean(axis=dim), rtol=1e-12)
    np.testing.assert_allclose(rl.std(x, dim, correction=correction).detach().numpy(), np.sqrt(expected), rtol=1e-12)
    assert gradcheck(lambda x: rl.var(x, dim, correction=correction), x)
    assert gradcheck(lambda x: rl.std(x, dim, correction=correction, keepdim=True), x)


def test_logsumexp_and_logcumsumexp():
    x = leaf(4, 3)
    a = x.detach().numpy()
    np.testing.assert_allclose(rl.logsumexp(x, 0).detach().numpy(), np.log(np.exp(a).sum(0)), rtol=1e-12)
    result = rl.logcumsumexp(x, 0).detach().numpy()
    np.testing.assert_allclose(np.exp(result), np.exp(a).cumsum(0), rtol=1e-12)
    assert gradcheck(lambda x: rl.logsumexp(x, (0, 1)), x)
    assert gradcheck(lambda x: rl.logcumsumexp(x, 1), x)
    far = rl.tensor([800 + 1j, 801 - 2j, float("-inf")], dtype=rl.complex128)
    assert rl.logcumsumexp(far, 0).isfinite().all() and rl.logsumexp(far, 0).isfinite()


def test_convolution():
    x, weight, bias = leaf(1, 2, 5), leaf(3, 2, 2), leaf(3)
    result = rl.convolution(x, weight, bias, 1, 0, 1, False, 0, 1)
    assert result.allclose(F.conv1d(x, weight, bias))
    windows = np.lib.stride_tricks.sliding_window_view(x.detach().numpy(), 2, axis=2)  # (1, 2, 4, 2)
    expected = np.einsum("nctk,ock->not", windows, weight.detach().numpy()) + bias.detach().numpy()[:, None]
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-12)
    assert gradcheck(F.conv1d, (x, weight, bias))


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda x: x.argmax(), RuntimeError, "argmax(): does not support complex input"),
        (lambda x: x.min(0), RuntimeError, "min(): does not support complex input"),
        (lambda x: x.sort(), RuntimeError, " Sort does not support complex dtypes on CPU"),
        (lambda x: x.topk(1), RuntimeError, " topk does not support complex dtypes on CPU"),
        (lambda x: x.median(), NotImplementedError, "\"median_cpu\" not implemented for 'ComplexDouble'"),
        (lambda x: x.median(0), NotImplementedError, "\"median_out\" not implemented for 'ComplexDouble'"),
        (lambda x: x.mode(), NotImplementedError, "\"mode_cpu\" not implemented for 'ComplexDouble'"),
        (lambda x: x.unique(), NotImplementedError, "\"unique\" not implemented for 'ComplexDouble'"),
        (lambda x: x.cummax(0), NotImplementedError, "\"cummax_cpu\" not implemented for 'ComplexDouble'"),
    ],
)
def test_what_has_no_complex_form(call, kind, text):
    with pytest.raises(kind) as error:
        call(leaf(3).detach())
    assert str(error.value) == text
