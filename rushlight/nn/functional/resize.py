"""interpolate: resizing of signals, images and volumes.

Every mode but "area" is separable: along each dimension an output element is a weighted sum of a few input
elements, its taps. `_taps` finds their places and weights with NumPy; `_resample` applies them.
"""

import math
import warnings

import numpy as np

import rushlight

from ..._composite import core_first, shown_as
from .pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d


def _step(size, output_size, scale):
    """Input elements per output element; a scale factor that was given is taken at its word."""
    return 1.0 / scale if scale is not None and scale > 0 else size / output_size


def _cubic(x, a):
    """Cubic convolution kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _triangle(x):
    return np.maximum(0.0, 1 - np.abs(x))


def _lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _nearest_taps(size, output_size, scale, center):
    """The one element below each output position; center 0.5 looks at the middle of the output element."""
    places = np.arange(output_size, dtype=np.float32) + np.float32(center)
    places = np.floor(places * np.float32(_step(size, output_size, scale))).astype(np.int64)
    return np.minimum(places, size - 1)[:, None], None


def _source_positions(size, output_size, align_corners, scale, real):
    """Where each output element lies on the input's axis."""
    places = np.arange(output_size, dtype=real)
    if align_corners:
        step = (size - 1) / (output_size - 1) if output_size > 1 else 0.0
        return places * real(step)
    return real(_step(size, output_size, scale)) * (places + real(0.5)) - real(0.5)


def _linear_taps(size, output_size, align_corners, scale, real):
    positions = np.maximum(_source_positions(size, output_size, align_corners, scale, real), real(0))
    left = np.minimum(positions.astype(np.int64), size - 1)
    right = np.minimum(left + 1, size - 1)
    share = np.clip(positions - left.astype(real), 0, 1)
    return np.stack([left, right], 1), np.stack([1 - share, share], 1)


def _cubic_taps(size, output_size, align_corners, scale, real):
    positions = _source_positions(size, output_size, align_corners, scale, real)
    start = np.floor(positions)
    offsets = np.arange(-1, 3)
    weights = _cubic(positions[:, None] - start[:, None] - offsets, real(-0.75))
    places = np.clip(start[:, None].astype(np.int64) + offsets, 0, size - 1)
    return places, weights


def _antialiased_taps(size, output_size, align_corners, scale, kernel, radius):
    """Kernels widened by the shrinking factor, cut at the borders and normalised."""
    if align_corners:
        step = (size - 1) / (output_size - 1) if output_size > 1 else 0.0
    else:
        step = _step(size, output_size, scale)
    widening = max(step, 1.0)
    support = radius * widening
    centers = step * (np.arange(output_size) + 0.5)
    starts = np.maximum((centers - support + 0.5).astype(np.int64), 0)
    ends = np.minimum((centers + support + 0.5).astype(np.int64), size)
    count = int((ends - starts).max())
    places = starts[:, None] + np.arange(count)
    weights = kernel((places + 0.5 - centers[:, None]) / widening)
    weights = np.where(places < ends[:, None], weights, 0.0)
    return np.minimum(places, size - 1), weights / weights.sum(1, keepdims=True)


def _resample(input, dim, places, weights):
    """Sum over taps k of input[places[:, k]] * weights[:, k] along dim."""

    def column(k):
        return rushlight.from_numpy(np.ascontiguousarray(places[:, k])).to(input.device)

    if weights is None:
        return input.index_select(dim, column(0))
    shape = [1] * input.dim()
    shape[dim] = len(places)
    total = None
    for k in range(places.shape[1]):
        if not weights[:, k].any():
            continue
        factor = rushlight.tensor(weights[:, k].tolist(), dtype=input.dtype, device=input.device).view(shape)
        term = input.index_select(dim, column(k)) * factor
        total = term if total is None else total + term
    return total


