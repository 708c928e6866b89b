"""Pooling in 1, 2 and 3 dimensions. Everything is built on the core's 2-d pools: 1-d pools add a dimension,
3-d pools work on height and width first, then on depth.
"""

import rushlight

from ... import _C
from ..._composite import autocasts, core_first
from ._args import ntuple


def _check_ndim(name, input, low, high):
    if not low <= input.dim() <= high:
        raise RuntimeError(
            f"Expected {low} to {high} dimensions, but got {input.dim()}-dimensional tensor for argument #1 'self' "
            f"(while checking arguments for {name})"
        )


# max pools


def _rows_pooled(op, input, kernel_size, stride, padding, dilation, ceil_mode):
    """A 2-d pool of (N, C, 1, L)."""
    _check_ndim("max_pool1d", input, 2, 3)
    kernel_size, padding, dilation = (ntuple(v, 1) for v in (kernel_size, padding, dilation))
    stride = ntuple(stride, 1) if stride is not None else kernel_size
    return op(input.unsqueeze(-2), (1, *kernel_size), (1, *stride), (0, *padding), (1, *dilation), ceil_mode)


def max_pool1d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Largest value of each window of (N, C, L) or (C, L), and its position."""
    values, indices = _rows_pooled(
        _C.max_pool2d_with_indices, input, kernel_size, stride, padding, dilation, ceil_mode
    )
    return values.squeeze(-2), indices.squeeze(-2)


def _check_max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode):
    if input.dim() not in (2, 3) or 0 in input.shape[-2:]:
        raise RuntimeError(
            "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, "
            f"but got:{list(input.shape)}"
        )
    (kernel,), (step,), (pad,), (gap,) = (ntuple(v, 1) for v in (kernel_size, stride, padding, dilation))
    if kernel <= 0:
        raise RuntimeError(f"max_pool1d() kernel_size must be greater than zero, but got {kernel}")
    if step <= 0:
        raise RuntimeError(f"max_pool1d() stride must be greater than zero, but got {step}")
    if pad < 0:
        raise RuntimeError(f"max_pool1d() padding must be non-negative, but got {pad}")
    if pad > kernel // 2:
        raise RuntimeError(
            "max_pool1d() padding should be at most half of kernel size, but got "
            f"padding={pad} and kernel_size={kernel}"
        )
    if gap <= 0:
        raise RuntimeError(f"max_pool1d() dilation must be greater than zero, but got {gap}")
    room = input.size(-1) + 2 * pad - gap * (kernel - 1) - 1 + (step - 1 if ceil_mode else 0)
    if room < 0:
        raise RuntimeError(f"max_pool1d() Invalid computed output size: {room // step + 1}")


def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Largest value of each window of (N, C, L) or (C, L)."""
    stride = kernel_size if stride is None else stride
    if return_indices:
        return max_pool1d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    _check_max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return _rows_pooled(_C.max_pool2d, input, kernel_size, stride, padding, dilation, ceil_mode).squeeze(-2)


def max_pool2d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Largest value of each window of (N, C, H, W) or (C, H, W), and its position in the H * W plane."""
    stride = kernel_size if stride is None else stride
    return _C.max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Largest value of each window of (N, C, H, W) or (C, H, W)."""
    stride = kernel_size if stride is None else stride
    op = _C.max_pool2d_with_indices if return_indices else _C.max_pool2d
    return op(input, kernel_size, stride, padding, dilation, ceil_mode)


def _check_volume(input):
    if input.dim() not in (4, 5) or 0 in input.shape[-4:]:
        raise RuntimeError("non-empty 4D or 5D (batch mode) tensor expected for input")


def _pooled_size(size, kernel, stride, padding, dilation, ceil_mode):
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # the last window would start in the padding
    return count


def _check_pooled_size(input, kernel_size, stride, padding, dilation, ceil_mode):
    pooled = [
        _pooled_size(*sizes, ceil_mode)
        for sizes in zip(input.shape[-3:], kernel_size, stride, padding, dilation)
    ]
    if min(pooled) < 1:
        before = "x".join(map(str, input.shape[-4:]))
        after = "x".join(map(str, (input.size(-4), *pooled)))
        raise RuntimeError(
            f"Given input size: ({before}). Calculated output size: ({after}). Output size is too small"
        )


