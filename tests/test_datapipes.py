"""Datapipes: what chains of them yield (the orders of shuffles are PyTorch's), their registry, decorators and errors."""

import pickle
from collections.abc import Iterator

import pytest

import rushlight as rl
from rushlight.utils.data import (
    DataChunk,
    DataLoader,
    IterableDataset,
    IterDataPipe,
    argument_validation,
    functional_datapipe,
    guaranteed_datapipes_determinism,
    non_deterministic,
    runtime_validation,
    runtime_validation_disabled,
)
from rushlight.utils.data.datapipes import iter as pipes
from rushlight.utils.data.datapipes import map as indexed


def numbers(n=6):
    return pipes.IterableWrapper(range(n))


def pairs():
    return pipes.IterableWrapper([(1, 2), (3, 4)])


def letters():
    return pipes.IterableWrapper("abc")


@pytest.mark.parametrize(
    "pipe, expected",
    [
        (lambda: numbers().map(lambda x: 2 * x), [0, 2, 4, 6, 8, 10]),
        (lambda: pairs().map(lambda a: 10 * a, input_col=0), [(10, 2), (30, 4)]),
        (lambda: pairs().map(lambda a, b: a * b, input_col=[0, 1]), [(2,), (12,)]),
        (lambda: pairs().map(lambda a: 10 * a, input_col=0, output_col=-1), [(1, 2, 10), (3, 4, 30)]),
        (lambda: pairs().filter(lambda a: a > 1, input_col=0), [(3, 4)]),
        (lambda: numbers().filter(lambda x: x % 2 == 1), [1, 3, 5]),
        (lambda: numbers().batch(4), [[0, 1, 2, 3], [4, 5]]),
        (lambda: numbers().batch(4, drop_last=True), [[0, 1, 2, 3]]),
        (lambda: numbers().batch(2).batch(2).unbatch(-1), [0, 1, 2, 3, 4, 5]),
        (lambda: numbers().batch(2).collate(sum), [1, 5, 9]),
        (lambda: numbers().zip(letters()), [(0, "a"), (1, "b"), (2, "c")]),
        (lambda: numbers(2).concat(letters()), [0, 1, "a", "b", "c"]),
        (lambda: numbers().mux(letters()), [0, "a", 1, "b", 2, "c"]),
        (lambda: numbers().groupby(lambda x: x % 2), [[0, 2, 4], [1, 3, 5]]),
        (lambda: numbers().groupby(lambda x: x % 2, group_size=2), [[0, 2], [1, 3], [4], [5]]),
        (lambda: numbers().shuffle().set_seed(3), [1, 5, 2, 3, 4, 0]),
        (lambda: numbers().shuffle(buffer_size=2).set_seed(3), [0, 2, 1, 4, 3, 5]),
        (lambda: numbers().shuffle().set_shuffle(False), [0, 1, 2, 3, 4, 5]),
        (lambda: pipes.Sampler(numbers()), [0, 1, 2, 3, 4, 5]),
        (lambda: indexed.SequenceWrapper(list(range(5))).shuffle().set_seed(1), [2, 3, 4, 0, 1]),
    ],
)
def test_elements(pipe, expected):
    pipe = pipe()
    assert list(pipe) == expected and isinstance(pipe, IterableDataset)
    if hasattr(type(pipe), "__len__") and not isinstance(pipe, pipes.Filter):
        assert len(pipe) == len(expected)


def test_shuffle_draws_its_seed_from_the_default_generator():
    rl.manual_seed(0)
    assert list(numbers().shuffle()) == [1, 3, 0, 2, 5, 4]


def test_indexed():
    m = indexed.SequenceWrapper(list(range(5)))
    assert [*m.map(lambda x: x + 1)] == [1, 2, 3, 4, 5] and m[2] == 2 and len(m) == 5
    assert [*m.batch(2)] == [[0, 1], [2, 3], [4]] and len(m.batch(2, drop_last=True)) == 2
    assert m.zip(m)[1] == (1, 1) and m.concat(m)[7] == 2
    with pytest.raises(IndexError):
        m.batch(2)[3]


