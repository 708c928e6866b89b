"""rushlight.fft against numpy.fft, over dimensions, lengths, norms and dtypes; derivatives; errors."""

import numpy as np
import pytest

import rushlight as torch
from rushlight import fft
from rushlight.autograd import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((4, 5))
COMPLEX = REAL + 1j * RNG.standard_normal((4, 5))
ONE = {"fft": COMPLEX, "ifft": COMPLEX, "rfft": REAL, "irfft": COMPLEX, "hfft": COMPLEX, "ihfft": REAL}
MANY = {"fftn": COMPLEX, "ifftn": COMPLEX, "rfftn": REAL, "irfftn": COMPLEX}


@pytest.mark.parametrize("norm", [None, "forward", "backward", "ortho"])
@pytest.mark.parametrize("n, dim", [(None, -1), (3, -1), (8, 0), (7, 1)])
@pytest.mark.parametrize("name", ONE)
def test_one_dimension(name, n, dim, norm):
    result = getattr(fft, name)(torch.from_numpy(ONE[name]), n, dim, norm)
    np.testing.assert_allclose(result.numpy(), getattr(np.fft, name)(ONE[name], n, dim, norm), atol=1e-13)


@pytest.mark.parametrize("norm", [None, "forward", "ortho"])
@pytest.mark.parametrize("s, dim", [(None, None), (None, (1, 0)), ((3, 6), (0, 1)), ((5,), (0,))])
@pytest.mark.parametrize("name", MANY)
def test_several_dimensions(name, s, dim, norm):
    result = getattr(fft, name)(torch.from_numpy(MANY[name]), s, dim, norm)
    np.testing.assert_allclose(result.numpy(), getattr(np.fft, name)(MANY[name], s, dim, norm), atol=1e-13)


def test_two_dimensions_and_hermitian():
    x, z = torch.from_numpy(REAL), torch.from_numpy(COMPLEX)
    for name in ("fft", "ifft", "irfft"):
        expected = getattr(np.fft, name + "2")(COMPLEX)
        np.testing.assert_allclose(getattr(fft, name + "2")(z).numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(fft.hfftn(fft.ihfftn(x), s=(4, 5)).numpy(), REAL, atol=1e-13)
    np.testing.assert_allclose(
        fft.hfft2(z, s=(4, 6)).numpy(), np.fft.irfft2(COMPLEX.conj(), s=(4, 6)) * 24, atol=1e-12
    )
    np.testing.assert_allclose(fft.ihfft2(x).numpy(), fft.rfft2(x).conj().numpy() / 20, atol=1e-13)


def test_dtypes():
    assert fft.fft(torch.ones(4)).dtype is torch.complex64
    assert fft.rfft(torch.ones(4, dtype=torch.float64)).dtype is torch.complex128
    assert fft.irfft(torch.ones(4, dtype=torch.complex64)).dtype is torch.float32
    assert fft.fft(torch.arange(4)).dtype is torch.complex64
    assert fft.fft(torch.ones(4).expand(3, 4).t(), dim=0).shape == (4, 3)


@pytest.mark.parametrize("function, real", [
    (lambda x: fft.fft(x, 6), False), (lambda x: fft.ifft(x, 3, norm="ortho"), False), (lambda x: fft.rfft(x), True),
    (lambda x: fft.rfft(x, 4), True), (lambda x: fft.irfft(x, 6), False), (lambda x: fft.irfft(x, 7), False),
    (lambda x: fft.hfft(x, 7), False), (lambda x: fft.ihfft(x), True), (lambda x: fft.fft2(x), False),
    (lambda x: fft.rfftn(x), True), (lambda x: fft.irfftn(x), False), (lambda x: fft.fftshift(x), True),
])  # fmt: skip
def test_derivatives(function, real):
    x = torch.from_numpy((REAL if real else COMPLEX)[:2, :5].copy()).requires_grad_()
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_frequencies_and_shifts():
    for n in (1, 4, 5):
        np.testing.assert_allclose(fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
        np.testing.assert_allclose(fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5), rtol=1e-6)
    for dim in (None, 0, (0, 1)):
        shifted = fft.fftshift(torch.from_numpy(REAL), dim)
        np.testing.assert_array_equal(shifted.numpy(), np.fft.fftshift(REAL, dim))
        np.testing.assert_array_equal(fft.ifftshift(shifted, dim).numpy(), REAL)


def test_out():
    out = torch.empty(0, dtype=torch.complex128)
    assert fft.fft(torch.from_numpy(COMPLEX), out=out) is out
    np.testing.assert_allclose(out.numpy(), np.fft.fft(COMPLEX), atol=1e-13)


@pytest.mark.parametrize("call, kind, text", [
    (lambda x: fft.fft(x, 0), RuntimeError, "Invalid number of data points (0) specified"),
    (lambda x: fft.fft(x, norm="foo"), RuntimeError, 'Invalid normalization mode: "foo"'),
    (lambda x: fft.fft(x, dim=3), IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 3)"),
    (lambda x: fft.fft(x[0, 0]), IndexError, "Dimension specified as -1 but tensor has no dimensions"),
    (lambda x: fft.rfft(x + 0j), RuntimeError, "rfft expects a real input tensor, but got ComplexFloat"),
    (lambda x: fft.rfftn(x + 0j), RuntimeError, "rfftn expects a real-valued input tensor, but got ComplexFloat"),
    (lambda x: fft.fft(x.half()), RuntimeError, "Unsupported dtype Half"),
    (lambda x: fft.fftn(x, dim=(0, 0)), RuntimeError, "FFT dims must be unique"),
    (lambda x: fft.fftn(x, s=(2, 2), dim=(0,)), RuntimeError, "When given, dim and shape arguments must have the same length"),
    (lambda x: fft.fftn(x, s=(2, 2, 2)), RuntimeError, "Got shape with 3 values but input tensor only has 2 dimensions."),
    (lambda x: fft.rfftn(x, dim=()), RuntimeError, "rfftn must transform at least one axis"),
])  # fmt: skip
def test_errors(call, kind, text):
    with pytest.raises(kind) as error:
        call(torch.ones(4, 5))
    assert str(error.value) == text
