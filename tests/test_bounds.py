"""Kernels read no byte outside of their operands: each operand ends at a page that cannot be touched, or begins after one.
What address sanitizers do not see (masked loads, the matrix unit's tiles, fetches of whole vectors) ends the process here."""

import ctypes
import mmap
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

import rushlight as rl
from rushlight.nn import functional as F

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
KEPT = []  # the pages of this process


def fenced(x, at_end):
    """A copy of x whose memory ends where a forbidden page begins, or begins where one ends."""
    page = mmap.PAGESIZE
    room = -(-max(1, x.nbytes) // page) * page
    pages = mmap.mmap(-1, room + 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for fence in (base, base + page + room):
        assert LIBC.mprotect(ctypes.c_void_p(fence), page, 0) == 0, os.strerror(ctypes.get_errno())
    KEPT.append(pages)
    start = page + (room - x.nbytes if at_end else 0)
    copy = np.frombuffer(pages, x.numpy().dtype, x.numel(), start).reshape(x.shape)
    copy[...] = x.numpy()
    return rl.from_numpy(copy)


def operand(at_end, *sizes):
    return fenced(rl.randn(sizes), at_end)


def backward(function, *operands):
    """The function's result and all gradients, from a fenced gradient of the result."""
    y = function(*(x.requires_grad_() for x in operands))
    y.backward(fenced(rl.randn(y.shape), True))


def products(of):
    for m, n, k in ((70, 90, 50), (33, 65, 129), (128, 96, 200), (300, 17, 65), (1, 700, 300), (5, 3, 4000)):
        yield rl.mm, of(m, k), of(k, n)
        yield rl.mm, of(k, m).t(), of(k, n)
        yield rl.mm, of(m, k), of(n, k).t()
        yield rl.mm, of(k, m).t(), of(n, k).t()
        yield rl.addmm, of(m, n), of(m, k), of(k, n)
        yield rl.mv, of(m, k), of(k)
        yield backward, F.linear, of(m, k), of(n, k), of(n)
    yield rl.bmm, of(5, 40, 70), of(5, 70, 50)


def convolutions(of):
    for images, weight, options in (
        ((2, 3, 23, 29), (8, 3, 7, 7), {"stride": 2, "padding": 3}),
        ((2, 40, 13, 17), (33, 40, 3, 3), {"padding": 1}),
        ((2, 40, 13, 17), (33, 40, 3, 3), {"stride": 2, "padding": 1}),
        ((2, 40, 13, 17), (33, 40, 1, 1), {}),
        ((2, 40, 13, 17), (70, 40, 1, 1), {"stride": 2}),
        ((3, 1, 28, 28), (20, 1, 3, 3), {}),
        ((2, 32, 14, 14), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
        ((2, 24, 19, 15), (30, 12, 3, 5), {"dilation": 2, "groups": 2}),
    ):
        yield backward, partial(F.conv2d, **options), of(*images), of(*weight), of(weight[0])
    yield backward, F.conv1d, of(2, 33, 65), of(40, 33, 5)
    yield backward, partial(F.conv_transpose2d, stride=2), of(2, 33, 13, 11), of(33, 20, 3, 3)


def lstm(x, h, c, *weights):
    return rl.lstm(x, (h, c), weights, True, 1, 0.0, False, False, False)[0]


def others(of):
    state, weights = (1, 10, 110), ((440, 20), (440, 110), (440,), (440,))
    yield backward, lstm, of(30, 10, 20), of(*state), of(*state), *(of(*shape) for shape in weights)
    for length, size in ((65, 64), (130, 40), (33, 80), (126, 60), (95, 50)):
        for causal in (False, True):
            attention = partial(F.scaled_dot_product_attention, is_causal=causal)
            yield backward, attention, *(of(2, 3, length, size) for _ in range(3))
    for shape in ((2, 3, 31, 45), (1, 1, 7, 5)):
        yield partial(F.max_pool2d, kernel_size=3, stride=2, padding=1), of(*shape)
        yield backward, partial(F.avg_pool2d, kernel_size=2), of(*shape)
        yield backward, partial(F.adaptive_avg_pool2d, output_size=(2, 3)), of(*shape)
    for shape in ((1031, 33), (33, 1031), (7, 5, 67)):
        x = of(*shape)
        for name in ("exp", "tanh", "nonzero", "histc", "bfloat16"):
            yield getattr(x, name),
        for dim in (0, -1):
            for name in ("sum", "var", "max", "argmax", "cumsum", "softmax", "logsumexp", "sort", "median"):
                yield getattr(x, name), dim
        yield x.transpose(0, 1).contiguous,
        yield backward, partial(F.layer_norm, normalized_shape=shape[-1:]), of(*shape)
        yield x.masked_select, x > 0
        yield x.gather, 0, rl.randint(0, shape[0], shape)
        yield x.scatter_add, 0, rl.randint(0, shape[0], shape), x
        yield x.index_select, 0, rl.randint(0, shape[0], (70,))


GROUPS = {"products": products, "convolutions": convolutions, "others": others}


def run(group):
    """What the process under test does: every case with fences after, then before the operands."""
    for at_end in (True, False):
        for function, *operands in GROUPS[group](partial(operand, at_end)):
            print(function, [getattr(x, "shape", x) for x in operands], flush=True)
            function(*operands)
    print("done")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("level", ["", "v4", "v3", "v2"])
def test_nothing_outside_is_read(group, level):
    environment = {**os.environ, "RUSHLIGHT_CPU": level} if level else os.environ
    done = subprocess.run([sys.executable, __file__, group], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("done\n"), (
        done.returncode, done.stdout[-200:], done.stderr[-2000:]
    )


if __name__ == "__main__":
    run(sys.argv[1])
