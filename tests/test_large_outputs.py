"""Outputs larger than the caches, which kernels write past them (core/kernels/stream.h): the values of small ones."""

import numpy as np
import pytest

import rushlight as rl

ROWS, COLUMNS = 2311, 4099  # 38 MB in float32; no row begins at the beginning of a cache line


@pytest.fixture(scope="module")
def numbers():
    made = np.random.default_rng(0)
    return [made.standard_normal((ROWS, COLUMNS), dtype=np.float32) for _ in range(2)]


CASES = {
    "add": lambda lib, a, b: a + b,
    "number": lambda lib, a, b: a * 2 + 1,
    "comparison": lambda lib, a, b: a > b,
    "where": lambda lib, a, b: lib.where(a > b, a, b),
    "row": lambda lib, a, b: a + b[0],
    "column": lambda lib, a, b: a * b[:, :1],
    "strided input": lambda lib, a, b: a[:, ::-1] + b if lib is np else a.flip(1) + b,
    "part of rows": lambda lib, a, b: a[:, 3:] - b[:, :-3],
    "turned": lambda lib, a, b: np.ascontiguousarray(a.T) if lib is np else a.t().contiguous(),
    "turned and added": lambda lib, a, b: a[:, :ROWS].T + b[:, :ROWS],
    "joined": lambda lib, a, b: lib.concatenate([a, b], 1) if lib is np else lib.cat([a, b], 1),
    "converted": lambda lib, a, b: a.astype(np.float64) if lib is np else a.double(),
    "copied": lambda lib, a, b: a.copy() if lib is np else a.clone(),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name, numbers):
    ours = CASES[name](rl, *[rl.from_numpy(x) for x in numbers])
    theirs = CASES[name](np, *numbers)
    assert ours.numpy().dtype == theirs.dtype
    assert np.array_equal(ours.numpy(), theirs)


def test_aligned_transpose():
    x = np.arange(4096 * 4096, dtype=np.float32).reshape(4096, 4096)
    assert np.array_equal(rl.from_numpy(x).t().contiguous().numpy(), x.T)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.complex128])
def test_transpose_of_other_sizes(dtype):
    x = np.arange(2000 * 2100).reshape(2000, 2100).astype(dtype)
    assert np.array_equal(rl.from_numpy(x).t().contiguous().numpy(), x.T)


def test_output_that_is_an_input(numbers):
    a, b = [rl.from_numpy(x.copy()) for x in numbers]
    a += b
    assert np.array_equal(a.numpy(), numbers[0] + numbers[1])