def test_fork_and_demux():
    first, second = numbers(3).fork(2)
    assert list(first) == list(second) == list(first) == [0, 1, 2]
    even, odd = numbers().demux(2, lambda x: x % 2)
    assert list(odd) == [1, 3, 5] and list(even) == [0, 2, 4]
    with pytest.raises(BufferError):
        list(numbers(10).fork(2, buffer_size=3)[0])
    with pytest.raises(ValueError, match="5 is returned"):
        list(numbers().demux(2, lambda x: 5)[0])


def test_a_second_iterator_ends_the_first():
    pipe = numbers()
    first, second = iter(pipe), iter(pipe)
    assert next(first) == 0 and next(second) == 0
    with pytest.raises(RuntimeError, match="invalidated"):
        next(first)


def test_files(tmp_path):
    for name in ("b.txt", "a.txt", "c.bin"):
        (tmp_path / name).write_text(name)
    found = list(pipes.FileLister(str(tmp_path), "*.txt"))
    assert [name[-5:] for name in found] == ["a.txt", "b.txt"]
    read = pipes.IterableWrapper(found).open_files().read_from_stream(3)
    assert [text for _, text in read] == ["a.t", "xt", "b.t", "xt"]


@pytest.mark.parametrize("workers", [0, 2])
def test_loader(workers):
    pipe = numbers(8).sharding_filter().map(abs)
    batches = list(DataLoader(pipe, batch_size=2, num_workers=workers))
    assert sorted(int(x) for batch in batches for x in batch) == list(range(8))
    pipe = numbers(8).sharding_filter()
    pipe.apply_sharding(3, 1)
    assert list(pipe) == [1, 4, 7] and len(pipe) == 3


def test_shuffle_of_the_loader():
    pipe = numbers(20).shuffle().set_shuffle(False).map(abs)
    assert [int(x) for x in DataLoader(pipe, batch_size=None)] == list(range(20))
    rl.manual_seed(1)
    drawn = [int(x) for x in DataLoader(pipe, batch_size=None, shuffle=True)]
    assert drawn != list(range(20)) and sorted(drawn) == list(range(20))


class Twice(IterDataPipe):
    def __init__(self, source):
        self.source = source

    def __iter__(self):
        for x in self.source:
            yield from (x, x)


def test_registry():
    functional_datapipe("twice_of_the_tests")(Twice)
    pipe = numbers(2).twice_of_the_tests()
    assert list(pipe) == [0, 0, 1, 1] and repr(pipe) == "Twice" and "twice_of_the_tests" in dir(pipe)
    assert list(pickle.loads(pickle.dumps(pipe))) == [0, 0, 1, 1]
    with pytest.raises(Exception, match="already taken"):
        functional_datapipe("twice_of_the_tests")(Twice)
    with pytest.raises(AttributeError, match="'IterableWrapperIterDataPipe' object has no attribute 'no_such"):
        numbers().no_such  # noqa: B018
    with pytest.raises(TypeError, match="is not an iterator"):
        list(IterDataPipe())


def test_decorators():
    class Drawn(IterDataPipe):
        def __iter__(self):
            return iter([1])

    drawn = non_deterministic(Drawn)
    assert list(drawn()) == [1]
    with guaranteed_datapipes_determinism(), pytest.raises(TypeError, match="Drawn is non-deterministic"):
        drawn()

    @argument_validation
    def first(pipe: IterDataPipe, n: int = 0):
        return next(iter(pipe))

    assert first(numbers()) == 0
    with pytest.raises(TypeError, match="Expected argument 'pipe' as a IterDataPipe, but found <class 'int'>"):
        first(3)

    class Texts(IterDataPipe):
        @runtime_validation
        def __iter__(self) -> Iterator[str]:
            yield 1

    with pytest.raises(RuntimeError, match="Expected an instance as subtype"):
        list(Texts())
    with runtime_validation_disabled():
        assert list(Texts()) == [1]


def test_chunk():
    chunk = DataChunk([1, 2])
    assert chunk == [1, 2] and chunk.as_str(" ") == " [1, 2]" and list(chunk.raw_iterator()) == [1, 2]