def _depth_indices(planes, depths, height_width):
    """Positions in the volume, from those in each plane and the depth that won."""
    return depths * height_width + planes


@core_first("max_pool3d_with_indices")
def _max_pool3d_with_indices(input, kernel_size, stride=(), padding=0, dilation=1, ceil_mode=False):
    _check_volume(input)
    kernel_size, padding, dilation = (ntuple(v, 3) for v in (kernel_size, padding, dilation))
    stride = ntuple(stride, 3) or kernel_size
    _check_pooled_size(input, kernel_size, stride, padding, dilation, ceil_mode)
    depth, height, width = input.shape[-3:]
    rest = input.shape[:-3]
    planes, places = _C.max_pool2d_with_indices(
        input.flatten(0, -4),
        kernel_size[1:],
        stride[1:],
        padding[1:],
        dilation[1:],
        ceil_mode,
    )
    out_height, out_width = planes.shape[-2:]
    values, winners = _C.max_pool2d_with_indices(
        planes.flatten(2).unsqueeze(1),  # (N * C, 1, D, oh * ow)
        (kernel_size[0], 1),
        (stride[0], 1),
        (padding[0], 0),
        (dilation[0], 1),
        ceil_mode,
    )
    columns = winners.flatten(1)  # position in the (D, oh * ow) plane
    depths = columns // (out_height * out_width)
    indices = _depth_indices(places.flatten(1).gather(1, columns), depths, height * width)
    shape = (*rest, values.size(-2), out_height, out_width)
    return values.reshape(shape), indices.reshape(shape)


def max_pool3d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Largest value of each window of (N, C, D, H, W) or (C, D, H, W), and its position in the volume."""
    stride = kernel_size if stride is None else stride
    return _max_pool3d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)


@autocasts("full")
def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Largest value of each window of (N, C, D, H, W) or (C, D, H, W)."""
    both = max_pool3d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return both if return_indices else both[0]


# mean pools


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Mean of each window of (N, C, L) or (C, L)."""
    _check_ndim("avg_pool1d", input, 2, 3)
    kernel_size, padding = ntuple(kernel_size, 1), ntuple(padding, 1)
    stride = kernel_size if stride is None else ntuple(stride, 1)
    pooled = _C.avg_pool2d(
        input.unsqueeze(-2), (1, *kernel_size), (1, *stride), (0, *padding), ceil_mode, count_include_pad
    )
    return pooled.squeeze(-2)


def avg_pool2d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """Mean of each window of (N, C, H, W) or (C, H, W)."""
    stride = kernel_size if stride is None else stride
    return _C.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _window_counts(size, kernel, stride, padding, count, include_padding):
    """How many elements each window along one dimension is divided by."""
    counts = []
    for start in range(-padding, -padding + count * stride, stride):
        end = min(start + kernel, size + padding)
        counts.append(end - start if include_padding else min(end, size) - max(start, 0))
    return counts


@core_first("avg_pool3d")
def _avg_pool3d(
    input, kernel_size, stride=(), padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    _check_volume(input)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    kernel_size, padding = ntuple(kernel_size, 3), ntuple(padding, 3)
    stride = ntuple(stride, 3) or kernel_size
    _check_pooled_size(input, kernel_size, stride, padding, (1, 1, 1), ceil_mode)
    depth, height, width = input.shape[-3:]
    sums = _C.avg_pool2d(
        input.flatten(0, -4), kernel_size[1:], stride[1:], padding[1:], ceil_mode, True, 1
    )
    out_height, out_width = sums.shape[-2:]
    sums = _C.avg_pool2d(
        sums.flatten(2).unsqueeze(1), (kernel_size[0], 1), (stride[0], 1), (padding[0], 0), ceil_mode, True, 1
    )
    sums = sums.reshape(*input.shape[:-3], sums.size(-2), out_height, out_width)
    rounding = None if input.is_floating_point() else "trunc"
    if divisor_override is not None:
        return rushlight.div(sums, divisor_override, rounding_mode=rounding)
    counts = rushlight.ones((), dtype=input.dtype, device=input.device)
    for dim in range(3):
        along = _window_counts(
            input.size(dim - 3),
            kernel_size[dim],
            stride[dim],
            padding[dim],
            sums.size(dim - 3),
            count_include_pad,
        )
        column = rushlight.tensor(along, dtype=input.dtype, device=input.device)
        counts = counts.unsqueeze(-1) * column
    return rushlight.div(sums, counts, rounding_mode=rounding)


@autocasts("full")
def avg_pool3d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """Mean of each window of (N, C, D, H, W) or (C, D, H, W)."""
    stride = kernel_size if stride is None else stride
    return _avg_pool3d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


# power mean pools


def _root(powers, norm_type, count):
    """The norm out of the mean of the powers; the sign keeps odd powers of negative sums at 0."""
    return (powers.sign() * _C.relu(powers.abs()) * count) ** (1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """p-norm of each window of (N, C, L) or (C, L)."""
    (count,) = ntuple(kernel_size, 1)
    return _root(avg_pool1d(input**norm_type, kernel_size, stride, 0, ceil_mode), norm_type, count)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """p-norm of each window of (N, C, H, W) or (C, H, W)."""
    kh, kw = ntuple(kernel_size, 2)
    return _root(avg_pool2d(input**norm_type, kernel_size, stride, 0, ceil_mode), norm_type, kh * kw)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """p-norm of each window of (N, C, D, H, W) or (C, D, H, W)."""
    kd, kh, kw = ntuple(kernel_size, 3)
    return _root(avg_pool3d(input**norm_type, kernel_size, stride, 0, ceil_mode), norm_type, kd * kh * kw)


# adaptive pools: windows follow from the output size


def _output_size(output_size, input, n):
    """The sizes asked for, with None standing for the input's."""
    if isinstance(output_size, int):
        return (output_size,) * n
    if input.dim() <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    return tuple(
        size if size is not None else default
        for size, default in zip(output_size, input.shape[-len(output_size) :])
    )


