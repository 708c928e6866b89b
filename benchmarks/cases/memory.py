"""Memory: the peak of whole training runs, and what a process still holds after a thousand convolutions."""

import importlib
import random
import resource

from benchmarks.models import TRAINING
from benchmarks.timing import Case


def resident():
    """Megabytes that the process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def peak():
    """The most megabytes that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def peak_of_training(module, name, steps=20):
    """Peak resident memory of a whole training run, the library included."""
    step = TRAINING[name](importlib.import_module(module))
    for _ in range(steps):
        step()
    return peak()


def held_after_convolutions(module, count=1000):
    """Resident memory after convolutions of random sizes, divided by the memory that the largest of them needs live.

    The library itself and its scratch memory, there before and after, count on neither side.
    """
    torch = importlib.import_module(module)
    conv, choose = torch.nn.functional.conv2d, random.Random(0)
    conv(torch.randn(2, 64, 32, 32), torch.randn(64, 64, 3, 3))
    before, live = resident(), 0
    for _ in range(count):
        n, cin, cout, side = (choose.randint(1, high) for high in (32, 64, 64, 96))
        x, w = torch.randn(n, cin, side + 2, side + 2), torch.randn(cout, cin, 3, 3)
        y = conv(x, w)
        live = max(live, 4 * (x.numel() + w.numel() + y.numel()))
        del x, w, y
    return max(resident() - before, 0) / (live / 1e6)


CASES = [
    Case(
        f"peak of 20 steps: {name}",
        "",
        f"result = peak_of_training(module, {name!r})",
        floor=1 / 1.1,
        fresh=True,
        unit="MB",
    )
    for name in TRAINING
    if name.startswith(("GPT", "MNIST"))
]
CASES.append(
    Case(
        "held after 1,000 convolutions / largest live",
        "",
        "result = held_after_convolutions(module)",
        limit=1.3,
        fresh=True,
        unit="times",
        versus=False,
    )
)
