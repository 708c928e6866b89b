"""Images: sliding blocks, rearrangements between channels and space, sampling at grids of points."""

import warnings

import numpy as np

import rushlight

from ... import _C
from ..._composite import autocasts, core_first, sampled, shown_as
from ._args import ntuple

# sliding blocks


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Sliding blocks of (N, C, H, W) as columns: (N, C * kernel elements, blocks)."""
    return _C.im2col(input, *(ntuple(v, 2) for v in (kernel_size, dilation, padding, stride)))


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Sum of sliding blocks where they overlap: the transpose of unfold."""
    return _C.col2im(input, *(ntuple(v, 2) for v in (output_size, kernel_size, dilation, padding, stride)))


# between channels and space


def _check_image(name, input, factor, factor_name):
    if input.dim() < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {factor_name}, but got {factor}")


def _shuffle_reference(x, r):
    n, c, h, w = x.shape
    return x.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // r**2, h * r, w * r)


@sampled("x(2,8,3,4), 2", ref=_shuffle_reference)
@shown_as("PixelShuffleBackward0")
@core_first("pixel_shuffle")
def pixel_shuffle(input, upscale_factor):
    """Spread each r * r channels over a block of r by r pixels: (*, C r^2, H, W) to (*, C, H r, W r)."""
    r = upscale_factor
    _check_image("pixel_shuffle", input, r, "upscale_factor")
    *batch, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}"
        )
    blocks = input.reshape(-1, channels // (r * r), r, r, height, width)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(*batch, channels // (r * r), height * r, width * r)


@shown_as("PixelUnshuffleBackward0")
@core_first("pixel_unshuffle")
def pixel_unshuffle(input, downscale_factor):
    """Inverse of pixel_shuffle: (*, C, H r, W r) to (*, C r^2, H, W)."""
    r = downscale_factor
    _check_image("pixel_unshuffle", input, r, "downscale_factor")
    *batch, channels, height, width = input.shape
    for dim, name, extent in ((-2, "height", height), (-1, "width", width)):
        if extent % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({dim})={extent} "
                f"is not divisible by {r}"
            )
    blocks = input.reshape(-1, channels, height // r, r, width // r, r)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(*batch, channels * r * r, height // r, width // r)


@core_first("channel_shuffle")
def channel_shuffle(input, groups):
    """Interleave the channels of `groups` groups."""
    if input.dim() <= 2:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    n, channels, *rest = input.shape
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    return input.reshape(n, groups, channels // groups, *rest).transpose(1, 2).reshape(input.shape)


native_channel_shuffle = channel_shuffle

# grids of points


def _warn_alignment():
    warnings.warn(
        "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
        "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.",
        stacklevel=3,
    )


def affine_grid(theta, size, align_corners=None):
    """Where an affine map sends each element of an output of the given size, in the coordinates of grid_sample.

    Args:
        theta: (N, 2, 3) for size (N, C, H, W), or (N, 3, 4) for (N, C, D, H, W).
    """
    if align_corners is None:
        _warn_alignment()
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    size = tuple(size)
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}."
        )
    if theta.dim() != 3 or tuple(theta.shape[1:]) != (n, n + 1):
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got {theta.shape}."
        )
    if align_corners and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. "
            "This is not an intended use case of affine_grid. See the documentation of affine_grid for details.",
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    axes = []
    for extent in size[2:]:
        reach = 1.0 if align_corners else (extent - 1) / extent
        axis = rushlight.linspace(-reach, reach, extent, dtype=theta.dtype, device=theta.device)
        axes.append(axis if extent > 1 else rushlight.zeros_like(axis))
    coordinates = list(
        reversed(rushlight.meshgrid(*axes, indexing="ij"))
    )  # x varies along the last dimension
    ones = rushlight.ones_like(coordinates[0])
    points = rushlight.stack([*coordinates, ones], -1).reshape(1, -1, n + 1).expand(size[0], -1, -1)
    return points.bmm(theta.transpose(1, 2)).view(size[0], *size[2:], n)


def _to_places(coordinates, size, align_corners):
    """[-1, 1] to positions on the axis of an input of the given size."""
    if align_corners:
        return (coordinates + 1) / 2 * (size - 1)
    return ((coordinates + 1) * size - 1) / 2


def _reflected(places, size, align_corners):
    """Positions folded back at the borders until they lie inside."""
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return rushlight.zeros_like(places)
    distance = (places - low).abs()
    flips = (distance / span).floor()
    rest = distance - flips * span
    return rushlight.where(flips % 2 == 0, rest + low, high - rest)


def _bounded(places, size, padding_mode, align_corners):
    if padding_mode == 2:
        places = _reflected(places, size, align_corners)
    return places.clamp(0, size - 1) if padding_mode else places


