"""Matrix products: values against float64 for every type, layout and awkward size; float32 on the matrix unit; the order of
summation of bfloat16; the same bits for any number of threads and on every instruction set, special values included."""

import hashlib
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl
from rushlight import _C

SIZES = [
    (1, 1, 1), (1, 1, 300), (1, 70, 40), (70, 1, 40), (1, 600, 600), (600, 1, 600), (3, 5, 2), (16, 16, 32), (17, 33, 31),
    (31, 15, 65), (32, 32, 64), (33, 47, 130), (64, 64, 64), (5, 300, 257), (300, 5, 257), (130, 100, 96), (2, 3, 5000),
    (70, 90, 1100), (300, 200, 520), (1100, 40, 33),
]  # fmt: skip
LAYOUTS = ["N", "T", "strided", "offset", "reversed batch"]


def laid_out(x, layout):
    """The tensor x as a view of other memory."""
    if layout == "T":
        return x.t().contiguous().t()
    if layout == "strided":
        room = rl.zeros(2 * x.shape[0], 3 * x.shape[1], dtype=x.dtype)
        room[::2, ::3] = x
        return room[::2, ::3]
    if layout == "offset":
        room = rl.zeros(x.shape[0] + 2, x.shape[1] + 3, dtype=x.dtype)
        room[1:-1, 2:-1] = x
        return room[1:-1, 2:-1]
    if layout == "reversed batch":  # rows of a batch's second dimension
        return rl.stack([x, x + x], 1)[:, 0]
    return x


def wide(t):
    return t.double().numpy()


def check(got, a, b, c=0.0):
    """Compares got with c + a @ b: rounded once, and before that an error of sums of len(k) terms."""
    a, b, c = wide(a), wide(b), wide(c) if isinstance(c, rl.Tensor) else c
    info = rl.finfo(got.dtype)
    inner = 1.2e-7 if got.dtype in (rl.bfloat16, rl.float16) else info.eps
    exact = c + a @ b
    bound = abs(exact) * info.eps + (abs(a) @ abs(b) + abs(c)) * inner * (4 + 2 * a.shape[1] ** 0.5)
    assert got.shape == exact.shape
    assert (abs(wide(got) - exact) <= bound + info.tiny).all()


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64, rl.bfloat16, rl.float16], ids=str)
@pytest.mark.parametrize("m, n, k", SIZES)
def test_values(m, n, k, dtype):
    layouts = list(itertools.product(LAYOUTS, LAYOUTS))
    if m * n * k > 100_000:
        layouts = layouts[(m + n) % 3 :: 3]
    a, b, c = (rl.randn(*size).to(dtype) for size in ((m, k), (k, n), (m, n)))
    for left, right in layouts:
        x, y = laid_out(a, left), laid_out(b, right)
        check(x @ y, a, b)
        check(rl.addmm(c, x, y), a, b, c)


@pytest.mark.parametrize("dtype", [rl.float32, rl.bfloat16], ids=str)
def test_many_terms(dtype):
    """More terms than one pass over the operands takes."""
    a, b, c = rl.randn(40, 9001).to(dtype), rl.randn(9001, 50).to(dtype), rl.randn(40, 50).to(dtype)
    for x, y in (
        (a, b),
        (laid_out(a, "T"), b),
        (a, laid_out(b, "T")),
        (laid_out(a, "T"), laid_out(b, "offset")),
    ):
        check(x @ y, a, b)
        check(rl.addmm(c, x, y), a, b, c)


@pytest.mark.parametrize("dtype", [rl.float32, rl.bfloat16, rl.float16, rl.int64], ids=str)
def test_no_terms(dtype):
    a, b, c = rl.ones(3, 0, dtype=dtype), rl.ones(0, 4, dtype=dtype), rl.ones(3, 4, dtype=dtype)
    assert ((a @ b) == 0).all() and (rl.addmm(c, a, b) == 1).all()
    assert (rl.ones(0, 3, dtype=dtype) @ rl.ones(3, 4, dtype=dtype)).shape == (0, 4)


@pytest.mark.parametrize("dtype", [rl.int8, rl.uint8, rl.int16, rl.int32, rl.int64], ids=str)
@pytest.mark.parametrize("m, n, k", [(1, 1, 9), (5, 1, 40), (1, 70, 40), (33, 65, 70), (130, 100, 257)])
def test_integers_wrap(m, n, k, dtype):
    low, high = rl.iinfo(dtype).min, rl.iinfo(dtype).max
    a, b = (rl.randint(low, high, size, dtype=rl.int64).to(dtype) for size in ((m, k), (k, n)))
    exact = a.numpy() @ b.numpy()
    for left, right in itertools.product(LAYOUTS[:4], LAYOUTS[:4]):
        assert ((laid_out(a, left) @ laid_out(b, right)).numpy() == exact).all()


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64, rl.bfloat16], ids=str)
def test_batches(dtype):
    for batch, m, n, k in ((1, 5, 6, 7), (64, 64, 64, 64), (16, 40, 256, 64), (3, 1, 50, 70), (2, 33, 1, 9)):
        a, b, c = (
            rl.randn(batch, m, k).to(dtype),
            rl.randn(batch, k, n).to(dtype),
            rl.randn(batch, m, n).to(dtype),
        )
        turned = b.transpose(1, 2).contiguous().transpose(1, 2)
        for y in (b, turned):
            plain, added = rl.bmm(a, y), rl.baddbmm(c, a, y)
            for i in range(batch):
                check(plain[i], a[i], b[i])
                check(added[i], a[i], b[i], c[i])


