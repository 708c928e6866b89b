"""Convolutions of every stride, padding, dilation and grouping that takes another road through the kernels: forward
and both gradients, against NumPy sums over the taps in float64.
"""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl
import rushlight.nn.functional as F

SHAPES = [  # n, channels in, out, groups, height, width, kernel, stride, padding, dilation
    (2, 3, 5, 1, 9, 37, 3, 2, 1, 1),
    (2, 4, 6, 2, 12, 70, 3, 2, 1, 1),
    (1, 3, 20, 1, 15, 66, 7, 2, 3, 1),
    (2, 5, 4, 1, 10, 33, (2, 3), (1, 2), (0, 2), (2, 1)),
    (2, 17, 15, 1, 8, 35, 4, 2, 1, 1),
    (1, 6, 7, 1, 11, 40, 3, 3, 1, 2),
    (2, 33, 30, 1, 6, 21, 1, 1, 0, 1),
    (1, 5, 3, 1, 7, 30, 1, 2, 0, 1),
    # enough channels and positions for the matrix unit, where there is one
    (2, 40, 50, 1, 20, 23, 3, 2, 1, 1),
    (3, 64, 33, 1, 9, 17, 1, 1, 0, 1),
    (2, 3, 40, 1, 40, 41, 7, 2, 3, 1),
    (2, 64, 80, 2, 18, 19, 3, 1, 1, 2),
    (9, 70, 40, 1, 7, 7, 3, 2, 1, 1),
    (2, 40, 36, 1, 1, 200, (1, 5), 1, (0, 2), 1),
    (1, 36, 40, 1, 90, 50, 4, 3, 2, 1),
    (1, 200, 64, 1, 40, 44, (3, 2), (1, 2), (2, 0), (2, 1)),
    # one channel per group
    (2, 6, 6, 6, 9, 28, 3, 1, 1, 1),
    (2, 5, 5, 5, 7, 40, 3, 1, 0, 1),
    (1, 4, 4, 4, 3, 17, 3, 1, 2, 1),
    (1, 4, 4, 4, 2, 5, 3, 1, 1, 1),
    (2, 4, 4, 4, 11, 35, 5, 1, 2, 1),
    (1, 3, 3, 3, 9, 20, 7, 1, 3, 1),
    (2, 3, 6, 3, 10, 34, 3, 1, 1, 1),
    (2, 4, 4, 4, 13, 50, 3, 2, 1, 1),
    (1, 3, 3, 3, 9, 40, (2, 4), 1, (1, 0), 1),
    (1, 3, 3, 3, 12, 33, 3, 1, 2, 2),
    (1, 2, 2, 2, 6, 19, 3, 1, 4, 1),
]


def pair(v):
    return v if isinstance(v, tuple) else (v, v)


