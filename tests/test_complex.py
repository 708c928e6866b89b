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


def test_complex32_holds_two_halfs():
    x = rl.tensor([1.5 - 2j, 0.1 + 7e4j], dtype=rl.complex32)
    assert x.dtype is rl.chalf and x.element_size() == 4 and x.real.dtype is rl.float16
    assert x.tolist() == [1.5 - 2j, complex(rl.tensor(0.1).half().item(), float("inf"))]
    assert repr(x[:1]) == "tensor([1.5000-2.j], dtype=torch.complex32)"
    assert rl.view_as_real(x[:1]).tolist() == [[1.5, -2]] and rl.view_as_complex(rl.view_as_real(x)).dtype is rl.complex32
    for dtype in (rl.complex64, rl.complex128, rl.float32, rl.int32, rl.bool, rl.bfloat16):
        assert x[:1].to(dtype).tolist() == x[:1].to(rl.complex64).to(dtype).tolist()
        assert rl.tensor([3], dtype=dtype).to(rl.complex32).tolist() == [rl.tensor([3], dtype=dtype).item()]
    assert x.half().dtype is rl.float16 and rl.ones(1).chalf().dtype is rl.complex32
    with pytest.raises(TypeError, match="Got unsupported ScalarType ComplexHalf"):
        x.numpy()


def test_complex32_computes_as_complex64_and_rounds():
    random = np.random.default_rng(0)
    numbers = [rl.from_numpy(random.standard_normal((5, 7)) + 1j * random.standard_normal((5, 7))).to(rl.complex32) for _ in "ab"]
    wide = [x.to(rl.complex64) for x in numbers]
    for op in (rl.add, rl.sub, rl.mul, rl.div, rl.eq):
        expected = op(*wide)
        assert op(*numbers).equal(expected.to(rl.complex32) if expected.is_complex() else expected)
    assert numbers[0].t().exp().equal(wide[0].t().exp().to(rl.complex32))
    assert numbers[0].abs().equal(wide[0].abs().half())
    leaf = numbers[0].clone().requires_grad_()
    leaf.mul(numbers[1]).real.backward(rl.ones(5, 7).half())
    assert leaf.grad.equal(numbers[1].conj()) and leaf.grad.dtype is rl.complex32


def test_complex32_is_the_partner_of_float16():
    half = rl.ones(2, dtype=rl.float16)
    assert (half * 1j).dtype is rl.complex(half, half).dtype is rl.float16.to_complex() is rl.complex32
    assert rl.complex32.to_real() is rl.float16 and rl.randn(2, dtype=rl.complex32).dtype is rl.complex32
    assert rl.promote_types(rl.complex32, rl.bfloat16) is rl.complex64
    for call, name in ((lambda x: x.sum(), "sum_cpu"), (lambda x: x @ x, "dot"), (lambda x: x.sort(), "Sort does not")):
        with pytest.raises((NotImplementedError, RuntimeError), match=name):
            call(rl.ones(3, dtype=rl.complex32))


def test_quantised_dtypes_of_several_numbers_a_byte_are_names():
    assert repr(rl.quint4x2) == "torch.quint4x2" and rl.quint2x4.itemsize == 1
    for make in (lambda d: rl.zeros(2).to(d), lambda d: rl.empty(2, dtype=d), lambda d: rl.quantize_per_tensor(rl.ones(2), 1.0, 0, d)):
        for dtype in (rl.quint4x2, rl.quint2x4):
            with pytest.raises(NotImplementedError, match=str(dtype).removeprefix("torch.")):
                make(dtype)
