"""Matrix products: sizes, shapes, transposed operands, batches, matrix times vector, linear layers, other dtypes."""

from benchmarks.timing import Case


def product(name, m, k, n, floor=1.8, dtype="float32", left="a", right="b"):
    """(m, k) times (k, n)."""
    first = (
        f"torch.rand({k}, {m}).to(torch.{dtype}).t()"
        if left == "t"
        else f"torch.rand({m}, {k}).to(torch.{dtype})"
    )
    second = (
        f"torch.rand({n}, {k}).to(torch.{dtype}).t()"
        if right == "t"
        else f"torch.rand({k}, {n}).to(torch.{dtype})"
    )
    return Case(name, f"a, b = {first}, {second}", "a @ b", floor=floor, flop=2 * m * k * n)


def square(n):
    return product(f"{n} x {n}", n, n, n)


def vector(n, transposed):
    a = f"a = torch.rand({n}, {n})" + (".t()" if transposed else "")
    name = f"matrix {'transposed ' * transposed}times vector {n}"
    return Case(name, f"{a}; v = torch.rand({n})", "a @ v", floor=1, traffic=4 * n * n)


LINEAR = (
    "f, x = torch.nn.functional.linear, torch.rand(512, 768, requires_grad=True)\n"
    "w, b, g = torch.rand(3072, 768, requires_grad=True), torch.rand(3072, requires_grad=True), torch.rand(512, 3072)"
)
LINEAR_WORK = 2 * 512 * 768 * 3072

CASES = [
    *[square(n) for n in (64, 128, 256, 512, 1024, 2048)],
    product("tall 8192 x 256 x 64", 8192, 256, 64),
    product("wide 64 x 256 x 8192", 64, 256, 8192),
    product("outer 1024 x 32 x 1024", 1024, 32, 1024),
    product("inner 32 x 8192 x 32", 32, 8192, 32),
    product("NT 1024", 1024, 1024, 1024, right="t"),
    product("TN 1024", 1024, 1024, 1024, left="t"),
    Case(
        "batched 64 x (64 x 64)",
        "a, b = torch.rand(64, 64, 64), torch.rand(64, 64, 64)",
        "a @ b",
        1.8,
        flop=2 * 64**4,
    ),
    Case(
        "batched 16 x (256 x 64 x 256)",
        "a, b = torch.rand(16, 256, 64), torch.rand(16, 64, 256)",
        "a @ b",
        1.8,
        flop=2 * 16 * 256 * 64 * 256,
    ),
    *[vector(n, transposed) for n in (1024, 4096) for transposed in (False, True)],
    Case(
        "linear 512 x 768 x 3072",
        LINEAR + "; torch.set_grad_enabled(False)",
        "f(x, w, b)",
        1.8,
        flop=LINEAR_WORK,
    ),
    Case(
        "linear 512 x 768 x 3072, forward and backward",
        LINEAR,
        "x.grad = w.grad = b.grad = None; f(x, w, b).backward(g)",
        1.8,
        flop=3 * LINEAR_WORK,
    ),
    *[product(f"bf16 {n}", n, n, n, floor=1, dtype="bfloat16") for n in (512, 1024, 2048)],
    *[product(f"f64 {n}", n, n, n, floor=1.5, dtype="float64") for n in (512, 1024, 2048)],
    product("int32 512", 512, 512, 512, floor=1, dtype="int32"),
    product("int64 512", 512, 512, 512, floor=1, dtype="int64"),
]

SHORT = """
float32: numbers are split into three of bfloat16 for the matrix unit, whose six products bring 400 GFLOP/s a core on
packed numbers that lie in the second-level cache (500 on zeros). A sixth of a product of 512 is packing: 13 to 15
cycles for 32 numbers, six bytes written for four read. Larger ones reach 210-290, less where C is far away: the
third-level cache gives a core 15 GB/s. Tall and wide products use each packed number for 64 columns only; below 72
rows and columns packing costs what the unit saves, so they stay with the multiply-adds. Tried: fetching the result's
lines or the next panel ahead (nothing), panels packed once for all threads (slower: fetching what another core wrote
costs more than splitting again), 1024 terms a pass (5 % faster, but errors up to 1.6 times PyTorch's). Large float64
products run at 86-91 % of the rate of multiply-adds that one can measure in a loop without memory, and so do
PyTorch's (MKL): 1.5 would be above what this machine can do. bfloat16: the matrix unit reaches 2.0 TFLOP/s on packed
panels that lie in the second-level cache, whole products 1.0-1.4; packing B is a tenth. Products of a matrix and a
vector are at memory (4096) or third-level cache bandwidth (1024).
"""

SHORT_AVX2 = """
1024 x 1024 runs at 91 % of the rate of multiply-adds that AVX2 gives on this machine (98 of 107 GFLOP/s a core), and so
do PyTorch's products (MKL): 1.3 would be above what it can do. `outer` is bound by writing its result.
"""
