"""Datasets, samplers, collation and the DataLoader, in this process and with workers."""

import os
import random
import signal
import sys
import time
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils import data
from rushlight.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*use of fork")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.tensor([float(i)]), i**2


class Stream(IterableDataset):
    def __init__(self, n, length=None):
        self.n, self.length = n, length

    def __iter__(self):
        return iter(range(self.n))


class StreamWithLength(Stream):
    def __len__(self):
        return self.length


class Shares(IterableDataset):
    """Worker 0 has three samples, worker 1 eight."""

    def __iter__(self):
        worker = get_worker_info()
        return iter([worker.id * 100 + i for i in range([3, 8][worker.id])])


# ---- datasets


def test_tensor_dataset():
    dataset = TensorDataset(torch.arange(20).reshape(10, 2), torch.arange(10))
    assert len(dataset) == 10
    x, y = dataset[3]
    assert x.tolist() == [6, 7] and y.item() == 3
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(torch.ones(2), torch.ones(3))


def test_combined_datasets():
    items = [1, 2, 3]
    assert StackDataset(items, items)[0] == (1, 1)
    assert StackDataset(a=items, b=items).__getitems__([0, 2]) == [{"a": 1, "b": 1}, {"a": 3, "b": 3}]
    both = ConcatDataset([items, [4, 5]])
    assert both.cumulative_sizes == [3, 5] and [both[i] for i in (0, 3, -1)] == [1, 4, 5]
    assert (Squares(2) + Squares(3))[3][1] == 1
    assert list(Stream(2) + Stream(1)) == [0, 1, 0]
    assert list(ChainDataset([Stream(2)])) == [0, 1]
    assert list(Subset(range(10), [1, 5])) == [1, 5]
    assert Dataset[int] is Dataset


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: ConcatDataset([]), AssertionError, "datasets should not be an empty iterable"),
        (
            lambda: ConcatDataset([Stream(2)]),
            AssertionError,
            "ConcatDataset does not support IterableDataset",
        ),
        (
            lambda: ConcatDataset([[1]])[-2],
            ValueError,
            "absolute value of index should not exceed dataset length",
        ),
        (lambda: list(ChainDataset([[1]])), AssertionError, "ChainDataset only supports IterableDataset"),
        (lambda: StackDataset(), ValueError, "At least one dataset should be passed"),
        (lambda: StackDataset([1], [1, 2]), ValueError, "Size mismatch between datasets"),
        (lambda: Dataset()[0], NotImplementedError, "Subclasses of Dataset should implement __getitem__."),
        (lambda: random_split([1, 2, 3], [1, 1]), ValueError, "Sum of input lengths does not equal"),
        (lambda: random_split([1, 2], [1.2, -0.2]), ValueError, "Fraction at index 0 is not between 0 and 1"),
    ],
)
def test_dataset_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_random_split_draws_one_permutation():
    train, test = random_split(range(10), [7, 3], generator=seeded(1))
    assert (train.indices, test.indices) == ([5, 6, 1, 2, 0, 8, 9], [3, 7, 4])
    a, b = random_split(range(10), [0.7, 0.3], generator=seeded(3))
    assert (list(a), list(b)) == ([6, 0, 3, 7, 8, 5, 1], [9, 2, 4])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split([1], [0.5, 0.5])


# ---- samplers


