"""Loading of batches, and files: save and load of 64 MB and 1 GB."""

import os
import tempfile

from benchmarks.timing import Case

FOLDER = tempfile.gettempdir()


class Scratch:
    """A file that goes away with this object."""

    def __init__(self):
        handle, self.path = tempfile.mkstemp(suffix=".pt", dir=FOLDER)
        os.close(handle)

    def __del__(self):
        os.unlink(self.path)


def loader(torch, count=10_000, **options):
    """A DataLoader over `count` rows of 64 numbers with their classes."""
    data = torch.utils.data
    rows = data.TensorDataset(torch.randn(count, 64), torch.randint(0, 10, (count,)))
    return data.DataLoader(rows, **{"batch_size": 64, **options})


def through(batches):
    """Run through all batches, as a training loop does."""
    rows = 0
    for x, _ in batches:
        rows += len(x)
    return rows


def state(torch, megabytes):
    """A state_dict of that size, in matrices of 4 MB."""
    return {f"layer{k}.weight": torch.rand(1024, 1024) for k in range(megabytes // 4)}


def files(megabytes):
    size = "1 GB" if megabytes >= 1000 else f"{megabytes} MB"
    setup = f"f = Scratch(); s = state(torch, {megabytes}); torch.save(s, f.path)"
    return [
        Case(f"save {size}", setup, "torch.save(s, f.path)", floor=1.2),
        Case(f"load {size}", setup, "torch.load(f.path)", floor=1.2),
    ]


CASES = [
    Case("DataLoader, 10,000 rows in batches of 64", "d = loader(torch)", "through(d)", floor=3),
    Case("DataLoader, shuffled", "d = loader(torch, shuffle=True)", "through(d)", floor=3),
    Case("DataLoader, 2 workers", "d = loader(torch, 40_000, num_workers=2)", "through(d)", floor=1.2),
    Case(
        "DataLoader, 2 persistent workers",
        "d = loader(torch, 40_000, num_workers=2, persistent_workers=True)",
        "through(d)",
        floor=1.2,
    ),
    *files(64),
    *files(1024),
]

SHORT = """
Saving waits until the disk holds everything, so that a loss of power costs no checkpoint; PyTorch does not wait. The
data are sent to the disk while more are written: alone, 1 GB takes 0.8 s (1.1 s without that). In this table each side
also waits for what the other one left to the disk (two times 1 GB at 1 GB/s or less). Tried: no waiting (no faster
here, because ext4 sends a file that replaces another to the disk by itself), sending by a thread of its own (slower).
Loading 64 MB: PyTorch takes 18 or 35 ms, from run to run.
"""
