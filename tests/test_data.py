"""Datasets, samplers, collation and the DataLoader in this process."""

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from data_cases import Squares, Stream, StreamWithLength, seeded

import rushlight as torch
from rushlight.utils import data
from rushlight.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*use of fork")


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