def reference(x, w, g, groups, stride, padding, dilation):
    """y, and the gradients of sum(y * g) for x and w; g may be None for y alone."""
    (sh, sw), (ph, pw), (dh, dw) = map(pair, (stride, padding, dilation))
    cout, per, kh, kw = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh = (padded.shape[2] - (kh - 1) * dh - 1) // sh + 1
    ow = (padded.shape[3] - (kw - 1) * dw - 1) // sw + 1
    y, gx, gw = np.zeros((x.shape[0], cout, oh, ow)), np.zeros(padded.shape), np.zeros(w.shape)
    outs = cout // groups
    for k in range(groups):
        ins, to = slice(k * per, (k + 1) * per), slice(k * outs, (k + 1) * outs)
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
                columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
                read = padded[:, ins, rows, columns]
                y[:, to] += np.einsum("ncyx,oc->noyx", read, w[to, :, i, j])
                if g is not None:
                    gw[to, :, i, j] = np.einsum("ncyx,noyx->oc", read, g[:, to])
                    gx[:, ins, rows, columns] += np.einsum("noyx,oc->ncyx", g[:, to], w[to, :, i, j])
    return y, gx[:, :, ph : ph + x.shape[2], pw : pw + x.shape[3]], gw


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_gradients(shape, dtype):
    n, cin, cout, groups, h, w, kernel, *spec = shape
    rng = np.random.default_rng(h * w)
    x = rng.standard_normal((n, cin, h, w)).astype(dtype)
    weight = rng.standard_normal((cout, cin // groups, *pair(kernel))).astype(dtype)
    bias = rng.standard_normal(cout).astype(dtype)
    plain = reference(x, weight, None, groups, *spec)[0]
    g = rng.standard_normal(plain.shape).astype(dtype)
    y, gx, gw = reference(x.astype("float64"), weight.astype("float64"), g.astype("float64"), groups, *spec)
    leaves = [rl.from_numpy(v).requires_grad_() for v in (x, weight, bias)]
    out = F.conv2d(*leaves, *spec, groups)
    wanted = (y + bias[:, None, None], gx, gw, g.sum((0, 2, 3)))
    got = (out, *rl.autograd.grad(out, leaves, rl.from_numpy(g)))
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    for a, b in zip(got, wanted):
        np.testing.assert_allclose(a.detach().numpy(), b, tolerance, tolerance * np.abs(b).max())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_number_of_threads_gives_the_same_bits(shape):
    n, cin, cout, groups, h, w, kernel, *spec = shape
    rng = np.random.default_rng(1)
    leaves = [
        rl.from_numpy(rng.standard_normal(size).astype("float32")).requires_grad_()
        for size in ((n, cin, h, w), (cout, cin // groups, *pair(kernel)))
    ]
    results = []
    before = rl.get_num_threads()
    try:
        for threads in (1, 2, 3):
            rl.set_num_threads(threads)
            y = F.conv2d(*leaves, None, *spec, groups)
            results.append((y, *rl.autograd.grad(y, leaves, rl.ones_like(y))))
    finally:
        rl.set_num_threads(before)
    for other in results[1:]:
        assert all(rl.equal(a, b) for a, b in zip(results[0], other))


SCALES = [
    (2.0**-110, 1),
    (2.0**-70, 2.0**-30),
    (2.0**-126, 2.0**20),
    (2.0**124, 2.0**-10),
    (2.0**90, 2.0**25),
]


@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_numbers_near_the_ends_of_the_range(scales):
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((2, 40, 12, 14)), rng.standard_normal((48, 40, 3, 3))
    x, weight = (v.astype("float32") * np.float32(scale) for v, scale in zip((x, weight), scales))
    leaves = [rl.from_numpy(v).requires_grad_() for v in (x, weight)]
    y = F.conv2d(*leaves, None, 2, 1)
    g = (rng.standard_normal(y.shape) * 2.0 ** (60 if scales[0] < 1 else -60)).astype("float32")
    got = (y, *rl.autograd.grad(y, leaves, rl.from_numpy(g)))
    for a, b in zip(got, reference(*(v.astype("float64") for v in (x, weight, g)), 1, 2, 1, 1)):
        np.testing.assert_allclose(a.detach().numpy(), b, 0, 3e-6 * np.abs(b).max())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, 1e-44])
def test_one_special_value_concerns_its_windows_alone(value):
    rng = np.random.default_rng(4)
    x, weight = (rng.standard_normal(s).astype("float32") for s in ((3, 40, 13, 12), (48, 40, 3, 3)))
    x[1, 7, 4, 5] = value
    with np.errstate(invalid="ignore", over="ignore"):
        y = F.conv2d(rl.from_numpy(x), rl.from_numpy(weight), None, 2, 1).numpy()
        wanted = reference(x.astype("float64"), weight.astype("float64"), None, 1, 2, 1, 1)[0].astype(
            "float32"
        )
    np.testing.assert_allclose(y, wanted, 1e-4, 1e-4)
    touched = np.zeros(y.shape, bool)
    touched[1, :, 2, 2:4] = True  # rows 3 to 5, columns 3 to 5 and 5 to 7
    assert (np.isfinite(y) | touched).all()


def digests():
    """Of the results and gradients of all shapes."""
    found = []
    for n, cin, cout, groups, h, w, kernel, *spec in SHAPES:
        rng = np.random.default_rng(5)
        leaves = [
            rl.from_numpy(rng.standard_normal(size).astype("float32")).requires_grad_()
            for size in ((n, cin, h, w), (cout, cin // groups, *pair(kernel)))
        ]
        y = F.conv2d(*leaves, None, *spec, groups)
        g = rl.from_numpy(rng.standard_normal(y.shape).astype("float32"))
        for result in (y, *rl.autograd.grad(y, leaves, g)):
            found.append(hashlib.sha256(result.detach().numpy().tobytes()).hexdigest())
    return found


@pytest.mark.skipif(rl._C._isa_name() not in ("v3", "v4"), reason="this level has no fused multiply-adds")
def test_deterministic_algorithms_do_without_the_matrix_unit():
    code = f"import json, runpy; print(json.dumps(runpy.run_path({__file__!r})['digests']()))"
    environment = {**os.environ, "RUSHLIGHT_CPU": "v3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    try:
        rl.use_deterministic_algorithms(True)
        assert digests() == json.loads(done.stdout.splitlines()[-1])
    finally:
        rl.use_deterministic_algorithms(False)


def test_infinities_stay_with_the_taps_that_meet_them():
    x = np.ones((1, 1, 6, 20), "float32")
    x[0, 0, 0, 0] = x[0, 0, 5, 19] = np.inf
    t, w = rl.from_numpy(x), rl.ones(1, 1, 3, 3).requires_grad_()
    y = F.conv2d(t, w)
    assert np.isinf(y.detach().numpy()).sum() == 2
    (gw,) = rl.autograd.grad(y, w, rl.ones_like(y))
    assert not np.isnan(gw.numpy()).any() and np.isinf(gw.numpy()).sum() == 2