def _check_sizes(input, output_size):
    names = "DHW"[-len(output_size) :]
    if min(output_size) < 1 or min(input.shape[2:]) < 1:
        before, after = (
            ", ".join(f"{name}: {size}" for name, size in zip(names, sizes))
            for sizes in (input.shape[2:], output_size)
        )
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({before}) output ({after})"
        )
    if input.numel() == 0 and 0 in input.shape[1:]:
        raise RuntimeError(
            f"Non-empty {input.dim()}D data tensor expected but got a tensor with sizes {list(input.shape)}"
        )


def _every_dim(input, output_size, scales, taps):
    """Resample each spatial dimension, the last first; taps(size, output_size, scale) gives places and weights."""
    _check_sizes(input, output_size)
    scales = scales or (None,) * len(output_size)
    if not input.is_floating_point() and input.dtype != rushlight.uint8:
        name = input.type().split(".")[-1].removesuffix("Tensor")
        raise NotImplementedError(f"\"upsample\" not implemented for '{name}'")
    for dim in reversed(range(len(output_size))):
        size = input.size(dim + 2)
        input = _resample(input, dim + 2, *taps(size, output_size[dim], scales[dim]))
    return input


def _precision(input):
    """Positions are computed in the input's precision, at least float32."""
    return np.float64 if input.dtype == rushlight.float64 else np.float32


def _nearest(input, output_size, *scales):
    return _every_dim(input, output_size, scales, lambda *sizes: _nearest_taps(*sizes, 0.0))


def _nearest_exact(input, output_size, *scales):
    return _every_dim(input, output_size, scales, lambda *sizes: _nearest_taps(*sizes, 0.5))


def _smooth(find_taps):
    """A resize of linear or cubic kind with the core's signature."""

    def resize(input, output_size, align_corners, *scales):
        if not input.is_floating_point():
            return _rounded(resize, input, output_size, align_corners, *scales)
        real = _precision(input)
        return _every_dim(
            input,
            output_size,
            scales,
            lambda size, out, scale: find_taps(size, out, align_corners, scale, real),
        )

    return resize


def _antialiased(kernel, radius):
    """A resize with a widened kernel, with the core's signature."""

    def resize(input, output_size, align_corners, *scales):
        if not input.is_floating_point():
            return _rounded(resize, input, output_size, align_corners, *scales)
        return _every_dim(
            input,
            output_size,
            scales,
            lambda size, out, scale: _antialiased_taps(size, out, align_corners, scale, kernel, radius),
        )

    return resize


def _rounded(resize, input, *arguments):
    """Bytes are resized as floats and rounded."""
    if input.dtype != rushlight.uint8:
        name = input.type().split(".")[-1].removesuffix("Tensor")
        raise NotImplementedError(f"\"upsample\" not implemented for '{name}'")
    return resize(input.float(), *arguments).add(0.5).floor().clamp(0, 255).to(input.dtype)



def _resizer(name, history):
    """Marks a composite as the stand-in for the core's operator of that name, with PyTorch's name of its derivative."""
    return lambda composite: shown_as(history)(core_first(name)(composite))


_linear, _bicubic = _smooth(_linear_taps), _smooth(_cubic_taps)

