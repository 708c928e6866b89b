"""What a call costs when there is next to nothing to compute: eight floats."""

from benchmarks.timing import Case

PAIR = "a, b = torch.rand(8), torch.rand(8)"
LEAF = "a, b = torch.rand(8, requires_grad=True), torch.rand(8)"
MATRIX = "m = torch.rand(8, 8)"

CASES = [
    Case("a + b", PAIR, "a + b", limit=0.25e-6),
    Case("a + b, with graph", LEAF, "a + b", limit=0.35e-6),
    Case(
        "gradient step",
        "x, lr = torch.tensor(3.0, requires_grad=True), 0.1",
        "y = x**2; y.backward(); x.data -= lr * x.grad; x.grad.zero_()",
        limit=3e-6,
    ),
    Case("a * 2", PAIR, "a * 2"),
    Case("a += b", PAIR, "a += b"),
    Case("a.exp()", PAIR, "a.exp()"),
    Case("torch.add(a, b, out=c)", PAIR + "; c = torch.empty(8)", "torch.add(a, b, out=c)"),
    Case("a > b", PAIR, "a > b"),
    Case("m[3]", MATRIX, "m[3]"),
    Case("m[2, 3]", MATRIX, "m[2, 3]"),
    Case("m[2:6, 1:]", MATRIX, "m[2:6, 1:]"),
    Case("m[index]", MATRIX + "; index = torch.tensor([0, 3, 5])", "m[index]"),
    Case("m[m > 0.5]", MATRIX, "m[m > 0.5]"),
    Case("m[3] = 1", MATRIX, "m[3] = 1"),
    Case("m.view(-1)", MATRIX, "m.view(-1)"),
    Case("m.t()", MATRIX, "m.t()"),
    Case("m.unsqueeze(0)", MATRIX, "m.unsqueeze(0)"),
    Case("a.sum()", PAIR, "a.sum()"),
    Case("a.sum().item()", PAIR, "a.sum().item()"),
    Case("m @ m", MATRIX, "m @ m"),
    Case("torch.zeros(8)", "", "torch.zeros(8)"),
    Case("torch.tensor([1.0, 2.0, 3.0])", "", "torch.tensor([1.0, 2.0, 3.0])"),
    Case("torch.randn(8)", "", "torch.randn(8)"),
    Case("a.numpy()", PAIR, "a.numpy()"),
    Case("(a * b).sum().backward()", LEAF, "(a * b).sum().backward()"),
]
