"""What a call costs when there is next to nothing to compute: eight floats, or a matrix of 8 x 8."""

from benchmarks.timing import Case

PAIR = "a, b = torch.rand(8), torch.rand(8)"
LEAF = "a, b = torch.rand(8, requires_grad=True), torch.rand(8)"
MATRIX = "m = torch.rand(8, 8)"


def op(stmt, setup=PAIR, **kw):
    return Case(kw.pop("name", stmt), setup, stmt, floor=8, **kw)


def view(stmt, setup=MATRIX):
    return Case(stmt, setup, stmt, floor=4)


CASES = [
    op("a + b", limit=0.25e-6),
    op("a + b", LEAF, name="a + b, with graph", limit=0.35e-6),
    op("a * 2.0"),
    op("a += b"),
    op("a.exp()"),
    op("a.relu()"),
    op("a > b"),
    op("torch.add(a, b, out=c)", PAIR + "; c = torch.empty(8)"),
    op("torch.where(a > b, a, b)"),
    op("torch.cat([a, b])"),
    op("torch.stack([a, b])"),
    op("a.sum()"),
    op("a.sum().item()"),
    op("m.sum(0)", MATRIX),
    op("m.max()", MATRIX),
    op("m.argmax(1)", MATRIX),
    op("m.softmax(1)", MATRIX),
    op("m @ m", MATRIX),
    op("torch.zeros(8)", ""),
    op("torch.ones(8, 8)", ""),
    op("torch.arange(8)", ""),
    op("torch.tensor([1.0, 2.0, 3.0])", ""),
    op("torch.tensor(1.0)", ""),
    op("torch.randn(8)", ""),
    op("torch.randint(0, 10, (8,))", ""),
    op("a.clone()"),
    op("a.to(torch.float64)"),
    op("a.item()", "a = torch.rand(())"),
    op("a.tolist()"),
    op("a.numpy()"),
    op("torch.from_numpy(n)", "import numpy; n = numpy.zeros(8, numpy.float32)"),
    op("(a * b).sum().backward()", LEAF),
    view("m[3]"),
    view("m[2, 3]"),
    view("m[2:6, 1:]"),
    view("m[:, None]"),
    view("m[index]", MATRIX + "; index = torch.tensor([0, 3, 5])"),
    view("m[m > 0.5]"),
    view("m[3] = 1"),
    view("m[3] = row", MATRIX + "; row = torch.rand(8)"),
    view("m.view(-1)"),
    view("m.reshape(4, 16)"),
    view("m.t()"),
    view("m.transpose(0, 1)"),
    view("m.unsqueeze(0)"),
    view("m.expand(3, 8, 8)"),
    view("m.detach()"),
    view("m.split(4)"),
    view("m.unbind(0)"),
]

SHORT = """
The time of a call is spread thinly: finding the name, the interpreter's own loop, reading the arguments, sizes and
dtypes, one allocation, the kernel. `torch.cat([a, b])` spends 65 of its ns in Python before the call begins (building
the list, finding the name in a module that has `__getattr__`, which PyTorch's has too), so that eight times PyTorch's
speed leaves 57 for everything else. `randn(8)` draws by PyTorch's own double-precision formula, which is a third of the
time. Tried: lists of arguments without an allocation (`stack` 10 % faster), sums of everything without a plan (20 %),
loops instead of `rep movs` for sizes and strides (a call with a graph 18 %).
"""
