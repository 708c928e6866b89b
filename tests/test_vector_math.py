"""Vector maths stays within 2 units in the last place of the correctly rounded result, special values included, on every
instruction set.

Run as a script to try more points: `python tests/test_vector_math.py 10000000`.
"""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl

erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


# name: reference in a wider type, bound in units in the last place of float32
FLOAT32 = {
    "exp": (np.exp, 2), "exp2": (np.exp2, 2), "expm1": (np.expm1, 2),
    "log": (np.log, 2), "log2": (np.log2, 2), "log10": (np.log10, 2), "log1p": (np.log1p, 2),
    "sin": (np.sin, 2), "cos": (np.cos, 2), "tan": (np.tan, 4),
    "tanh": (np.tanh, 2), "sinh": (np.sinh, 2), "cosh": (np.cosh, 2),
    "asin": (np.arcsin, 2), "acos": (np.arccos, 2), "atan": (np.arctan, 2),
    "sigmoid": (sigmoid, 2), "erf": (erf, 2), "erfc": (erfc, 4), "sqrt": (np.sqrt, 0.5), "rsqrt": (lambda x: 1 / np.sqrt(x), 2),
}  # fmt: skip
FLOAT64 = {
    name: FLOAT32[name] for name in ("exp", "log", "sigmoid", "tanh", "sin", "cos", "expm1", "log1p", "sqrt")
}

SPECIAL = [
    0.0, math.inf, math.nan, 1.0, 0.5, math.pi, math.pi / 2, 87.0, 88.722839, 88.8, 103.97, 104.1, 709.78, 745.2, 1e30,
    126.0, 127.999, 149.5, 9.01, 18.5, 65535.99, 65536.0, 65537.0, 1048575.9, 1048576.5, 0.70710677, 1.4142136, 0.625,
    9.0, 9.2, 10.05, 10.06, 10.1, 10.2,
]  # fmt: skip


def points(dtype, count, seed=0):
    """All sizes of numbers: random bit patterns, two ordinary ranges, and special values with both signs."""
    random = np.random.default_rng(seed)
    info = np.finfo(dtype)
    whole = np.dtype(f"u{info.bits // 8}")
    patterns = random.integers(0, np.iinfo(whole).max, count // 2, dtype=whole, endpoint=True).view(dtype)
    ordinary = random.uniform(-20, 20, count - count // 2).astype(dtype)
    ordinary[::3] /= 19  # mostly in the domain of asin
    edges = [
        info.max,
        info.tiny,
        info.tiny / 2,
        info.smallest_subnormal,
        info.eps,
        1 + info.eps,
        1 - info.eps / 2,
    ]
    special = np.array(SPECIAL + [float(e) for e in edges]).astype(dtype)
    return np.concatenate([special, -special, patterns[np.isfinite(patterns)], ordinary])


def errors(name, reference, dtype, count):
    """Distances of the results from the reference, in units in the last place; inf where the kind of number is wrong."""
    wide = np.float64 if dtype == np.float32 else np.longdouble
    info = np.finfo(dtype)
    beyond = wide(2.0) ** info.maxexp  # stands for infinity, which is one step beyond the largest number
    last_unit = wide(2.0) ** (info.maxexp - 1 - info.nmant)
    x = points(dtype, count)
    found = getattr(rl, name)(rl.tensor(x)).numpy()
    with np.errstate(all="ignore"):
        want = reference(x.astype(wide))
        rounded = want.astype(dtype)
        unit = np.spacing(np.abs(rounded)).astype(wide)
        unit[~np.isfinite(unit)] = last_unit
        distance = (
            np.abs(np.clip(found.astype(wide), -beyond, beyond) - np.clip(want, -beyond, beyond)) / unit
        )
    distance[np.isnan(found) & np.isnan(rounded)] = 0
    distance[np.isnan(found) != np.isnan(rounded)] = np.inf
    signs = (rounded == 0) & (found == 0) & (np.signbit(rounded) != np.signbit(found))
    distance[signs] = np.inf
    return x, found, distance


def worst(dtype, count):
    """{name: (largest error, argument)} of all functions."""
    table = FLOAT32 if dtype == np.float32 else FLOAT64
    result = {}
    for name, (reference, _) in table.items():
        x, _, distance = errors(name, reference, dtype, count)
        at = int(np.argmax(distance))
        result[name] = float(distance[at]), float(x[at])
    return result


def exceeding(dtype, found):
    table = FLOAT32 if dtype == np.float32 else FLOAT64
    return {name: error for name, error in found.items() if not error[0] <= table[name][1]}


WIDE = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant


@pytest.mark.parametrize("name", FLOAT32)
def test_float32(name):
    reference, limit = FLOAT32[name]
    x, found, distance = errors(name, reference, np.float32, 50_000 if name in ("erf", "erfc") else 1_000_000)
    at = np.argmax(distance)
    assert distance[at] <= limit, f"{name}({x[at]!r}) = {found[at]!r}: {distance[at]} units"


@pytest.mark.skipif(not WIDE, reason="no wider type to compare with")
@pytest.mark.parametrize("name", FLOAT64)
def test_float64(name):
    reference, limit = FLOAT64[name]
    x, found, distance = errors(name, reference, np.float64, 100_000)
    at = np.argmax(distance)
    assert distance[at] <= limit, f"{name}({x[at]!r}) = {found[at]!r}: {distance[at]} units"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "sigmoid", "erfc"])
