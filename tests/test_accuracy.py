"""Rounding errors of float32 products and convolutions, measured against float64 on fixed numbers. The bounds are one and a
half times the errors that PyTorch 2.13 makes on the same numbers; speed may not be bought with digits."""

import numpy as np
import pytest

import rushlight as rl

F = rl.nn.functional
LARGER = 1.5  # than PyTorch's error

# root mean square of the errors over that of the results, in PyTorch 2.13 on x86-64 with AVX-512
PRODUCTS = {  # (m, n, k)
    (64, 64, 64): 1.43e-7,
    (300, 200, 1000): 3.36e-7,
    (50, 60, 5000): 3.51e-7,
    (1, 500, 3000): 4.75e-7,
    (500, 1, 3000): 2.73e-7,
}
CONVOLUTIONS = {  # (batch, cin, side, cout, kernel, stride, padding, mean of x): forward, by the input, by the weight
    (2, 64, 28, 64, 3, 1, 1, 0): (2.15e-7, 2.15e-7, 6.91e-7),
    (4, 256, 14, 256, 3, 1, 1, 0): (2.22e-7, 2.22e-7, 4.77e-7),
    (2, 64, 28, 64, 3, 1, 1, 10): (1.85e-7, 2.15e-7, 6.89e-7),
    (4, 256, 14, 256, 3, 1, 1, 10): (2.23e-7, 2.22e-7, 4.88e-7),
    (2, 128, 14, 128, 3, 2, 1, 0): (2.15e-7, 2.57e-7, 1.70e-7),
    (2, 128, 20, 64, 1, 1, 0, 0): (1.50e-7, 1.44e-7, 3.60e-7),
    (2, 3, 40, 32, 7, 2, 3, 0): (2.13e-7, 1.97e-7, 4.77e-7),
}


def error(result, exact):
    exact = exact.numpy()
    return np.sqrt(np.mean((result.numpy().astype(np.float64) - exact) ** 2) / np.mean(exact**2))


def numbers(*shape, seed=0):
    return rl.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("shape", PRODUCTS, ids=str)
def test_products(shape):
    m, n, k = shape
    a, b = numbers(m, k), numbers(k, n, seed=1)
    assert error(a @ b, a.double() @ b.double()) <= LARGER * PRODUCTS[shape]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("winograd", [True, False], ids=["winograd", "direct"])
def test_convolutions(case, winograd):
    n, cin, side, cout, kernel, stride, padding, mean = case
    results = []
    for dtype in (rl.float32, rl.float64):
        x = (numbers(n, cin, side, side) + mean).to(dtype).requires_grad_()
        w = numbers(cout, cin, kernel, kernel, seed=1).to(dtype).requires_grad_()
        with rl.backends.cpu.flags(conv_winograd=winograd):
            y = F.conv2d(x, w, stride=stride, padding=padding)
            y.backward(numbers(*y.shape, seed=2).to(dtype))
        results.append((y.detach(), x.grad, w.grad))
    errors = [error(a, b) for a, b in zip(*results)]
    assert all(e <= LARGER * bound for e, bound in zip(errors, CONVOLUTIONS[case])), errors


def test_sums_that_only_grow():
    """Of numbers between 0 and 1, where errors of the additions do not cancel; PyTorch's are 9.9e-8 and 7.8e-8."""
    for (n, cin, side, cout), bound in (((2, 64, 56, 128), 9.9e-8), ((2, 256, 14, 512), 7.8e-8)):
        x, w = (
            rl.tensor(np.random.default_rng(seed).random(shape).astype(np.float32))
            for seed, shape in enumerate(((n, cin, side, side), (cout, cin, 3, 3)))
        )
        y = F.conv2d(x, w, stride=2, padding=1)
        assert error(y, F.conv2d(x.double(), w.double(), stride=2, padding=1)) <= LARGER * bound
