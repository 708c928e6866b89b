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
A call is some 1,000 instructions, of which no part is large: the interpreter's own loop, finding the name, reading the
arguments, sizes and dtypes, the object, the kernel. `torch.name` takes 20 ns before any call begins, because a module with
`__getattr__` (PyTorch's has one, too) is not specialised by Python 3.11, and a list of arguments 25 more: most of what
eight times PyTorch's speed would leave to `zeros` and `cat`. `randn(8)` draws by PyTorch's own double-precision formula,
which is 40 % of its time, and half of `softmax(1)` is the kernel. `tolist` makes eight Python floats, `from_numpy` asks
NumPy for the buffer; a method that does nothing (`a.dim()`) takes 16 ns, `a.item()` 20. Tried: lists of arguments without
an allocation (`stack` 10 % faster), sums of everything without a plan (20 %), loops instead of `rep movs` for sizes and
strides (a call with a graph 18 %), small tensors that keep their memory in the free list and one look at arguments and
modes (`a + b` 45 %), methods that the interpreter may specialise (`a.exp()` 6 ns).
"""
