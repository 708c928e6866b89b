"""Pooling and batch normalisation in training, on 16 x 64 x 112 x 112."""

from benchmarks.timing import Case

FORMATS = ("x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()",)


def case(name, layer):
    setup = "x = torch.randn(16, 64, 112, 112, requires_grad=True)\nF = torch.nn.functional\n"
    setup += "w, b, mean, var = (torch.ones(64) for _ in range(4))"
    g = f"g = torch.ones_like({layer})"
    return [
        Case(name, setup, f"with torch.no_grad(): {layer}", floor=2, theirs=FORMATS),
        Case(
            f"{name}, forward and backward",
            f"{setup}; {g}",
            f"x.grad = None; {layer}.backward(g)",
            floor=2,
            theirs=tuple(f"{f}; {g}" for f in FORMATS),
        ),
    ]


CASES = [
    *case("max_pool2d 2", "F.max_pool2d(x, 2)"),
    *case("max_pool2d 3, stride 2", "F.max_pool2d(x, 3, 2, 1)"),
    *case("avg_pool2d 2", "F.avg_pool2d(x, 2)"),
    *case("adaptive_avg_pool2d 1", "F.adaptive_avg_pool2d(x, 1)"),
    *case("batch_norm, training", "F.batch_norm(x, mean, var, w, b, True)"),
]

SHORT = """
Averages are bound by memory: avg_pool2d 2 reads 51 MB and writes 13 MB, 15 to 19 GB/s at one thread;
adaptive_avg_pool2d reads 51 MB at 24 GB/s and thread, PyTorch at 16: twice PyTorch's speed would take 32, and the
fastest reading of 16M numbers has 21.
"""
