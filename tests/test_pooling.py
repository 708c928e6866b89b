"""Pools over rows of every length, window, stride, padding and dilation: against plain NumPy loops, with the
gradients. test_ops covers the operators' forms and dtypes, test_nn_ops the derivatives of derivatives.
"""

import itertools

import numpy as np
import pytest

import rushlight as rl
import rushlight.nn.functional as F

SHAPES = [  # height, width, kernel, stride, padding, dilation, ceil_mode
    (4, 6, 2, 2, 0, 1, False),
    (7, 37, 2, 2, 0, 1, True),
    (9, 70, 3, 2, 1, 1, False),
    (8, 67, 3, 2, 1, 1, True),
    (5, 33, 3, 1, 1, 1, False),
    (6, 19, (2, 5), (1, 2), (1, 2), 1, False),
    (11, 41, (3, 2), (3, 4), 0, 1, True),
    (12, 40, 3, 3, 1, 1, False),
    (10, 75, 3, 2, 2, 2, False),
    (9, 50, (2, 3), 1, (1, 3), (2, 3), False),
    (13, 21, 4, 5, 2, (1, 2), True),
    (1, 1, 2, 1, 2, 3, False),  # windows without any element
    (3, 150, 1, 1, 0, 1, False),
    (30, 3, 3, 1, 1, 1, False),
]


def pair(v):
    return v if isinstance(v, tuple) else (v, v)