def _single_size(name, output_size):
    if isinstance(output_size, int):
        return output_size
    if len(output_size) != 1:
        raise RuntimeError(f"{name}() argument 'output_size' should contain one int (got {len(output_size)})")
    return output_size[0]


def adaptive_avg_pool1d(input, output_size):
    """Means of output_size windows that cover (N, C, L) or (C, L)."""
    _check_ndim("adaptive_avg_pool1d", input, 2, 3)
    size = _single_size("adaptive_avg_pool1d", output_size)
    return adaptive_avg_pool2d(input.unsqueeze(-2), (1, size)).squeeze(-2)


def adaptive_avg_pool2d(input, output_size):
    """Means of a grid of windows that covers (N, C, H, W) or (C, H, W)."""
    output_size = _output_size(output_size, input, 2)
    if output_size == (1, 1):
        return input.mean((-1, -2), keepdim=True)
    return _C.adaptive_avg_pool2d(input, output_size)


@core_first("adaptive_avg_pool3d")
def _adaptive_avg_pool3d(input, output_size):
    if input.dim() not in (4, 5):
        raise RuntimeError(f"adaptive_avg_pool3d(): Expected 4D or 5D tensor, but got {list(input.shape)}")
    if tuple(output_size) == (1, 1, 1):
        return input.mean((-1, -2, -3), keepdim=True)
    depth, height, width = input.shape[-3:]
    planes = _C.adaptive_avg_pool2d(input.flatten(0, -4), output_size[1:])
    columns = _C.adaptive_avg_pool2d(planes.flatten(2).unsqueeze(1), (output_size[0], output_size[1] * output_size[2]))
    return columns.reshape(*input.shape[:-3], *output_size)