def _pick(input, corner):
    """Elements of (N, C, *sizes) at whole positions, one (N, P) tensor per dimension; zero outside."""
    n, channels, *sizes = input.shape
    flat, inside = None, None
    for places, size in zip(corner, sizes):
        index = places.to(rushlight.int64)
        within = (index >= 0) & (index < size)
        index = index.clamp(0, size - 1)
        flat = index if flat is None else flat * size + index
        inside = within if inside is None else inside & within
    values = input.flatten(2).gather(2, flat.unsqueeze(1).expand(n, channels, -1))
    return values * inside.unsqueeze(1).to(input.dtype)


def _cubic_weights(share):
    """Weights of the elements at -1, 0, 1 and 2 from a point at 0 <= share < 1."""
    a = -0.75

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return far(share + 1), near(share), near(1 - share), far(2 - share)


def _check_grid(input, grid, mode):
    what = "grid_sampler(): expected"
    if input.size(0) != grid.size(0):
        raise RuntimeError(
            f"{what} grid and input to have same batch size, but got input with sizes {list(input.shape)} and grid "
            f"with sizes {list(grid.shape)}"
        )
    if input.dim() not in (4, 5) or input.dim() != grid.dim():
        rank = 4 if input.dim() == 4 else 5
        raise RuntimeError(
            f"{what} {rank}D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    n = input.dim() - 2
    if grid.size(-1) != n:
        raise RuntimeError(
            f"{what} grid to have size {n} in last dimension, but got grid with sizes {list(grid.shape)}"
        )
    for dim in range(2, input.dim()):
        if input.size(dim) <= 0:
            raise RuntimeError(
                f"{what} input to have non-empty spatial dimensions, but input has sizes {list(input.shape)} with "
                f"dimension {dim} being empty"
            )
    if mode == 2 and n == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if input.dtype != grid.dtype:
        names = [x.type().split(".")[-1].removesuffix("Tensor") for x in (input, grid)]
        raise RuntimeError(f"expected scalar type {names[0]} but found {names[1]}")


@autocasts("full")
@core_first("grid_sampler")
def _grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners):
    _check_grid(input, grid, interpolation_mode)
    n, channels, *sizes = input.shape
    points = grid.flatten(1, -2).flip(-1)  # depth, height, width order
    places = [_to_places(points[..., k], size, align_corners) for k, size in enumerate(sizes)]
    if interpolation_mode != 2:
        places = [_bounded(x, size, padding_mode, align_corners) for x, size in zip(places, sizes)]
    if interpolation_mode == 1:
        output = _pick(input, [x.round() for x in places])
        if grid.requires_grad:  # the elements picked do not change with the grid: its gradient is zero, not missing
            nowhere = rushlight.zeros_like(places[0], dtype=rushlight.bool)
            output = output + rushlight.where(nowhere, places[0], 0).unsqueeze(1)
    else:
        lows = [x.floor() for x in places]
        shares = [x - low for x, low in zip(places, lows)]
        taps = [
            list(enumerate((1 - share, share)))
            if interpolation_mode == 0
            else list(zip((-1, 0, 1, 2), _cubic_weights(share)))
            for share in shares
        ]
        output = 0
        for combination in np.ndindex(*[len(axis) for axis in taps]):
            corner, weight = [], 1
            for axis, (low, size, k) in enumerate(zip(lows, sizes, combination)):
                offset, factor = taps[axis][k]
                place = low + offset
                if interpolation_mode == 2:
                    place = _bounded(place, size, padding_mode, align_corners)
                corner.append(place)
                weight = weight * factor
            output = output + _pick(input, corner) * weight.unsqueeze(1)
    output = output.view(n, channels, *grid.shape[1:-1])
    return _C._show_history_as(output, f"GridSampler{len(sizes)}DBackward0")


_SAMPLING = {"bilinear": 0, "nearest": 1, "bicubic": 2}
_BORDERS = {"zeros": 0, "border": 1, "reflection": 2}


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """Values of (N, C, H, W) or (N, C, D, H, W) at the points of grid.

    Args:
        grid: (N, ..., 2 or 3) points (x, y[, z]); -1 and 1 are the borders of the input.
        mode: "bilinear", "nearest" or "bicubic".
        padding_mode: what lies outside: "zeros", "border" (the nearest element) or "reflection".
    """
    if mode not in _SAMPLING:
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in _BORDERS:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if align_corners is None:
        _warn_alignment()
        align_corners = False
    return _grid_sampler(input, grid, _SAMPLING[mode], _BORDERS[padding_mode], align_corners)
