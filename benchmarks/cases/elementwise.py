"""Element-wise operators, copies and random numbers on 1M elements (in cache) and on 16M, outputs freshly allocated."""

from benchmarks.timing import Case

SIZES = {"1M": 1024, "16M": 4096}  # name -> side of a square matrix


def floor_of(size, bytes_per_element=4):
    """What is asked: 3 where PyTorch has to allocate 16 MB or more, 1.2 in cache."""
    side = SIZES[size]
    return 3 if side * side * bytes_per_element >= 16e6 else 1.2


def plain(size):
    side = SIZES[size]
    pair = f"a, b = torch.rand({side}, {side}), torch.rand({side}, {side})"
    forms = [
        ("add", "a + b"),
        ("mul", "a * b"),
        ("mul by a number", "a * 2.0"),
        ("div", "a / b"),
        ("where", "torch.where(m, a, b)"),
        ("comparison", "a > b"),
        ("clamp", "a.clamp(0.2, 0.8)"),
        ("pow 2", "a ** 2"),
        ("sqrt", "a.sqrt()"),
        ("exp", "a.exp()"),
        ("log", "a.log()"),
        ("tanh", "a.tanh()"),
        ("erf", "a.erf()"),
        ("sin", "a.sin()"),
        ("sigmoid", "a.sigmoid()"),
        ("relu", "a.relu()"),
        ("gelu", "F.gelu(a)"),
        ("silu", "F.silu(a)"),
        ("dropout", "F.dropout(a, 0.1)"),
        ("transposed copy", "a.t().contiguous()"),
        ("add, transposed", "a + b.t()"),
        ("add, row broadcast", "a + b[0]"),
        ("add, column broadcast", "a + b[:, :1]"),
        ("to float64", "a.double()"),
        ("to bfloat16", "a.bfloat16()"),
    ]
    setup = pair + "; F = torch.nn.functional; m = a > b"
    cost = {"comparison": 1, "to float64": 8, "to bfloat16": 2}
    return [
        Case(f"{name} {size}", setup, stmt, floor=floor_of(size, cost.get(name, 4))) for name, stmt in forms
    ]


def in_place(size):
    side = SIZES[size]
    setup = f"a, b = torch.rand({side}, {side}), torch.rand({side}, {side})"
    return [
        Case(f"{stmt} {size}", setup, stmt, floor=1.2 if size == "1M" else 1)
        for stmt in ("a += b", "a.mul_(1.0)")
    ]


def backward(size):
    side = SIZES[size]
    forms = [("tanh", "a.tanh()"), ("gelu", "F.gelu(a)"), ("mul", "a * b"), ("dropout", "F.dropout(a, 0.1)")]
    setup = (
        f"a, b = torch.rand({side}, {side}, requires_grad=True), torch.rand({side}, {side})\n"
        f"g, F = torch.rand({side}, {side}), torch.nn.functional"
    )
    return [
        Case(
            f"{name} {size}, forward and backward",
            setup,
            f"a.grad = None; ({stmt}).backward(g)",
            floor_of(size),
        )
        for name, stmt in forms
    ]


def random(size):
    count = SIZES[size] ** 2
    forms = [
        ("rand", f"torch.rand({count})", 4),
        ("randn", f"torch.randn({count})", 4),
        ("randint", f"torch.randint(0, 1000, ({count},))", 8),
        ("bernoulli", "p.bernoulli()", 4),
        ("randperm", f"torch.randperm({count})", 8),
    ]
    setup = f"p = torch.full(({count},), 0.3)"
    return [
        Case(f"{name} {size}", setup, stmt, floor_of(size, width))
        for name, stmt, width in forms
        if not (name == "randperm" and size == "16M")
    ]


CASES = [c for size in SIZES for c in plain(size) + in_place(size) + backward(size) + random(size)]

SHORT = """
1M numbers in single precision: add, mul, div, clamp, sqrt, relu, copies and broadcasts move 8 or 12 MB through the
third-level cache at the rate that the machine gives (about 27 GB/s and thread) on both sides; what is left to win are
the calls. `a.mul_(1.0)` at two threads works on 2 MB a core, which is the size of its second-level cache. 16M numbers:
every byte is moved once, and results go past the caches, which saves the fetching of the lines that are overwritten (a
third of a sum's time). `comparison` reads 128 MB and writes 16, at 14 GB/s and thread beside PyTorch and at 24 alone,
where part of it stays in the third-level cache; 3 would take 23. Random numbers: one stream of the Mersenne twister,
drawn by one thread.
"""