@autocasts("full")
def adaptive_avg_pool3d(input, output_size):
    """Means of a grid of windows that covers (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive_avg_pool3d(input, _output_size(output_size, input, 3))


def adaptive_max_pool1d_with_indices(input, output_size, return_indices=False):
    """Largest values, and their positions, of output_size windows that cover (N, C, L) or (C, L)."""
    _check_ndim("adaptive_max_pool1d", input, 2, 3)
    size = _single_size("adaptive_max_pool1d", output_size)
    values, indices = _C.adaptive_max_pool2d(input.unsqueeze(-2), (1, size))
    return values.squeeze(-2), indices.squeeze(-2)


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """Largest values of output_size windows that cover (N, C, L) or (C, L)."""
    both = adaptive_max_pool1d_with_indices(input, output_size)
    return both if return_indices else both[0]


def adaptive_max_pool2d_with_indices(input, output_size, return_indices=False):
    """Largest values, and their positions, of a grid of windows that covers (N, C, H, W) or (C, H, W)."""
    return _C.adaptive_max_pool2d(input, _output_size(output_size, input, 2))


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """Largest values of a grid of windows that covers (N, C, H, W) or (C, H, W)."""
    both = adaptive_max_pool2d_with_indices(input, output_size)
    return both if return_indices else both[0]


@core_first("adaptive_max_pool3d")
def _adaptive_max_pool3d(input, output_size):
    if input.dim() not in (4, 5):
        raise RuntimeError(f"adaptive_max_pool3d(): Expected 4D or 5D tensor, but got: {list(input.shape)}")
    out_depth, out_height, out_width = output_size
    depth, height, width = input.shape[-3:]
    planes, places = _C.adaptive_max_pool2d(input.flatten(0, -4), (out_height, out_width))
    values, winners = _C.adaptive_max_pool2d(planes.flatten(2).unsqueeze(1), (out_depth, out_height * out_width))
    columns = winners.flatten(1)
    depths = columns // (out_height * out_width)
    indices = _depth_indices(places.flatten(1).gather(1, columns), depths, height * width)
    shape = (*input.shape[:-3], out_depth, out_height, out_width)
    return values.reshape(shape), indices.reshape(shape)


@autocasts("full")
def adaptive_max_pool3d_with_indices(input, output_size, return_indices=False):
    """Largest values, and their positions, of a grid of windows that covers (N, C, D, H, W) or (C, D, H, W)."""
    return _adaptive_max_pool3d(input, _output_size(output_size, input, 3))


@autocasts("full")
def adaptive_max_pool3d(input, output_size, return_indices=False):
    """Largest values of a grid of windows that covers (N, C, D, H, W) or (C, D, H, W)."""
    both = adaptive_max_pool3d_with_indices(input, output_size)
    return both if return_indices else both[0]


# unpooling: values return to the positions that max pooling reported


def _unpool(input, indices, kernel_size, stride, padding, output_size, n):
    kernel_size, padding = ntuple(kernel_size, n), ntuple(padding, n)
    stride = kernel_size if stride is None else ntuple(stride, n)
    if input.dim() < n:
        raise IndexError("tuple index out of range")
    default = [
        (size - 1) * s + k - 2 * p for size, k, s, p in zip(input.shape[-n:], kernel_size, stride, padding)
    ]
    if output_size is None:
        output_size = default
    else:
        output_size = tuple(output_size)
        if len(output_size) == n + 2:
            output_size = output_size[2:]
        if len(output_size) != n:
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
                f"'{len(output_size)}'"
            )
        for dim, (size, middle, step) in enumerate(zip(output_size, default, stride)):
            if not middle - step < size < middle + step:
                raise ValueError(
                    f'invalid output_size "{output_size}" (dim {dim} must be between {middle - step} and '
                    f"{middle + step})"
                )
    batch = input.shape[:-n]
    if indices.dtype != rushlight.int64:
        name = indices.type().rpartition(".")[2].removesuffix("Tensor")
        raise RuntimeError(f"elements in indices should be type int64 but got: {name}")
    # PyTorch sees one-dimensional planes as planes of width one
    name, plane, added = ("max_unpooling3d", 3, []) if n == 3 else ("max_unpooling2d", 2, [1] * (n == 1))
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"Input to {name} should be a {plane + 1}d or {plane + 2}d Tensor, but got a tensor with "
            f"{input.dim() + len(added)} dimensions."
        )
    if input.shape != indices.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape) + added}) but got "
            f"indices tensor with shape: {list(indices.shape) + added}"
        )
    total = 1
    for size in output_size:
        total *= size
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < total:
        worst = int(indices.min()) if int(indices.min()) < 0 else int(indices.max())
        plane = "x".join(map(str, output_size))
        raise RuntimeError(f"Found an invalid max index: {worst} (output volumes are of size {plane})")
    flat = rushlight.zeros((*batch, total), dtype=input.dtype, device=input.device)
    return flat.scatter(-1, indices.flatten(-n), input.flatten(-n)).view(*batch, *output_size)


@autocasts("full")
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Inverse of max_pool1d, zero where no maximum came from."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 1)


@autocasts("full")
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Inverse of max_pool2d, zero where no maximum came from."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 2)


@autocasts("full")
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Inverse of max_pool3d, zero where no maximum came from."""
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 3)
