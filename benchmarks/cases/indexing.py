"""Joining, splitting and picking: cat, gather, scatter, index_select, embedding and their derivatives, masks."""

from benchmarks.cases.elementwise import SIZES, floor_of
from benchmarks.timing import Case


def of_size(size):
    side = SIZES[size]
    setup = (
        f"n = {side}; a, b = torch.rand(n, n), torch.rand(n, n); F = torch.nn.functional\n"
        "i = torch.randint(0, n, (n,)); j = torch.randint(0, n, (n, n)); m = a > 0.5"
    )
    forms = [
        ("cat(0)", "torch.cat([a, b])", 2),
        ("cat(1)", "torch.cat([a, b], 1)", 2),
        ("stack", "torch.stack([a, b])", 2),
        ("split and cat", "torch.cat(a.split(n // 4, 1)[::-1], 1)", 1),
        ("flip", "a.flip(1)", 1),
        ("roll", "a.roll(3, 1)", 1),
        ("a[i]", "a[i]", 1),
        ("a[:, i]", "a[:, i]", 1),
        ("index_select(0)", "a.index_select(0, i)", 1),
        ("embedding", "F.embedding(i, a)", 1),
        ("gather(1)", "a.gather(1, j)", 1),
        ("scatter(1)", "a.scatter(1, j, b)", 1),
        ("scatter_add(0)", "a.scatter_add(0, j, b)", 1),
        ("index_add(0)", "a.index_add(0, i, b)", 1),
        ("masked_select", "a[m]", 0.5),
        ("masked_fill", "a.masked_fill(m, 0.0)", 1),
        ("nonzero", "m.nonzero()", 2),
        ("triu", "a.triu()", 1),
    ]
    cases = [Case(f"{name} {size}", setup, stmt, floor_of(size, 4 * part)) for name, stmt, part in forms]
    leaf = setup + "\na.requires_grad_()"
    forms = [
        ("embedding", "F.embedding(i, a)"),
        ("index_select(0)", "a.index_select(0, i)"),
        ("gather(1)", "a.gather(1, j)"),
        ("a[i]", "a[i]"),
        ("cat(0)", "torch.cat([a, a])[:n]"),
    ]
    return cases + [
        Case(
            f"{name} {size}, forward and backward", leaf, f"a.grad = None; {stmt}.backward(b)", floor_of(size)
        )
        for name, stmt in forms
    ]


CASES = [case for size in SIZES for case in of_size(size)]

SHORT = """
Copies (`cat`, `stack`, `split`, rows by index): 1M at the rate of the third-level cache on both sides; 16M at memory
bandwidth, past the caches. `gather(1)` of 16M moves 128 MB of indices beside 64 MB in and 64 MB out, at 12.5 GB/s and
thread, where copies reach 19: picking the elements is not hidden behind memory. `scatter` and `index_add` pass over
memory once: rows are copied, checked, written to and stored while they are in the cache.
"""