def windows(size, kernel, stride, padding, dilation, ceil_mode):
    """For each output the positions inside, and the length of the window with its padding."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    outs = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (outs - 1) * stride >= size + padding:
        outs -= 1
    for o in range(outs):
        start = o * stride - padding
        taps = [start + j * dilation for j in range(kernel)]
        yield [t for t in taps if 0 <= t < size], min(start + kernel, size + padding) - start


def grid(shape):
    """(y, x, rows, columns, size with padding) of every window."""
    h, w, *spec, ceil_mode = shape
    kernel, stride, padding, dilation = map(pair, spec)
    axes = [
        list(windows(n, kernel[d], stride[d], padding[d], dilation[d], ceil_mode)) for d, n in ((0, h), (1, w))
    ]
    counts = tuple(map(len, axes))
    return counts, [
        (y, x, axes[0][y][0], axes[1][x][0], axes[0][y][1] * axes[1][x][1])
        for y, x in itertools.product(*map(range, counts))
    ]


def largest(x, shape):
    """Values and places of the maxima: the first of equals, the last NaN, -1 for none."""
    h, w = x.shape[-2:]
    counts, cells = grid(shape)
    values = np.full((*x.shape[:-2], *counts), -np.inf, x.dtype)
    places = np.full(values.shape, -1)
    for y, c, rows, columns, _ in cells:
        if not rows or not columns:
            continue
        at = np.array([r * w + k for r in rows for k in columns])
        for lead in np.ndindex(x.shape[:-2]):
            window = x[lead].ravel()[at]
            nans = np.flatnonzero(np.isnan(window))
            best = nans[-1] if len(nans) else window.argmax()
            values[(*lead, y, c)], places[(*lead, y, c)] = window[best], at[best]
    return values, places


def inputs(kind, h, w, dtype):
    rng = np.random.default_rng(h * 1000 + w)
    x = rng.standard_normal((2, 3, h, w)).astype(dtype)
    if kind == "ties":
        x = np.round(x)
    if kind == "special":
        x[rng.random(x.shape) < 0.3] = -np.inf
        x[rng.random(x.shape) < 0.1] = np.nan
        x[rng.random(x.shape) < 0.1] = np.inf
        x[0, 0] = -np.inf
    return x


def arguments(shape):
    return dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), shape[2:]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["plain", "ties", "special"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_largest_values_places_and_gradient(shape, kind, dtype):
    x = inputs(kind, *shape[:2], dtype)
    values, places = largest(x, shape)
    t = rl.from_numpy(x).requires_grad_()
    y, index = F.max_pool2d(t, **arguments(shape), return_indices=True)
    alone = F.max_pool2d(t, **arguments(shape))
    np.testing.assert_array_equal(index.numpy(), places)
    for got in (y, alone, F.max_pool2d(t.detach(), **arguments(shape))):
        np.testing.assert_array_equal(got.detach().numpy(), values)
    g = np.random.default_rng(0).standard_normal(values.shape).astype(dtype)
    wanted = np.zeros((6, x[0, 0].size + 1))  # what has no place goes to the end
    for plane, at, by in zip(wanted, places.reshape(6, -1), g.reshape(6, -1)):
        np.add.at(plane, at, by)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for out in (y, alone):
        (got,) = rl.autograd.grad(out, t, rl.from_numpy(g))
        np.testing.assert_allclose(got.numpy().reshape(6, -1), wanted[:, :-1], tolerance, tolerance)


@pytest.mark.parametrize("count_include_pad, divisor", [(True, None), (False, None), (True, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [s for s in SHAPES if s[5] == 1], ids=str)
def test_means_and_gradient(shape, dtype, count_include_pad, divisor):
    x = inputs("plain", *shape[:2], dtype)
    counts, cells = grid(shape)
    values, g = np.zeros((2, 3, *counts)), np.random.default_rng(0).standard_normal((2, 3, *counts))
    wanted = np.zeros(x.shape)
    for y, c, rows, columns, padded in cells:
        by = divisor or (padded if count_include_pad else len(rows) * len(columns))
        for r, k in itertools.product(rows, columns):
            values[..., y, c] += x[..., r, k] / by
            wanted[..., r, k] += g[..., y, c] / by
    spec = arguments(shape)
    del spec["dilation"]
    t = rl.from_numpy(x).requires_grad_()
    out = F.avg_pool2d(t, **spec, count_include_pad=count_include_pad, divisor_override=divisor)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(out.detach().numpy(), values, tolerance, tolerance)
    (got,) = rl.autograd.grad(out, t, rl.from_numpy(g.astype(dtype)))
    np.testing.assert_allclose(got.numpy(), wanted, tolerance, tolerance)


def test_sixteen_bit_floats_and_integers_pool_like_floats():
    x = np.round(inputs("plain", 9, 40, "float32") * 4)
    wanted = F.max_pool2d(rl.from_numpy(x), 3, 2, 1)
    for dtype in (rl.bfloat16, rl.float16, rl.int64, rl.int8):
        got = F.max_pool2d(rl.from_numpy(x).to(dtype), 3, 2, 1)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.float().numpy(), wanted.numpy())


def test_a_window_of_more_taps_than_a_byte_counts():
    x = inputs("ties", 40, 45, "float64")
    t = rl.from_numpy(x).requires_grad_()
    y, index = F.max_pool2d(t, 20, 3, return_indices=True)
    alone = F.max_pool2d(t, 20, 3)
    assert rl.equal(y, alone)
    (a,), (b,) = rl.autograd.grad(y.sum(), t), rl.autograd.grad(alone.sum(), t)
    assert rl.equal(a, b)
    np.testing.assert_array_equal(index.numpy(), largest(x, (40, 45, 20, 3, 0, 1, False))[1])


def test_any_layout_and_one_dimension():
    x = rl.from_numpy(inputs("plain", 10, 35, "float32"))
    wanted = F.max_pool2d(x, 3, 2, 1)
    last = F.max_pool2d(x.to(memory_format=rl.channels_last), 3, 2, 1)
    assert rl.equal(last, wanted) and last.is_contiguous(memory_format=rl.channels_last)
    assert rl.equal(F.max_pool2d(x.transpose(2, 3).contiguous().transpose(2, 3), 3, 2, 1), wanted)
    rows = x.flatten(0, 1)
    assert rl.equal(F.max_pool1d(rows, 3, 2, 1), F.max_pool1d(rows, 3, 2, 1, return_indices=True)[0])


def test_derivatives_of_the_derivative():
    x = rl.from_numpy(inputs("plain", 5, 6, "float64")).requires_grad_()
    pools = (
        lambda t: F.max_pool2d(t, 3, 2, 1),
        lambda t: F.max_pool2d(t, 2, 1, 1, (1, 2)),
        lambda t: F.avg_pool2d(t, 3, 2, 1, True, False),
    )
    for pool in pools:
        assert rl.autograd.gradcheck(pool, x)
        assert rl.autograd.gradgradcheck(pool, x)
    _, moved = rl.func.jvp(lambda t: F.max_pool2d(t, 2), (x.detach(),), (rl.ones_like(x),))
    assert rl.equal(moved, rl.ones_like(moved))