def test_one_rare_argument_does_not_change_its_neighbours(name, dtype):
    function = getattr(rl, name)
    x = np.random.default_rng(0).uniform(1e-3, 80, 500).astype(dtype)
    ordinary = function(rl.tensor(x)).numpy()
    for rare in [math.inf, math.nan, 0.0, -1e30, 1e-310]:
        together = function(rl.tensor(np.append(x, dtype(rare)))).numpy()
        assert np.array_equal(ordinary, together[:-1])


@pytest.mark.parametrize("name, reference, limit", [("atan2", np.arctan2, 2), ("pow", np.power, 1)])
def test_two_arguments(name, reference, limit):
    x, y = points(np.float32, 500_000), points(np.float32, 500_000, seed=1)
    special = np.array([0.0, 1e-45, 0.5, 1.0, 2.0, 2.5, 3.0, 1e38, math.inf, math.nan], np.float32)
    special = np.concatenate([special, -special])
    x, y = (np.concatenate([a[:490_000], b.ravel()]) for a, b in zip((x, y), np.meshgrid(special, special)))
    found = getattr(rl, name)(rl.tensor(x), rl.tensor(y)).numpy()
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64), y.astype(np.float64))
        rounded = want.astype(np.float32)
    assert np.array_equal(np.isnan(found), np.isnan(rounded))
    assert np.array_equal(np.isinf(found), np.isinf(rounded))
    number, finite = ~np.isnan(found), np.isfinite(found)
    assert np.array_equal(np.signbit(found[number]), np.signbit(rounded[number]))
    assert np.max(np.abs(found[finite] - want[finite]) / np.spacing(np.abs(rounded[finite]))) <= limit


def test_gelu_keeps_the_precision_of_its_tail():
    x = np.random.default_rng(0).uniform(-5.69, 9, 100_000).astype(np.float32)
    below = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(x.astype(np.float64))
    error = np.abs(rl.nn.functional.gelu(rl.tensor(x)).numpy() / (x * below) - 1)
    assert error[x >= 0].max() < 4 * 2.0**-24
    assert error.max() < 4e-6


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("level", ["v2", "v3"])
def test_lesser_instruction_sets(level):
    environment = {**os.environ, "RUSHLIGHT_CPU": level}
    done = subprocess.run(
        [sys.executable, __file__, "20000", "--json"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not exceeding(np.float32, found["float32"])
    if WIDE:
        assert not exceeding(np.float64, found["float64"])


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    dtypes = [np.float32, np.float64] if WIDE else [np.float32]
    found = {np.dtype(d).name: worst(d, count) for d in dtypes}
    if "--json" in sys.argv:
        return print(json.dumps(found))
    for dtype, table in found.items():
        for name, (error, x) in table.items():
            print(f"{dtype} {name:8s} {error:7.3f} units at {x!r}")


if __name__ == "__main__":
    main()
