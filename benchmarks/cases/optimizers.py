"""Steps of the optimizers alone: 100 small tensors, and 10 million numbers; clipping of gradients."""

from benchmarks.timing import Case


def parameters(torch, *shapes):
    """Parameters with gradients."""
    ps = [torch.nn.Parameter(torch.randn(s)) for s in shapes]
    for p in ps:
        p.grad = torch.randn(p.shape) * 1e-3
    return ps


SETS = {
    "100 small tensors": ("*[(16, 16), (16,)] * 50", 20),
    "10M numbers": ("(1000, 5000), (5000, 1000)", 2.5),
}
OPTIMIZERS = {
    "SGD": "lr=1e-4",
    "SGD, momentum": "lr=1e-4, momentum=0.9",
    "Adam": "lr=1e-4",
    "AdamW": "lr=1e-4",
}

CASES = [
    Case(
        f"{name}, {title}",
        f"o = torch.optim.{name.partition(',')[0]}(parameters(torch, {shapes}), {options})",
        "o.step()",
        floor,
    )
    for title, (shapes, floor) in SETS.items()
    for name, options in OPTIMIZERS.items()
]
CASES += [
    Case(
        f"clip_grad_norm_, {title}",
        f"ps = parameters(torch, {shapes}); f = torch.nn.utils.clip_grad_norm_",
        "f(ps, 1e6)",
        floor=2,
    )
    for title, (shapes, _) in SETS.items()
]
CASES += [
    Case(
        f"zero_grad, {title}",
        f"ps = parameters(torch, {shapes}); gs = [p.grad for p in ps]; o = torch.optim.SGD(ps, lr=0.1)",
        "o.zero_grad()\nfor p, g in zip(ps, gs): p.grad = g",
        floor=2,
    )
    for title, (shapes, _) in list(SETS.items())[:1]
]

SHORT = """
SGD on 100 small tensors: 5 us in the kernel (50 ns a tensor), the rest reads the lists and counts the writes. SGD on 10M
numbers reads and writes each number once (12 bytes, with momentum 20) at the bandwidth of memory, as PyTorch's does.
"""