def test_samplers():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    assert list(RandomSampler(range(6), generator=seeded(2))) == [0, 3, 1, 2, 4, 5]
    assert list(RandomSampler(range(4), replacement=True, num_samples=6, generator=seeded(2))) == [
        0,
        3,
        1,
        0,
        2,
        3,
    ]
    assert list(WeightedRandomSampler([1, 2, 3.0], 5, generator=seeded(3))) == [0, 1, 2, 1, 2]
    assert sorted(SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert (len(BatchSampler(range(5), 2, False)), len(BatchSampler(range(5), 2, True))) == (3, 2)
    assert len(list(RandomSampler(range(3), num_samples=8))) == 8


def test_distributed_sampler():
    sampler = DistributedSampler(range(7), 2, 1, seed=4)
    sampler.set_epoch(2)
    assert (list(sampler), len(sampler)) == ([4, 3, 6, 2], 4)
    assert list(DistributedSampler(range(7), 2, 1, shuffle=False, drop_last=True)) == [1, 3, 5]
    with pytest.raises(ValueError, match="Invalid rank 3, rank should be in the interval"):
        DistributedSampler([1], 2, 3)


@pytest.mark.parametrize(
    "make, error, text",
    [
        (
            lambda: RandomSampler([1], replacement=3),
            TypeError,
            "replacement should be a boolean value, but got replacement=3",
        ),
        (
            lambda: RandomSampler([]),
            ValueError,
            "num_samples should be a positive integer value, but got num_samples=0",
        ),
        (
            lambda: WeightedRandomSampler([[1.0]], 1),
            ValueError,
            "weights should be a 1d sequence but given weights have shape",
        ),
        (
            lambda: BatchSampler([1], True, False),
            ValueError,
            "batch_size should be a positive integer value, but got batch_size=True",
        ),
        (
            lambda: BatchSampler([1], 2, 1),
            ValueError,
            "drop_last should be a boolean value, but got drop_last=1",
        ),
    ],
)
def test_sampler_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_sampler_draws_like_torch():
    oracle = pytest.importorskip("torch")
    from torch.utils import data as theirs

    def run(module, samplers):
        module.manual_seed(7)
        out = [list(samplers.RandomSampler(range(9))), list(samplers.RandomSampler(range(9), num_samples=20))]
        out.append(list(samplers.RandomSampler(range(9), True, 40)))
        out.append(list(samplers.SubsetRandomSampler([4, 5, 6, 7])))
        out.append(list(samplers.WeightedRandomSampler([0.1, 0.5, 0.4], 2, replacement=False)))
        out += [b.tolist() for b in samplers.DataLoader(range(9), batch_size=4, shuffle=True)]
        return out, module.rand(2).tolist()

    assert run(torch, data) == run(oracle, theirs)


# ---- collation


def test_collate_forms():
    Point = namedtuple("Point", "a b")
    assert default_collate([1, 2]).tolist() == [1, 2]
    assert default_collate([1.5, 2]).dtype == torch.float64
    assert [t.tolist() for t in default_collate([(1, 2), (3, 4)])] == [[1, 3], [2, 4]]
    named = default_collate([Point(1, 2), Point(3, 4)])
    assert type(named) is Point and named.a.tolist() == [1, 3]
    ordered = default_collate([OrderedDict(a=1), OrderedDict(a=2)])
    assert type(ordered) is OrderedDict and ordered["a"].tolist() == [1, 2]
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([np.array([1, 2]), np.array([3, 4])]).tolist() == [[1, 2], [3, 4]]
    assert default_collate([np.float32(1), np.float32(2)]).dtype == torch.float32
    assert default_collate([{"x": torch.ones(2), "s": "q"}])["x"].shape == (1, 2)
    converted = default_convert([1, np.array([1.0]), {"a": "c"}])
    assert converted[0] == 1 and converted[1].dtype == torch.float64 and converted[2] == {"a": "c"}


@pytest.mark.parametrize(
    "batch, error, text",
    [
        (
            [None],
            TypeError,
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found <class 'NoneType'>",
        ),
        ([(1, 2), (3,)], RuntimeError, "each element in list of batch should be of equal size"),
        ([np.array(["a"])], TypeError, "found <U1"),
        (
            [torch.ones(2), torch.ones(3)],
            RuntimeError,
            "stack expects each tensor to be equal size, but got .2. at entry 0 and .3. at entry 1",
        ),
    ],
)
def test_collate_errors(batch, error, text):
    with pytest.raises(error, match=text):
        default_collate(batch)


# ---- DataLoader in one process


def test_batches():
    batches = [(x.tolist(), y.tolist()) for x, y in DataLoader(Squares(5), batch_size=3)]
    assert batches == [([[0.0], [1.0], [2.0]], [0, 1, 4]), ([[3.0], [4.0]], [9, 16])]
    assert list(DataLoader([1.5, 2.5], batch_size=None)) == [1.5, 2.5]
    assert (
        len(DataLoader(Squares(7), batch_size=3)) == 3
        and len(DataLoader(Squares(7), batch_size=3, drop_last=True)) == 2
    )
    assert [b.tolist() for b in DataLoader(range(6), batch_sampler=[[0, 5], [1]])] == [[0, 5], [1]]
    assert list(
        DataLoader([(1, 2.5), (3, 4.5)], batch_size=2, collate_fn=lambda rows: sum(r[0] for r in rows))
    ) == [4]


def test_draws_from_the_global_stream():
    torch.manual_seed(0)
    loader = DataLoader(Squares(7), batch_size=2, shuffle=True)
    assert [y.tolist() for _, y in loader] == [[0, 16], [1, 25], [4, 36], [9]]
    assert [y.tolist() for _, y in loader] == [[9, 1], [16, 4], [25, 0], [36]]
    after = torch.rand(2)
    assert [round(v, 4) for v in after.tolist()] == [0.4556, 0.6323]


def test_tensor_dataset_is_gathered_like_collated_samples():
    x, y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
    tensors = TensorDataset(x, y)
    for dataset in (tensors, Subset(tensors, [3, 1, 8, 0, 9])):
        for index in ([0, 2], [1], [4, -1, 0]):
            fast = data._utils.fetch.MapFetcher(dataset, True, default_collate, False).fetch(index)
            slow = default_collate([dataset[i] for i in index])
            assert type(fast) is type(slow) is list
            for a, b in zip(fast, slow, strict=True):
                assert torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride()
    weights = torch.ones(3, requires_grad=True)
    assert next(iter(DataLoader(TensorDataset(weights), batch_size=2)))[0].requires_grad


def test_streams():
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in DataLoader(Stream(5), batch_size=2, drop_last=True)] == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    loader = DataLoader(StreamWithLength(5, 3))
    assert len(loader) == 3
    with pytest.warns(
        UserWarning,
        match="was reported to be 3.when accessing len.dataloader.., but 4 samples have been fetched",
    ):
        assert len(list(loader)) == 5
    with pytest.raises(TypeError, match="object of type 'Stream' has no len"):
        len(DataLoader(Stream(3)))


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "prefetch_factor option could only be specified in multiprocessing."),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"shuffle": True, "sampler": [0]}, "sampler option is mutually exclusive with shuffle"),
        (
            {"batch_sampler": [[0]], "batch_size": 3},
            "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last",
        ),
        (
            {"batch_size": None, "drop_last": True},
            "batch_size=None option disables auto-batching and is mutually exclusive with drop_last",
        ),
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        (
            {"multiprocessing_context": "fork"},
            "multiprocessing_context can only be used with multi-process loading",
        ),
        (
            {"num_workers": 1, "multiprocessing_context": "foo"},
            "should specify a valid start method in .*, but got multiprocessing_context='foo'",
        ),
    ],
)
def test_loader_errors(arguments, text):
    with pytest.raises(ValueError, match=text):
        DataLoader([1, 2, 3], **arguments)


def test_loader_attributes_are_fixed():
    loader = DataLoader([1, 2])
    with pytest.raises(
        ValueError, match="batch_size attribute should not be set after DataLoader is initialized"
    ):
        loader.batch_size = 3
    loader.collate_fn = len
    assert list(loader) == [1, 1]
    with pytest.raises(ValueError, match="expected unspecified shuffle option, but got shuffle=True"):
        DataLoader(Stream(2), shuffle=True)


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
