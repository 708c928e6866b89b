"""The short-time Fourier transform and its inverse."""

import warnings

from .. import _C
from .._composite import autocasts
from ._method import method

__all__ = ["istft", "stft"]


def _padded_window(window, win_length, n_fft, dtype):
    """The window of n_fft points: ones if none is given, with zeros on both sides of a shorter one."""
    if window is None:
        window = _C.ones(win_length, dtype=dtype)
    missing = n_fft - win_length
    if missing == 0:
        return window
    left = missing // 2
    zeros = [_C.zeros(n, dtype=window.dtype) for n in (left, missing - left)]
    return _C.cat([zeros[0], window, zeros[1]])


def _lengths(name, n_fft, hop_length, win_length, window):
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    if hop_length <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={win_length}")
    if window is not None and (window.dim() != 1 or window.shape[0] != win_length):
        raise RuntimeError(f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with "
                           f"size {list(window.shape)}")  # fmt: skip
    if window is None:
        warnings.warn(f"{name}: a window was not provided; a rectangular one is applied, which leaks between frequencies",
                      stacklevel=3)  # fmt: skip
    return hop_length, win_length


@autocasts("full")
@method
def stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False,
         onesided=None, return_complex=None, align_to_window=None):  # fmt: skip
    """Fourier transforms of overlapping windows of a signal.

    Args:
        n_fft: points of each transform.
        hop_length: distance between windows (default n_fft // 4).
        center: pad the signal (by pad_mode) so that window t is centred at t * hop_length.
        onesided: only the n_fft // 2 + 1 frequencies that determine the others (default for real input).
        return_complex: must be given for real input; False gives real and imaginary parts along a last dimension.

    Returns: (..., frequencies, windows).
    """
    from ..fft import fft, rfft
    from ..nn.functional import pad

    is_complex = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not is_complex:
            raise RuntimeError("stft requires the return_complex parameter be given for real inputs, and will further require "
                               "that return_complex=True in a future PyTorch release.")  # fmt: skip
        return_complex = True
    hop_length, win_length = _lengths("stft", n_fft, hop_length, win_length, window)
    x = input.unsqueeze(0) if input.dim() == 1 else input
    if x.dim() != 2:
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got {input.dim()}D")
    if center:
        x = pad(x.unsqueeze(1), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"stft: expected 0 < n_fft < {x.shape[-1]}, but got n_fft={n_fft}")
    window = _padded_window(window, win_length, n_fft, input.dtype.to_real() if is_complex else input.dtype)
    frames = x.unfold(-1, n_fft, hop_length) * window  # (batch, windows, n_fft)
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    norm = "ortho" if normalized else None
    result = (rfft if onesided else fft)(frames, dim=-1, norm=norm).transpose(1, 2)
    if input.dim() == 1:
        result = result.squeeze_(0)
    return result if return_complex else _C.view_as_real(result.contiguous())


@method
def istft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None,
          length=None, return_complex=False):  # fmt: skip
    """The signal of a stft(), by adding the windows up again and dividing by their overlap.

    Args:
        length: points of the signal (default: as many as the windows cover).
    """
    from ..fft import ifft, irfft

    if not input.is_complex():
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with "
                           "return_complex=True.")  # fmt: skip
    hop_length, win_length = _lengths("istft", n_fft, hop_length, win_length, window)
    x = input.unsqueeze(0) if input.dim() == 2 else input
    if x.dim() != 3:
        raise RuntimeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input.dim()}")
    onesided = x.shape[1] != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if onesided else n_fft
    if x.shape[1] != expected:
        raise RuntimeError(f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + "
                           f"1 when onesided=True, but got {x.shape[1]}" if onesided else
                           f"istft: expected {n_fft} frequencies, but got {x.shape[1]}")  # fmt: skip
    window = _padded_window(window, win_length, n_fft, input.dtype.to_real())
    norm = "ortho" if normalized else None
    spectra = x.transpose(1, 2)
    frames = (
        ifft(spectra, dim=-1, norm=norm)
        if return_complex or not onesided
        else irfft(spectra, n_fft, dim=-1, norm=norm)
    )
    if not return_complex and frames.is_complex():
        frames = frames.real
    count = frames.shape[1]
    total = n_fft + hop_length * (count - 1)
    positions = (_C.arange(count).unsqueeze(1) * hop_length + _C.arange(n_fft)).reshape(-1)
    shape = (frames.shape[0], total)
    signal = _C.zeros(shape, dtype=frames.dtype).index_add(
        1, positions, (frames * window).reshape(frames.shape[0], -1)
    )
    overlap = _C.zeros(total, dtype=window.dtype).index_add(0, positions, (window * window).repeat(count))
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - (n_fft // 2 if center else 0)
    signal, overlap = signal[:, start:end], overlap[start:end]
    if overlap.numel() and float(overlap.abs().min()) < 1e-11:
        raise RuntimeError("istft: window overlap add min: 1")
    signal = signal / overlap
    if length is not None and signal.shape[1] < length:
        signal = _C.cat([signal, _C.zeros(shape[0], length - signal.shape[1], dtype=signal.dtype)], 1)
    return signal.squeeze(0) if input.dim() == 2 else signal
