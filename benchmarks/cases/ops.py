"""Single operators on 10,000 and 10,000,000 elements, contiguous and strided, and products of square matrices."""

from benchmarks.timing import Case


def elementwise(count):
    size = f"{count:.0e}".replace("e+0", "e")
    side = round(count**0.5)
    flat = f"a, b = torch.rand({count}), torch.rand({count})"
    return [
        Case(f"add {size}", flat, "a + b"),
        Case(f"add {size}, transposed", f"a, b = torch.rand({side}, {side}), torch.rand({side}, {side}).t()", "a + b"),
        Case(f"add {size}, row broadcast", f"a, b = torch.rand({side}, {side}), torch.rand({side})", "a + b"),
        Case(f"exp {size}", flat, "a.exp()"),
        Case(f"tanh {size}", flat, "a.tanh()"),
        Case(f"sum {size}", flat, "a.sum()"),
        Case(f"sum {size}, dim 0", f"a = torch.rand({side}, {side})", "a.sum(0)"),
        Case(f"softmax {size}", f"a = torch.rand({side}, {side})", "a.softmax(1)"),
        Case(f"randn {size}", "", f"torch.randn({count})"),
    ]


def matmul(n):
    return Case(f"matmul {n} x {n}", f"a, b = torch.rand({n}, {n}), torch.rand({n}, {n})", "a @ b")


CASES = [*elementwise(10_000), *elementwise(10_000_000), matmul(100), matmul(1000)]
