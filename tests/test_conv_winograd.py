"""Convolutions by Winograd's algorithm: they agree with the direct ones wherever the rule chooses them, at all edges, and
the switch in `backends.cpu` turns them off. Bits over threads and instruction sets are in test_threads.py."""

import numpy as np
import pytest

import rushlight as rl

F = rl.nn.functional

CASES = [  # images, channels, height, width, outputs, padding
    (2, 32, 16, 16, 32, 1),
    (3, 40, 17, 23, 29, 1),
    (2, 33, 21, 18, 27, 0),
    (1, 70, 24, 25, 50, 2),
    (4, 130, 13, 12, 24, (1, 2)),
    (5, 24, 11, 15, 40, (4, 0)),
    (9, 24, 7, 9, 24, "same"),
    (3, 24, 18, 15, 24, "valid"),
    (130, 40, 2, 2, 24, 1),
    (1, 60, 10, 11, 50, 1),
    (1, 300, 13, 14, 290, 1),
    (1, 24, 3, 300, 32, 1),
    (1, 24, 300, 3, 32, 1),
    (1, 24, 20, 700, 40, 1),
]


def numbers(*shape, seed=0):
    return rl.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def operands(case, dtype=rl.float32):
    n, channels, height, width, outputs, padding = case
    x, w = numbers(n, channels, height, width), numbers(outputs, channels, 3, 3, seed=1)
    leaves = [t.to(dtype).requires_grad_() for t in (x, w, numbers(outputs, seed=2))]
    return leaves, padding


def results(case, dtype=rl.float32):
    """The output and all gradients."""
    (x, w, bias), padding = operands(case, dtype)
    y = F.conv2d(x, w, bias, padding=padding)
    y.backward(numbers(*y.shape, seed=3).to(dtype))
    return [t.numpy() for t in (y.detach(), x.grad, w.grad, bias.grad)]


def direct(function, *args, **kwargs):
    with rl.backends.cpu.flags(conv_winograd=False):
        return function(*args, **kwargs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case):
    exact = results(case, rl.float64)
    for found, expected in zip(results(case), exact):
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rule_chooses_these_shapes(case):
    """Rounding differs, so that the other tests compare what they say."""
    ours, other = results(case), direct(results, case)
    assert not any(np.array_equal(ours[k], other[k]) for k in range(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"dilation": 2},
        {"groups": 2},
        {"kernel": (3, 1)},
        {"kernel": (5, 5)},
        {"channels": 8},
        {"side": 4},
        {"dtype": rl.float64},
    ],
    ids=str,
)
def test_other_shapes_stay_direct(changes):
    channels, groups, side = changes.get("channels", 32), changes.get("groups", 1), changes.get("side", 30)
    x = numbers(2, channels, side, side).to(changes.get("dtype", rl.float32))
    w = numbers(32, channels // groups, *changes.get("kernel", (3, 3))).to(x.dtype)
    options = {k: v for k, v in changes.items() if k in ("stride", "dilation", "groups")}
    assert rl.equal(F.conv2d(x, w, **options), direct(F.conv2d, x, w, **options))


def test_layouts_and_views():
    x, w = numbers(2, 32, 19, 22), numbers(24, 32, 3, 3, seed=1)
    expected = F.conv2d(x, w, padding=1)
    other = F.conv2d(x.to(memory_format=rl.channels_last), w.to(memory_format=rl.channels_last), padding=1)
    assert rl.equal(other, expected)
    assert rl.equal(F.conv2d(x.transpose(2, 3).contiguous().transpose(2, 3), w, padding=1), expected)
    wide = numbers(4, 40, 19, 22)
    assert rl.equal(
        F.conv2d(wide[1::2, 3:35], w, padding=1), F.conv2d(wide[1::2, 3:35].contiguous(), w, padding=1)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_gradients_that_are_not_finite_stay_where_they_belong(value):
    def gradients():
        x, w = numbers(2, 32, 21, 20).requires_grad_(), numbers(24, 32, 3, 3, seed=1).requires_grad_()
        g = numbers(2, 24, 21, 20, seed=2)
        g[1, 7, 10, 19] = g[0, 3, 0, 5] = value
        return rl.autograd.grad(F.conv2d(x, w, padding=1), (x, w), g)

    for found, expected in zip(gradients(), direct(gradients)):
        assert rl.equal(found.isfinite(), expected.isfinite()) and rl.equal(found.isnan(), expected.isnan())
        assert not expected.isfinite().all()


def test_empty_batch():
    x, w = rl.zeros(0, 32, 20, 20, requires_grad=True), numbers(32, 32, 3, 3).requires_grad_()
    y = F.conv2d(x, w, padding=1)
    y.sum().backward()
    assert y.shape == (0, 32, 20, 20) and x.grad.shape == x.shape and not w.grad.any()


def test_an_image_alone_and_in_a_batch():
    """Which tiles are computed together leaves no trace."""
    x, w = numbers(5, 32, 30, 26), numbers(32, 32, 3, 3, seed=1)
    together = F.conv2d(x, w, padding=1)
    for i in range(5):
        assert rl.equal(F.conv2d(x[i : i + 1], w, padding=1)[0], together[i])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
@pytest.mark.parametrize("of", ["input", "weight", "bias"])
def test_numbers_that_are_not_finite_stay_where_they_belong(value, of):
    """A tile would spread them over outputs that do not read them, and make NaN of infinities."""
    x, w, bias = numbers(2, 32, 21, 20), numbers(24, 32, 3, 3, seed=1), numbers(24, seed=2)
    if of == "input":
        x[1, 7, 10, 20 - 1] = value
        x[0, 0, 20, 3] = value
    elif of == "weight":
        w[5, 6, 1, 2] = value
    else:
        bias[3] = value
    found, expected = F.conv2d(x, w, bias, padding=1), direct(F.conv2d, x, w, bias, padding=1)
    finite = expected.isfinite()
    assert rl.equal(found.isfinite(), finite) and rl.equal(found.isnan(), expected.isnan())
    assert rl.equal(found[expected.isinf()], expected[expected.isinf()])
    close = (found - expected)[finite].abs() <= 1e-4 * (1 + expected[finite].abs())
    assert close.all()


@pytest.mark.parametrize("dtype", [rl.float16, rl.bfloat16])
def test_sixteen_bits(dtype):
    x, w = numbers(2, 32, 20, 20).to(dtype), numbers(32, 32, 3, 3, seed=1).to(dtype)
    exact = F.conv2d(x.double(), w.double(), padding=1)
    error = (F.conv2d(x, w, padding=1).double() - exact).abs().max()
    assert error <= exact.abs().max() * rl.finfo(dtype).eps


def test_second_derivative_agrees_with_float64():
    def twice(dtype):
        (x, w, _), padding = operands(CASES[0], dtype)
        y = F.conv2d(x, w, padding=padding)
        gx, gw = rl.autograd.grad(y.square().sum(), (x, w), create_graph=True)
        return rl.autograd.grad(gx.square().sum() + gw.square().sum(), (x, w))

    for found, expected in zip(twice(rl.float32), twice(rl.float64)):
        assert (found.double() - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_switch():
    flag = rl.backends.cpu
    assert flag.conv_winograd is True
    with pytest.raises(KeyError), flag.flags(conv_winograd=False):
        assert flag.conv_winograd is False
        with flag.flags():
            assert flag.conv_winograd is True
        assert flag.conv_winograd is False
        raise KeyError
    assert flag.conv_winograd is True
    try:
        flag.conv_winograd = False
        assert flag.conv_winograd is False
    finally:
        flag.conv_winograd = True