@pytest.mark.parametrize("dtype", [rl.float32, rl.float64, rl.bfloat16], ids=str)
@pytest.mark.parametrize("rows, inputs, outputs", [(1, 40, 70), (8, 300, 33), (70, 65, 100), (512, 40, 20)])
def test_linear(rows, inputs, outputs, dtype):
    x, w, bias = (
        rl.randn(*s).to(dtype).requires_grad_() for s in ((rows, inputs), (outputs, inputs), (outputs,))
    )
    g = rl.randn(rows, outputs).to(dtype)
    y = rl.nn.functional.linear(x, w, bias)
    y.backward(g)
    check(y.detach(), x.detach(), w.detach().t(), bias.detach().expand(rows, outputs))
    check(x.grad, g, w.detach())
    check(w.grad, g.t(), x.detach())
    check(bias.grad.view(1, -1), rl.ones(1, rows).to(dtype), g)


# ---- float32 on the matrix unit, where there is one ----


@pytest.fixture
def switches():
    """Puts the switches for float32 products back."""
    yield
    rl.use_deterministic_algorithms(False)
    rl.set_float32_matmul_precision("highest")


def both(a, b, c=None):
    """c + a @ b as it is computed, and by fused multiply-adds."""
    found = []
    for deterministic in (False, True):
        rl.use_deterministic_algorithms(deterministic)
        found.append(a @ b if c is None else rl.addmm(c, a, b))
    return found


@pytest.mark.parametrize("remainder", range(32))
def test_float32_remainders(remainder):
    """Sizes that do not divide by those of the unit's tiles, in each dimension by itself and in all."""
    r = remainder
    for m, n, k in (
        (96 + r, 96, 64),
        (96, 96 + r, 64),
        (96, 80, 33 + r),
        (81 + r, 112 - r, 65 + r),
        (290 + r, 70, 600 + r),
    ):
        a, b, c = rl.randn(m, k), rl.randn(k, n), rl.randn(m, n)
        for left, right in itertools.product(LAYOUTS[:3], LAYOUTS[:3]):
            x, y = laid_out(a, left), laid_out(b, right)
            check(x @ y, a, b)
        check(rl.addmm(c, x, y), a, b, c)
        check(rl.addmm(c, x, y, beta=0.5, alpha=-2.0), -2 * a, b, 0.5 * c)


