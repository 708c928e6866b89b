"""The DataLoader with workers: processes and threads, their errors and ends, shared memory."""

import os
import random
import signal
import sys
import time
import warnings

import numpy as np
import pytest
from data_cases import Shares, Squares

import rushlight as torch
from rushlight.utils import data
from rushlight.utils.data import DataLoader, Dataset, TensorDataset, get_worker_info

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*use of fork")


# ---- worker processes


class Failing(Dataset):
    def __init__(self, action):
        self.action = action

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return self.action() if i == 2 else i


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


def raise_key_error():
    raise KeyError("a\nb")


def raise_two_arguments():
    raise TwoArguments(1, 2)


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


class Report(Dataset):
    """What a worker sees: its info, its seeds, its random numbers."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        info = get_worker_info()
        assert info.dataset is self
        return (
            info.id,
            info.num_workers,
            info.seed,
            torch.initial_seed(),
            torch.get_num_threads(),
            torch.rand(1).item(),
            np.random.rand(),
            random.random(),
        )


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_keep_the_order(workers):
    torch.manual_seed(3)
    loader = DataLoader(Squares(23), batch_size=4, shuffle=True, num_workers=workers)
    got = [y.tolist() for _, y in loader]
    after = torch.rand(1).item()
    torch.manual_seed(3)
    assert got == [y.tolist() for _, y in DataLoader(Squares(23), batch_size=4, shuffle=True)]
    assert after == torch.rand(1).item()


def test_every_kind_of_batch_crosses():
    rows = [
        {
            "f": torch.tensor([1.5, -2.0]),
            "h": torch.tensor([1.5], dtype=torch.bfloat16),
            "b": torch.tensor([True, False]),
            "c": torch.tensor([1 + 2j]),
            "t": torch.arange(6).reshape(2, 3).t(),
            "e": torch.empty(0, 3),
            "s": torch.tensor(3, dtype=torch.int8),
            "p": torch.nn.Parameter(torch.ones(2)),
            "n": np.arange(3),
            "o": (None, "text", [1, 2.5]),
        }
    ]
    (got,) = DataLoader(rows, batch_size=None, num_workers=1, collate_fn=lambda row: row)
    for key in "fhbctes":
        assert torch.equal(got[key], rows[0][key]) and got[key].dtype == rows[0][key].dtype
    assert isinstance(got["p"], torch.nn.Parameter) and got["p"].requires_grad
    assert isinstance(got["n"], np.ndarray) and got["o"] == (None, "text", [1, 2.5])
    got["f"].add_(1)
    assert got["f"].tolist() == [2.5, -1.0]


def test_large_batches_cross():
    big = torch.arange(3_000_000.0)
    for got in DataLoader([big, big + 1], batch_size=None, num_workers=2):
        assert got.shape == big.shape and got[-1].item() - got[0].item() == 2_999_999


def test_worker_seeds():
    torch.manual_seed(0)
    rows = [row for (row,) in DataLoader(Report(), num_workers=2, collate_fn=list)]
    first, second = rows[0], rows[1]
    assert first[:5] == (0, 2, 900450186894289455, 900450186894289455, 1)
    assert second[:5] == (1, 2, 900450186894289456, 900450186894289456, 1)
    assert first[5:7] == (0.7821398973464966, 0.8371640508861415)
    assert second[5:7] == (0.6938178539276123, 0.6702704958690073)
    assert rows[2][5:7] == (0.053598999977111816, 0.38757835109739946)
    assert first[7] == random.Random(900450186894289455).random()
    assert get_worker_info() is None


def test_streams_of_workers():
    assert [b.tolist() for b in DataLoader(Shares(), num_workers=2, batch_size=2)] == [
        [0, 1], [100, 101], [2], [102, 103], [104, 105], [106, 107]
    ]  # fmt: skip
    assert [b.tolist() for b in DataLoader(Shares(), num_workers=2, batch_size=2, drop_last=True)] == [
        [0, 1], [100, 101], [102, 103], [104, 105], [106, 107]
    ]  # fmt: skip
    loader = DataLoader(Shares(), num_workers=2, batch_size=4, persistent_workers=True)
    assert [b.tolist() for b in loader] == [b.tolist() for b in loader]


def test_persistent_workers():
    torch.manual_seed(1)
    loader = DataLoader(Report(), num_workers=2, collate_fn=list, persistent_workers=True, shuffle=True)
    first = iter(loader)
    next(first)  # left unfinished
    pids = [w.process.pid for w in first._pool._workers]
    rows = [row for (row,) in loader]
    assert len(rows) == 4 and len(set(row[:3] for row in rows)) == 2
    assert [w.process.pid for w in iter(loader)._pool._workers] == pids
    del loader, first
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_error_in_a_worker():
    with pytest.raises(KeyError) as caught:
        list(DataLoader(Failing(raise_key_error), num_workers=2))
    text = str(caught.value)
    assert text.startswith(
        "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    )
    assert "in raise_key_error" in text and text.endswith("KeyError: 'a\\nb'\n")
    with pytest.raises(RuntimeError, match="^Caught TwoArguments in DataLoader worker process 0"):
        list(DataLoader(Failing(raise_two_arguments), num_workers=1))


def test_error_in_worker_init_fn():
    def init(worker_id):
        raise ValueError("not today")

    with pytest.raises(ValueError, match="(?s)Caught ValueError in DataLoader worker process 0.*not today"):
        list(DataLoader([1, 2], num_workers=1, worker_init_fn=init))


def test_unpicklable_batch_is_reported():
    with pytest.raises(Exception, match="(?s)in DataLoader worker process 0.*lambda"):
        list(DataLoader([1], num_workers=1, collate_fn=lambda rows: lambda: 0))


def test_killed_worker_is_reported():
    with pytest.raises(
        RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly"
    ) as caught:
        list(DataLoader(Failing(kill_self), num_workers=2))
    assert "is killed by signal: Killed" in str(caught.value.__cause__)


def test_timeout():
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.3 seconds"):
        list(DataLoader(Failing(lambda: time.sleep(3)), num_workers=1, timeout=0.3))
    assert time.monotonic() - begin < 8


def test_workers_end_with_the_iterator():
    loader = DataLoader(Squares(100), num_workers=2)
    iterator = iter(loader)
    next(iterator)
    pids = [w.process.pid for w in iterator._pool._workers]
    del iterator
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_out_of_order():
    class Slow(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            time.sleep(0.5 if i == 0 else 0)
            return i

    got = [b.item() for b in DataLoader(Slow(), num_workers=2, in_order=False)]
    assert sorted(got) == [0, 1, 2, 3] and got[0] != 0


def test_spawned_workers():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = DataLoader(
            TensorDataset(torch.arange(6)), batch_size=4, num_workers=1, multiprocessing_context="spawn"
        )
        assert [b.tolist() for (b,) in loader] == [[0, 1, 2, 3], [4, 5]]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_die_with_their_parent(tmp_path):
    import subprocess

    program = tmp_path / "orphans.py"
    program.write_text(
        "import os, time\n"
        "from rushlight.utils.data import DataLoader\n"
        "class Endless:\n"
        "    def __len__(self): return 1000\n"
        "    def __getitem__(self, i):\n"
        "        if i: time.sleep(60)\n"
        "        return i\n"
        "it = iter(DataLoader(Endless(), num_workers=2))\n"
        "next(it)\n"
        "print(*[w.process.pid for w in it._pool._workers], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    out = subprocess.run([sys.executable, str(program)], capture_output=True, text=True).stdout
    pids = [int(p) for p in out.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    alive = pids
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [
            p
            for p in alive
            if os.path.exists(f"/proc/{p}") and b") Z" not in open(f"/proc/{p}/stat", "rb").read()
        ]
    assert not alive


# ---- shared memory, threads, other ways to start


def mapped_blocks():
    """How many pieces of shared memory this process has mapped."""
    with open("/proc/self/maps") as file:
        return sum("memfd:rushlight" in line for line in file)


class Large(Dataset):
    def __init__(self, n=12):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return {"x": torch.full((300, 100), float(i)), "i": i, "p": torch.nn.Parameter(torch.ones(3))}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_batches_use_their_memory_again():
    descriptors = len(os.listdir("/proc/self/fd"))
    loader = DataLoader(Large(60), batch_size=None, num_workers=2, collate_fn=lambda row: row)
    most = 0
    for count, row in enumerate(loader):
        assert bool((row["x"] == count).all()) and row["i"] == count and row["p"].requires_grad
        row["x"] += 1  # the memory is the program's
        most = max(most, mapped_blocks())
    assert 0 < most <= 2 * (2 + 2)
    del row
    kept = list(loader)
    assert [row["x"][0, 0].item() for row in kept] == list(range(60))
    view = kept[7]["x"].numpy()[1]
    del kept, loader
    import gc

    gc.collect()
    assert view[0] == 7 and mapped_blocks() == 1
    del view
    assert mapped_blocks() == 0 and len(os.listdir("/proc/self/fd")) <= descriptors + 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_worker_leaves_no_memory_behind():
    it = iter(DataLoader(Large(100), batch_size=None, num_workers=2, collate_fn=lambda row: row))
    batch = next(it)
    os.kill(it._pool._workers[0].process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        while True:
            batch = next(it)
    assert bool((batch["x"] == batch["i"]).all())
    del it, batch
    assert mapped_blocks() == 0


def test_thread_workers():
    import threading

    class Here(Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, i):
            info = get_worker_info()
            assert info.dataset is self and info.num_workers == 3 and info.worker_method == "thread"
            assert torch.random.thread_safe_generator() is info.rng.torch_generator
            assert info.rng.torch_generator.initial_seed() == info.seed
            return i, info.id, os.getpid(), threading.get_ident()

    loader = DataLoader(Here(), batch_size=4, num_workers=3, worker_kind="thread", collate_fn=list)
    batches = list(loader)
    assert [[row[0] for row in batch] for batch in batches] == [list(range(k, k + 4)) for k in range(0, 20, 4)]
    assert [batch[0][1] for batch in batches] == [0, 1, 2, 0, 1]
    assert {row[2] for batch in batches for row in batch} == {os.getpid()} and get_worker_info() is None
    assert [b.tolist() for b in DataLoader(Shares(), num_workers=2, batch_size=2, worker_kind="thread")] == [
        [0, 1], [100, 101], [2], [102, 103], [104, 105], [106, 107]
    ]  # fmt: skip
    keeping = DataLoader(Squares(9), num_workers=2, worker_kind="thread", persistent_workers=True)
    assert [y.item() for _, y in keeping] == [y.item() for _, y in keeping] == [i * i for i in range(9)]
    with pytest.raises(KeyError, match="Caught KeyError in DataLoader worker thread 0"):
        list(DataLoader(Failing(raise_key_error), num_workers=2, worker_kind="thread"))
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.2 seconds"):
        list(DataLoader(Failing(lambda: time.sleep(1)), num_workers=1, timeout=0.2, worker_kind="thread"))
    with pytest.raises(ValueError, match="worker_kind must be 'process' or 'thread', but got 'fibre'"):
        DataLoader([1], worker_kind="fibre")


SPAWNING = """
import torch, sys
from torch.utils.data import DataLoader, Dataset

