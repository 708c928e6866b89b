"""Fractional max pooling: windows of one size whose starts follow a random sequence, so that the output can have any
size. The draws are PyTorch's.
"""

import rushlight

from ..._composite import autocasts, core_first
from ._args import ntuple


def _starts(sample, size, output_size, kernel):
    """(N, C, output_size) first elements of the windows along one dimension, from one draw per plane."""
    last = size - kernel
    steps = rushlight.arange(output_size, device=sample.device).to(sample.dtype)
    if output_size == 1:
        return rushlight.full((*sample.shape, 1), last, dtype=rushlight.int64, device=sample.device)
    alpha = last / (output_size - 1)
    sample = sample.unsqueeze(-1)
    starts = ((steps + sample) * alpha).long() - (sample * alpha).long()
    starts[..., -1] = last
    return starts


def _pool(input, kernel_size, output_size, samples, names):
    n = len(kernel_size)
    batched = input.dim() == n + 2
    planes = input if batched else input.unsqueeze(0)
    sizes = planes.shape[2:]
    for name, size, out, kernel in zip(names, sizes, output_size, kernel_size):
        if out + kernel - 1 > size - (n == 3):  # in three dimensions one element has to be left
            raise RuntimeError(
                f"fractional_max_pool{n}d{'_out' * (n == 3)}(): pool {name} {kernel} too large relative to input "
                f"{name} {size}"
            )
    # positions (N, C, out1, k1, out2, k2, ...) in the flat plane
    flat = None
    order = range(n) if n == 3 else (1, 0)  # in two dimensions the first draw is for the width
    for dim, draw in enumerate(order):
        starts = _starts(samples[..., draw], sizes[dim], output_size[dim], kernel_size[dim])
        offsets = rushlight.arange(kernel_size[dim], device=input.device)
        places = starts.unsqueeze(-1) + offsets  # (N, C, out, k)
        shape = [*places.shape[:2], *[1] * (2 * n)]
        shape[2 + 2 * dim], shape[3 + 2 * dim] = places.shape[2:]
        places = places.view(shape)
        flat = places if flat is None else flat * sizes[dim] + places
    windows = flat.permute(0, 1, *range(2, 2 + 2 * n, 2), *range(3, 3 + 2 * n, 2))
    windows = windows.expand(*planes.shape[:2], *windows.shape[2:]).flatten(2 + n).flatten(2, 1 + n)
    values = planes.flatten(2).gather(2, windows.flatten(2)).view(windows.shape)
    best, place = values.max(-1)
    indices = windows.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    shape = (*planes.shape[:2], *output_size) if batched else (planes.size(1), *output_size)
    return best.view(shape), indices.view(shape)


@core_first("fractional_max_pool2d")
def _fractional_max_pool2d(input, kernel_size, output_size, random_samples):
    return _pool(input, ntuple(kernel_size, 2), ntuple(output_size, 2), random_samples, ("height", "width"))


@core_first("fractional_max_pool3d")
def _fractional_max_pool3d(input, kernel_size, output_size, random_samples):
    names = ("time", "height", "width")
    return _pool(input, ntuple(kernel_size, 3), ntuple(output_size, 3), random_samples, names)


def _arguments(input, kernel_size, output_size, output_ratio, random_samples, n):
    if output_size is None and output_ratio is None:
        raise ValueError(
            f"fractional_max_pool{n}d requires specifying either an output_size or an output_ratio"
        )
    if output_size is None:
        ratios = (output_ratio,) * n if isinstance(output_ratio, float) else output_ratio
        output_size = tuple(int(size * ratio) for size, ratio in zip([input.size(k - n) for k in range(n)], ratios))
    if random_samples is None:
        batch = 1 if input.dim() == n + 1 else input.size(0)
        random_samples = rushlight.rand(batch, input.size(-n - 1), n, dtype=input.dtype, device=input.device)
    return input, kernel_size, output_size, random_samples


@autocasts("full")
def fractional_max_pool2d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """Fractional max pooling of (N, C, H, W) or (C, H, W), and the positions of the maxima."""
    return _fractional_max_pool2d(
        *_arguments(input, kernel_size, output_size, output_ratio, _random_samples, 2)
    )


@autocasts("full")
def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """Fractional max pooling of (N, C, H, W) or (C, H, W) to a size, or to a share of the input's."""
    both = fractional_max_pool2d_with_indices(
        input, kernel_size, output_size, output_ratio, True, _random_samples
    )
    return both if return_indices else both[0]


@autocasts("full")
def fractional_max_pool3d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """Fractional max pooling of (N, C, D, H, W) or (C, D, H, W), and the positions of the maxima."""
    return _fractional_max_pool3d(
        *_arguments(input, kernel_size, output_size, output_ratio, _random_samples, 3)
    )


@autocasts("full")
def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """Fractional max pooling of (N, C, D, H, W) or (C, D, H, W) to a size, or to a share of the input's."""
    both = fractional_max_pool3d_with_indices(
        input, kernel_size, output_size, output_ratio, True, _random_samples
    )
    return both if return_indices else both[0]