def kinds_of_numbers(m, n, k):
    """Pairs of operands whose products lose in different ways."""
    yield "normal", rl.randn(m, k), rl.randn(k, n)
    yield "uniform", rl.rand(m, k), rl.rand(k, n)
    yield (
        "wide",
        rl.randn(m, k) * 2.0 ** rl.randint(-30, 30, (m, k)),
        rl.randn(k, n) * 2.0 ** rl.randint(-30, 30, (k, n)),
    )
    half, other = rl.randn(m, k // 2), rl.randn(k // 2, n)
    yield "cancelling", rl.cat([half, -half * (1 + 1e-4 * rl.rand(m, k // 2))], 1), rl.cat([other, other], 0)


@pytest.mark.parametrize("m, n, k", [(96, 96, 96), (300, 130, 700), (64, 300, 2048)])
def test_float32_is_as_exact_as_multiply_adds(m, n, k, switches):
    rl.manual_seed(5)
    for kind, a, b in kinds_of_numbers(m, n, k):
        exact, size = wide(a) @ wide(b), abs(wide(a)) @ abs(wide(b))
        errors = [(wide(got) - exact) / size for got in both(a, b)]
        for measure in (lambda e: (e**2).mean() ** 0.5, lambda e: abs(e).max()):
            assert measure(errors[0]) <= 1.5 * measure(errors[1]), kind


@pytest.mark.parametrize("m, n, k", [(70, 80, 50), (300, 100, 560)])
def test_float32_special_values(m, n, k, switches):
    inf, nan, huge = float("inf"), float("nan"), 3e38
    places = [(0, 0), (m // 2, k // 3), (m - 1, k - 1)]
    for value, (i, p), onto in itertools.product(
        (inf, -inf, nan, huge, -huge, 1e-30, 1e-38, 1e-43, 0.0), places, (0, 1)
    ):
        a, b = rl.randn(m, k), rl.randn(k, n)
        if onto == 0:
            a[i, p] = value
        else:
            b[p, i % n] = value
        got, expected = both(a, b)
        for test in (rl.isnan, rl.isposinf, rl.isneginf):
            assert (test(got) == test(expected)).all()
        exact = rl.isfinite(expected)
        size = (a.abs().double() @ b.abs().double())[exact]
        assert ((got - expected)[exact].abs().double() <= 3e-6 * size).all()


@pytest.mark.parametrize("small", [-149, -140, -127, -110, -103, -100, -80, -50, -40])
def test_float32_small_numbers(small, switches):
    """Products whose parts, sums or results are denormal numbers keep them."""
    rl.manual_seed(small + 200)
    for other in (-126 - small, -100 - small, -90 - small, 0):
        if not -120 <= other <= 120:
            continue
        a = (rl.randn(96, 64).double() * 2.0**small).float()
        b = (rl.randn(64, 96).double() * 2.0**other).float()
        mixed = rl.randn(96, 64)
        mixed[::7, ::5] = a[::7, ::5]
        for x in (a, mixed):
            for c in (None, rl.full((96, 96), 1e-42)):
                exact = wide(x) @ wide(b) + (0 if c is None else wide(c))
                got, expected = (abs(wide(y) - exact).max(1) for y in both(x, b, c))
                assert (got <= 2 * expected + 2.0**-149).all()


def test_float32_large_numbers(switches):
    """Sums that reach the end of the range, or go beyond it."""
    for scale in (2.0**60, 2.0**62, 2.0**63.5):
        a, b = rl.rand(96, 64) * scale, rl.rand(64, 96) * scale
        got, expected = both(a, b)
        assert (got.isinf() == expected.isinf()).all()
        finite = ~expected.isinf()
        assert ((got - expected)[finite].abs() <= 1e-6 * expected[finite]).all()


def test_float32_precision(switches):
    a, b = rl.randn(130, 300), rl.randn(300, 90)
    exact, size = wide(a) @ wide(b), abs(wide(a)) @ abs(wide(b))
    errors = {}
    for precision in ("highest", "high", "medium"):
        rl.set_float32_matmul_precision(precision)
        assert rl.get_float32_matmul_precision() == precision
        errors[precision] = (abs(wide(a @ b) - exact) / size).max()
    assert errors["highest"] < 1e-6 and errors["high"] < 2.0**-14 and errors["medium"] < 2.0**-7
    if _C._has_amx():
        assert errors["highest"] < errors["high"] < errors["medium"]
    rl.use_deterministic_algorithms(True)
    assert (abs(wide(a @ b) - exact) / size).max() < 1e-6
    with pytest.raises(RuntimeError, match="not one of"):
        rl.set_float32_matmul_precision("low")


# ---- the order of bfloat16 products ----


def in_order(a, b, c):
    """c + a @ b in the documented order, on numbers whose products and sums of two float64 holds exactly."""
    f4 = np.float32
    k = -(-a.shape[1] // 32) * 32
    a = np.pad(a.astype("f8"), ((0, 0), (0, k - a.shape[1])))
    b = np.pad(b.astype("f8"), ((0, k - b.shape[0]), (0, 0)))
    out = c.astype(f4)
    for p in range(0, k, 32):
        sums = np.zeros((2, *c.shape), f4)
        for q in range(p, p + 32):
            sums[q % 2] = (np.outer(a[:, q], b[q]) + sums[q % 2]).astype(f4)
        out = out + (sums[0] + sums[1])
    return out


@pytest.mark.parametrize("m, n, k", [(1, 1, 40), (5, 40, 33), (40, 5, 128), (33, 65, 300), (3, 2, 5001)])
def test_order_of_bfloat16(m, n, k):
    def draw(*size):
        mantissa = rl.randint(128, 256, size).float()
        return (mantissa * rl.randint(-1, 2, size) * 2.0 ** rl.randint(-3, 4, size).float()).bfloat16()

    a, b, c = draw(m, k), draw(k, n), draw(m, n) * 64
    for addend in (rl.zeros(m, n).bfloat16(), c):
        exact = in_order(a.float().numpy(), b.float().numpy(), addend.float().numpy())
        expected = rl.tensor(exact).bfloat16().view(rl.int16)
        for x, y in itertools.product((a, laid_out(a, "T")), (b, laid_out(b, "T"))):
            assert (rl.addmm(addend, x, y).view(rl.int16) == expected).all()


@pytest.mark.parametrize("k", [1, 2, 31, 32, 33, 600])
def test_special_values_of_bfloat16(k):
    inf, nan = float("inf"), float("nan")
    a, b = rl.ones(40, k).bfloat16(), rl.ones(k, 35).bfloat16()
    a[3, k // 2], a[4, k - 1], a[5, 0] = inf, nan, -inf
    a[6] = 0
    b[:, 7], b[0, 8] = 0, inf
    got = (a @ b).float()
    assert got[3, 0] == inf and got[5, 0] == -inf and (got[6, :8] == 0).all() and got[0, 8] == inf
    for i, j in ((4, 0), (3, 7), (5, 7), (6, 8)):  # a NaN, infinity times zero
        assert got[i, j].isnan()
    others = [i for i in range(40) if i not in (3, 4, 5, 6)]
    assert (got[others][:, :7] == rl.tensor(float(k)).bfloat16().float()).all()
    # what is too small to be normal counts as zero, on the way in and on the way out
    tiny = rl.full((2, k), 2.0**-130).bfloat16()
    assert ((tiny @ rl.full((k, 2), 2.0**100).bfloat16()) == 0).all()
    small = rl.full((2, k), 2.0**-70).bfloat16()
    assert ((small @ rl.full((k, 2), 2.0**-70).bfloat16()) == 0).all()


# ---- the same bits everywhere ----


def bits():
    """Digests of products of each type, computed with the threads and the instruction set at hand."""
    draw = np.random.default_rng(3)
    found = {}

    def special(*size):
        """bfloat16 of every kind: mostly ordinary, some tiny, infinite or NaN."""
        any_bits = draw.integers(0, 2**16, size).astype(np.uint16)
        plain = (any_bits & 0x80FF) | 0x3F00
        tiny = (any_bits & 0x80FF) | 0x2000
        kind = draw.random(size)
        return rl.tensor(np.where(kind < 0.4, plain, np.where(kind < 0.995, tiny, any_bits)).view("i2")).view(
            rl.bfloat16
        )

    def keep(name, t):
        found[name] = hashlib.sha1(bytes(t.detach().contiguous().untyped_storage())).hexdigest()

    for (m, n, k), dtype in itertools.product([*SIZES, (513, 260, 700)], ("float32", "float64", "bfloat16")):
        kind = getattr(rl, dtype)
        for layout in ("NN", "NT", "TN", "TT"):
            a, b, c = (rl.tensor(draw.standard_normal(s)).to(kind) for s in ((m, k), (k, n), (m, n)))
            if dtype == "bfloat16" and layout in ("NT", "TN"):
                a, b, c = special(m, k), special(k, n), special(m, n)
            a, b = laid_out(a, layout[0]), laid_out(b, layout[1])
            keep(f"{dtype} {m}x{n}x{k} {layout}", a @ b)
            keep(f"{dtype} {m}x{n}x{k} {layout} added", rl.addmm(c, a, b))
    for kind in (rl.float32, rl.bfloat16):
        x, w, bias = (
            rl.tensor(draw.standard_normal(s)).to(kind).requires_grad_()
            for s in ((70, 90), (130, 90), (130,))
        )
        rl.nn.functional.linear(x, w, bias).square().sum().backward()
        for name, t in (("x", x), ("w", w), ("bias", bias)):
            keep(f"{kind} linear {name}", t.grad)
    return found


def test_same_bits_for_any_number_of_threads():
    before = rl.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 8):
            rl.set_num_threads(threads)
            found.append(bits())
    finally:
        rl.set_num_threads(before)
    assert len(found[0]) > 400
    assert all(f == found[0] for f in found)


def ask(level, code):
    """What code prints in a process with that instruction set, read as JSON."""
    program = (
        "import json, runpy; from rushlight import _C; t = runpy.run_path(%r); print(json.dumps(%s))"
        % (__file__, code)
    )
    environment = {**os.environ, "RUSHLIGHT_CPU": level}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LEVELS = (
    [level for level in ("v3", "v4") if level <= _C._isa_name()] if os.uname().machine == "x86_64" else []
)


@pytest.mark.skipif(not LEVELS, reason="this machine has one instruction set only")
def test_same_bits_on_every_instruction_set(switches):
    rl.use_deterministic_algorithms(True)  # float32 has an order of its own on the matrix unit
    here = bits()  # bfloat16 on that unit, where this machine has one
    for level in LEVELS:
        there = ask(level, "t['bits']()")
        different = [name for name in here if here[name] != there[name]]
        assert here.keys() == there.keys() and not different, level


@pytest.mark.skipif(not LEVELS, reason="no x86-64 processor with vectors of 32 bytes")
def test_the_matrix_unit_can_be_switched_off():
    assert [ask(level, "_C._has_amx()") for level in ("v2", "v3", "v4")] == [False] * 3
    assert ask("amx", "[_C._has_amx(), _C._isa_name()]") == ask("", "[_C._has_amx(), _C._isa_name()]")