class Data(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return torch.full((100, 100), float(i)), torch.__name__

if __name__ == "__main__":
    for x, name in DataLoader(Data(), num_workers=2, multiprocessing_context=sys.argv[1]):
        print(x[0, 0, 0].item(), *name)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_workers_of_a_program_that_imports_torch(method, tmp_path):
    import subprocess

    (tmp_path / "program.py").write_text(SPAWNING)
    done = subprocess.run(
        [sys.executable, "-m", "rushlight", "program.py", method],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "".join(f"{i}.0 rushlight\n" for i in range(5)), done.stderr


ENDINGS = """
import os, signal, sys, time
import rushlight as torch
from rushlight.utils.data import DataLoader

class Endless:
    def __len__(self): return 1000
    def __getitem__(self, i): return torch.full((100, 100), float(i))

def begin(**options):
    it = iter(DataLoader(Endless(), num_workers=2, **options))
    next(it)
    return it

if sys.argv[1] == "exit":
    keep = begin(persistent_workers=True)
elif sys.argv[1] == "error":
    keep = begin()
    raise SystemExit(3)
elif sys.argv[1] == "interrupt":
    keep = begin()
    try:
        os.killpg(0, signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted")
elif sys.argv[1] == "fork":
    keep = begin()
    child = os.fork()
    if child == 0:
        del keep
        print(sum(b.item() for b in DataLoader(range(4), num_workers=1)), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(keep)) == 999
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "how, code, output", [("exit", 0, ""), ("error", 3, ""), ("interrupt", 0, "interrupted\n"), ("fork", 0, "6\n")]
)
def test_no_hang_at_the_end(how, code, output):
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENDINGS, how],
        capture_output=True,
        text=True,
        start_new_session=True,
        # a job in the background is started with interrupts ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout) == (code, output), done.stderr


def test_large_batches_of_processes_lie_in_shared_memory():
    loader = data.DataLoader(data.TensorDataset(torch.randn(4, 30000)), batch_size=2, num_workers=1)
    assert [batch[0].is_shared() for batch in loader] == [True, True]
    assert not torch.randn(4, 30000).is_shared()
