"""Reductions, normalisations and scans on 1M and 16M elements, and sorting on 1M."""

from benchmarks.cases.elementwise import SIZES, floor_of
from benchmarks.timing import Case

SETUP = "a = torch.rand({0}, {0}); F = torch.nn.functional"


def reductions(size):
    """They allocate next to nothing: 1.2 in cache, no slower outside."""
    least = 1.2 if size == "1M" else 1
    forms = [
        *[f"a.{name}({dim})" for name in ("sum", "mean", "var") for dim in ("", "0", "1")],
        *[f"a.{name}({dim})" for name in ("max", "argmax") for dim in ("", "0", "1")],
        "a.norm()",
        "a.logsumexp(1)",
        "(a > 0.5).any(1)",
    ]
    return [Case(f"{stmt} {size}", SETUP.format(SIZES[size]), stmt, floor=least) for stmt in forms]


def normalisations(size):
    side = SIZES[size]
    forms = [
        ("softmax(1)", "a.softmax(1)"),
        ("softmax(0)", "a.softmax(0)"),
        ("log_softmax(1)", "a.log_softmax(1)"),
        ("layer_norm", "F.layer_norm(a, (n,), w, b)"),
        ("rms_norm", "F.rms_norm(a, (n,), w)"),
        ("batch_norm, training", "F.batch_norm(a, mean, var, w, b, True)"),
        ("cumsum(0)", "a.cumsum(0)"),
        ("cumsum(1)", "a.cumsum(1)"),
    ]
    setup = SETUP.format(side) + f"\nn = {side}; w, b, mean, var = (torch.ones(n) for _ in range(4))"
    cases = [Case(f"{name} {size}", setup, stmt, floor_of(size)) for name, stmt in forms]
    leaf = setup + "\na.requires_grad_(); g = torch.rand(n, n)"
    both = [forms[0], forms[2], forms[3], forms[5]]
    cases += [
        Case(
            f"{name} {size}, forward and backward",
            leaf,
            f"a.grad = None; ({stmt}).backward(g)",
            floor_of(size),
        )
        for name, stmt in both
    ]
    loss = leaf + "\ny = torch.randint(0, n, (n,))"
    cases.append(
        Case(f"cross_entropy {size}", loss, "F.cross_entropy(a.detach(), y)", 1.2 if size == "1M" else 3)
    )
    cases.append(
        Case(
            f"cross_entropy {size}, forward and backward",
            loss,
            "a.grad = None; F.cross_entropy(a, y).backward()",
            floor_of(size),
        )
    )
    return cases


SORTING = [
    Case(f"{stmt} 1M", "a = torch.rand(1024, 1024); f = a.flatten(); i = torch.randint(0, 1000, (1024 * 1024,))", stmt, 1.2)
    for stmt in (
        "a.sort(1)", "a.sort(0)", "f.sort()", "f.argsort()", "a.topk(10)", "f.topk(100)", "i.unique()", "a.median(1)",
        "i.bincount()", "f.kthvalue(1000)", "f.histc(100)",
    )
]  # fmt: skip

CASES = [c for size in SIZES for c in reductions(size) + normalisations(size)] + SORTING

SHORT = """
Sums, means and norms of 1M: 2 MB a core at the rate of the second-level cache, on both sides. `batch_norm` of 16M
reads its input three times, for the mean, for the squares and for the result, 256 MB in all at 14 GB/s and thread;
moments by pieces, of which only the first pass comes from memory, were tried twice and were no faster (19.6 to 20.1 ms
at one thread). Its backward reads two arrays twice: 576 MB forward and backward. `layer_norm` forward and backward
moves 320 MB, at 12 GB/s and one thread, where copies reach 19; which of its passes keeps it from more has not been
measured.
"""