# (mode, spatial dimensions, antialias) -> operator
_RESIZE = {
    ("nearest", 1, False): _resizer("upsample_nearest1d", "UpsampleNearest1DBackward0")(_nearest),
    ("nearest", 2, False): _resizer("upsample_nearest2d", "UpsampleNearest2DBackward0")(_nearest),
    ("nearest", 3, False): _resizer("upsample_nearest3d", "UpsampleNearest3DBackward0")(_nearest),
    ("nearest-exact", 1, False): _resizer("_upsample_nearest_exact1d", "UpsampleNearestExact1DBackward0")(_nearest_exact),
    ("nearest-exact", 2, False): _resizer("_upsample_nearest_exact2d", "UpsampleNearestExact2DBackward0")(_nearest_exact),
    ("nearest-exact", 3, False): _resizer("_upsample_nearest_exact3d", "UpsampleNearestExact3DBackward0")(_nearest_exact),
    ("linear", 1, False): _resizer("upsample_linear1d", "UpsampleLinear1DBackward0")(_linear),
    ("bilinear", 2, False): _resizer("upsample_bilinear2d", "UpsampleBilinear2DBackward0")(_linear),
    ("trilinear", 3, False): _resizer("upsample_trilinear3d", "UpsampleTrilinear3DBackward0")(_linear),
    ("bicubic", 2, False): _resizer("upsample_bicubic2d", "UpsampleBicubic2DBackward0")(_bicubic),
    ("bilinear", 2, True): _resizer("_upsample_bilinear2d_aa", "UpsampleBilinear2DAaBackward0")(_antialiased(_triangle, 1)),
    ("bicubic", 2, True): _resizer("_upsample_bicubic2d_aa", "UpsampleBicubic2DAaBackward0")(
        _antialiased(lambda x: _cubic(x, -0.5), 2)
    ),
    ("lanczos", 2, True): _resizer("_upsample_lanczos2d_aa", "UpsampleLanczos2DAaBackward0")(_antialiased(_lanczos, 3)),
}
_NEEDED_RANK = {"linear": 3, "bilinear": 4, "trilinear": 5}


def _per_dimension(value, input, what, letter, shaped):
    """size or scale_factor as a tuple with one entry per spatial dimension."""
    spatial = input.dim() - 2
    if not isinstance(value, (list, tuple)):
        return (value,) * spatial
    if len(value) != spatial:
        raise ValueError(
            f"Input and {what.removesuffix(' size')} must have the same number of spatial dimensions, "
            f"but got input with spatial dimensions of {list(input.shape[2:])} and {shaped} {value}. "
            f"Please provide input tensor in (N, C, d1, d2, ...,dK) format and {what} in "
            f"({letter}1, {letter}2, ...,{letter}K) format."
        )
    return tuple(value)


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Resize the spatial dimensions of (N, C, d1, ...) to a size or by a factor.

    Args:
        mode: "nearest", "nearest-exact", "linear" (3-d input), "bilinear", "bicubic", "lanczos" (4-d),
            "trilinear" (5-d) or "area" (means of windows).
        align_corners: take corner elements, rather than corners of elements, as the ends of the axes.
        recompute_scale_factor: replace the factor by the exact ratio of the sizes.
        antialias: when shrinking, average over all input elements that fall into an output element.
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear"
            )
    align_corners = bool(align_corners)
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    factors = None
    if size is not None:
        size = _per_dimension(size, input, "output size", "o", "output size of")
    else:
        factors = _per_dimension(scale_factor, input, "scale_factor", "s", "scale_factor of shape")
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if factors is not None:
        size = tuple(math.floor(float(extent) * factor) for extent, factor in zip(input.shape[2:], factors))
        if recompute_scale_factor or mode == "area":
            factors = None
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.dim() == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and not antialias:
        raise ValueError("Lanczos mode requires antialias=True")
    if mode == "area" and input.dim() in (3, 4, 5):
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[input.dim() - 3](input, size)
    resize = _RESIZE.get((mode, input.dim() - 2, antialias))
    if resize is None:
        if mode in _NEEDED_RANK and input.dim() in (3, 4, 5):
            raise NotImplementedError(
                f"Got {input.dim()}D input, but {mode} mode needs {_NEEDED_RANK[mode]}D input"
            )
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the modes: nearest | "
            f"linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got {mode})"
        )
    scales = factors if factors is not None else ()
    if mode.startswith("nearest"):
        return resize(input, size, *scales)
    return resize(input, size, align_corners, *scales)


def _deprecated(name):
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=3
    )


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """The old name of interpolate."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """interpolate with mode "nearest"."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input, size=None, scale_factor=None):
    """interpolate with mode "bilinear" and aligned corners."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
