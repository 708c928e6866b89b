"""Iterable datapipes: a source, and what takes elements of another pipe, each also as a method of pipes."""

import copy
import os
import random
from collections import deque
from fnmatch import fnmatch

from .._utils.collate import default_collate
from .._utils.worker import get_worker_info
from ..sampler import SequentialSampler
from ._decorator import functional_datapipe
from .datapipe import DataChunk, IterDataPipe

__all__ = [
    "Batcher", "Collator", "Concater", "Demultiplexer", "FileLister", "FileOpener", "Filter", "Forker", "Grouper",
    "IterableWrapper", "Mapper", "Multiplexer", "Sampler", "ShardingFilter", "Shuffler", "StreamReader", "UnBatcher", "Zipper",
]  # fmt: skip


def _function(f):
    if not callable(f):
        raise TypeError(f"A callable function is expected, but {type(f)} is provided.")
    return f


class IterableWrapperIterDataPipe(IterDataPipe):
    """The elements of anything that can be iterated over, copied before each pass unless deepcopy is False."""

    def __init__(self, iterable, deepcopy=True):
        self.iterable, self.deepcopy = iterable, deepcopy

    def __iter__(self):
        source = self.iterable
        if self.deepcopy:
            try:
                source = copy.deepcopy(source)
            except TypeError:  # generators cannot be copied: read as they are
                pass
        yield from source

    def __len__(self):
        return len(self.iterable)


@functional_datapipe("map")
class MapperIterDataPipe(IterDataPipe):
    """fn of every element, or of its parts.

    Args:
        input_col: index, key or list of them: the parts that fn takes.
        output_col: where the result goes (default: into the place of the first part); -1 appends it.
    """

    def __init__(self, datapipe, fn, input_col=None, output_col=None):
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) > 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        self.datapipe, self.fn, self.input_col, self.output_col = datapipe, _function(fn), input_col, output_col

    def __iter__(self):
        for element in self.datapipe:
            yield self._apply(element)

    def _apply(self, element):
        if self.input_col is None:
            return self.fn(element)
        several = isinstance(self.input_col, (list, tuple))
        columns = list(self.input_col) if several else [self.input_col]
        result = self.fn(*(element[c] for c in columns))
        made = list(element) if isinstance(element, tuple) else copy.copy(element)
        if self.output_col == -1 and isinstance(made, list):
            made.append(result)
        elif self.output_col is not None:
            made[self.output_col] = result
        else:
            made[columns[0]] = result
            for c in sorted(columns[1:], reverse=True):
                del made[c]
        return tuple(made) if isinstance(element, tuple) else made

    def __len__(self):
        return len(self.datapipe)


@functional_datapipe("filter")
class FilterIterDataPipe(IterDataPipe):
    """The elements for which filter_fn is True (of their parts input_col)."""

    def __init__(self, datapipe, filter_fn, input_col=None):
        self.datapipe, self.filter_fn, self.input_col = datapipe, _function(filter_fn), input_col

    def __iter__(self):
        for element in self.datapipe:
            if self.input_col is None:
                keep = self.filter_fn(element)
            elif isinstance(self.input_col, (list, tuple)):
                keep = self.filter_fn(*(element[c] for c in self.input_col))
            else:
                keep = self.filter_fn(element[self.input_col])
            if not isinstance(keep, bool):
                raise ValueError(f"Boolean output is required for `filter_fn` of {type(self).__name__}, got", type(keep))
            if keep:
                yield element


@functional_datapipe("batch")
class BatcherIterDataPipe(IterDataPipe):
    """Batches of batch_size elements; the last may be shorter, or is dropped."""

    def __init__(self, datapipe, batch_size, drop_last=False, wrapper_class=DataChunk):
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size, self.drop_last = datapipe, batch_size, drop_last
        self.wrapper_class = wrapper_class

    def __iter__(self):
        batch = []
        for element in self.datapipe:
            batch.append(element)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self):
        full, rest = divmod(len(self.datapipe), self.batch_size)
        return full + (rest > 0 and not self.drop_last)


@functional_datapipe("unbatch")
class UnBatcherIterDataPipe(IterDataPipe):
    """The elements of batches; of batches of batches with unbatch_level 2, of all levels with -1."""

    def __init__(self, datapipe, unbatch_level=1):
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self):
        if self.unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        for element in self.datapipe:
            yield from self._parts(element, self.unbatch_level)

    def _parts(self, element, level):
        if level == -1:
            if isinstance(element, (list, DataChunk)):
                for part in element:
                    yield from self._parts(part, -1)
            else:
                yield element
        elif level == 0:
            yield element
        elif isinstance(element, (list, DataChunk)):
            for part in element:
                yield from self._parts(part, level - 1)
        else:
            raise IndexError(f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe")


@functional_datapipe("collate")
class CollatorIterDataPipe(IterDataPipe):
    """Batches as tensors, by default_collate or a function of a batch."""

    def __init__(self, datapipe, conversion=default_collate, collate_fn=None):
        if isinstance(conversion, dict):
            raise NotImplementedError("collate: conversions by column of a data frame are not implemented")
        self.datapipe, self.collate_fn = datapipe, _function(collate_fn or conversion)

    def __iter__(self):
        return map(self.collate_fn, self.datapipe)

    def __len__(self):
        return len(self.datapipe)


class Shuffling(IterDataPipe):
    """What shufflers of both kinds share: the switch, and the seed of the next pass."""

    _enabled, _seed = True, None

    def set_shuffle(self, shuffle=True):
        """Whether to shuffle at all."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed):
        """The seed of the next pass; otherwise it is drawn from the default generator."""
        self._seed = seed
        return self

    def _generator(self):
        """The generator of one pass: of the seed that was set, otherwise of one drawn from the default generator."""
        import rushlight

        seed, self._seed = self._seed, None
        if seed is None:
            seed = int(rushlight.empty((), dtype=rushlight.int64).random_())
        return random.Random(seed)


@functional_datapipe("shuffle")
class ShufflerIterDataPipe(Shuffling):
    """Elements in random order: each is drawn from a buffer of buffer_size."""

    def __init__(self, datapipe, *, buffer_size=10000, unbatch_level=0):
        if buffer_size <= 0:
            raise ValueError("buffer_size should be larger than 0")
        self.datapipe = datapipe if unbatch_level == 0 else datapipe.unbatch(unbatch_level=unbatch_level)
        self.buffer_size = buffer_size

    def __iter__(self):
        if not self._enabled:
            yield from self.datapipe
            return
        generator, buffer = self._generator(), []
        for element in self.datapipe:
            if len(buffer) == self.buffer_size:
                i = generator.randint(0, len(buffer) - 1)
                element, buffer[i] = buffer[i], element
                yield element
            else:
                buffer.append(element)
        while buffer:
            yield buffer.pop(generator.randint(0, len(buffer) - 1))

    def __len__(self):
        return len(self.datapipe)


class SamplerIterDataPipe(IterDataPipe):
    """What a sampler made for a pipe with a length yields."""

    def __init__(self, datapipe, sampler=SequentialSampler, sampler_args=None, sampler_kwargs=None):
        self.datapipe = datapipe
        self.sampler = sampler(*(sampler_args or ()), data_source=datapipe, **(sampler_kwargs or {}))

    def __iter__(self):
        return iter(self.sampler)

    def __len__(self):
        return len(self.sampler)


class _Several(IterDataPipe):
    def __init__(self, *datapipes):
        if not all(isinstance(pipe, IterDataPipe) for pipe in datapipes):
            name = {"Zipper": "ZipIterDataPipe"}.get(type(self).__name__.removesuffix("IterDataPipe"), "IterDataPipe")
            raise TypeError(f"All inputs are required to be `IterDataPipe` for `{name}`.")
        self.datapipes = datapipes


@functional_datapipe("concat")
class ConcaterIterDataPipe(_Several):
    """The elements of one pipe after those of another."""

    def __init__(self, *datapipes):
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        super().__init__(*datapipes)

    def __iter__(self):
        for pipe in self.datapipes:
            yield from pipe

    def __len__(self):
        return sum(map(len, self.datapipes))


@functional_datapipe("zip")
class ZipperIterDataPipe(_Several):
    """Tuples of one element of each pipe, as long as the shortest."""

    def __iter__(self):
        return zip(*self.datapipes)

    def __len__(self):
        return min(map(len, self.datapipes))


@functional_datapipe("mux")
class MultiplexerIterDataPipe(_Several):
    """One element of each pipe in turn, as long as the shortest has some."""

    def __iter__(self):
        for elements in zip(*self.datapipes):
            yield from elements

    def __len__(self):
        return min(map(len, self.datapipes)) * len(self.datapipes)


class _Split:
    """A pipe read once for several children; what a child has not asked for yet waits in its queue."""

    def __init__(self, datapipe, count, buffer_size):
        self.datapipe, self.count, self.buffer_size = datapipe, count, buffer_size
        self.start()

    def start(self):
        self.source, self.queues, self.started = None, [deque() for _ in range(self.count)], set()

    def give(self, element):
        raise NotImplementedError

    def elements(self, child):
        if child in self.started:  # a second pass begins
            self.start()
        self.started.add(child)
        if self.source is None:
            self.source = iter(self.datapipe)
        queue, source = self.queues[child], self.source
        while True:
            while not queue:
                try:
                    element = next(source)
                except StopIteration:
                    return
                self.give(element)
                if 0 <= self.buffer_size < sum(map(len, self.queues)) - len(queue):
                    raise BufferError(f"{type(self).__name__} buffer overflow, buffer size {self.buffer_size} is insufficient.")
            yield queue.popleft()


class _Forked(_Split):
    def __init__(self, datapipe, count, buffer_size, duplicate):
        self.duplicate = duplicate
        super().__init__(datapipe, count, buffer_size)

    def give(self, element):
        for queue in self.queues:
            queue.append(element if self.duplicate is None else self.duplicate(element))


class _Sorted(_Split):
    def __init__(self, datapipe, count, buffer_size, classify, drop_none):
        self.classify, self.drop_none = classify, drop_none
        super().__init__(datapipe, count, buffer_size)

    def give(self, element):
        place = self.classify(element)
        if place is None and self.drop_none:
            return
        if place is None or not 0 <= place < self.count:
            raise ValueError(
                f"Output of the classification fn should be between 0 and {self.count - 1}. {place} is returned."
            )
        self.queues[place].append(element)


class _ChildDataPipe(IterDataPipe):
    """One of the pipes that fork() and demux() make."""

    def __init__(self, split, number):
        self.split, self.number = split, number

    def __iter__(self):
        return self.split.elements(self.number)


def _positive(count):
    if count < 1:
        raise ValueError(f"Expected `num_instances` larger than 0, but {count} is found")


_DUPLICATES = {None: None, "shallow": copy.copy, "deep": copy.deepcopy}


@functional_datapipe("fork")
class ForkerIterDataPipe(IterDataPipe):
    """A list of num_instances pipes, each with all elements; copy is None, "shallow" or "deep"."""

    def __new__(cls, datapipe, num_instances, buffer_size=1000, copy=None):
        _positive(num_instances)
        duplicate = _DUPLICATES[copy]
        if num_instances == 1:
            return datapipe
        split = _Forked(datapipe, num_instances, buffer_size, duplicate)
        return [_ChildDataPipe(split, k) for k in range(num_instances)]


@functional_datapipe("demux")
class DemultiplexerIterDataPipe(IterDataPipe):
    """A list of num_instances pipes; each element goes to the one whose number classifier_fn gives."""

    def __new__(cls, datapipe, num_instances, classifier_fn, drop_none=False, buffer_size=1000):
        _positive(num_instances)
        split = _Sorted(datapipe, num_instances, buffer_size, _function(classifier_fn), drop_none)
        return [_ChildDataPipe(split, k) for k in range(num_instances)]


@functional_datapipe("groupby")
class GrouperIterDataPipe(IterDataPipe):
    """Lists of elements with the same group_key_fn: when a group has group_size, when the buffer is full, or at the end."""

    def __init__(self, datapipe, group_key_fn, *, keep_key=False, buffer_size=10000, group_size=None,
                 guaranteed_group_size=None, drop_remaining=False):  # fmt: skip
        self.datapipe, self.group_key_fn, self.keep_key = datapipe, _function(group_key_fn), keep_key
        self.buffer_size, self.group_size, self.drop_remaining = buffer_size, group_size, drop_remaining
        self.least = group_size if guaranteed_group_size is None else guaranteed_group_size

    def _made(self, key, group):
        return (key, DataChunk(group)) if self.keep_key else DataChunk(group)

    def __iter__(self):
        groups, held = {}, 0
        for element in self.datapipe:
            key = self.group_key_fn(element)
            groups.setdefault(key, []).append(element)
            held += 1
            if self.group_size is not None and len(groups[key]) == self.group_size:
                held -= self.group_size
                yield self._made(key, groups.pop(key))
            if held == self.buffer_size:
                key = max(groups, key=lambda k: len(groups[k]))
                if self.least is not None and len(groups[key]) < self.least and not self.drop_remaining:
                    raise RuntimeError("Failed to group items", str(groups[key]))
                group = groups.pop(key)
                held -= len(group)
                if self.least is None or len(group) >= self.least:
                    yield self._made(key, group)
        for key, group in groups.items():
            yield self._made(key, group)


@functional_datapipe("sharding_filter")
class ShardingFilterIterDataPipe(IterDataPipe):
    """Every n-th element: in workers of a DataLoader each takes its own; apply_sharding() chooses by hand."""

    def __init__(self, source_datapipe, sharding_group_filter=None):
        self.source_datapipe, self.chosen = source_datapipe, None

    def apply_sharding(self, num_of_instances, instance_id, sharding_group=None):
        """Take the elements number instance_id, instance_id + num_of_instances, ..."""
        if instance_id >= num_of_instances:
            raise ValueError(f"instance_id({instance_id}) should be smaller than num_of_instances({num_of_instances})")
        self.chosen = (num_of_instances, instance_id)

    def _share(self):
        worker = get_worker_info()
        return self.chosen or ((worker.num_workers, worker.id) if worker else (1, 0))

    def __iter__(self):
        count, own = self._share()
        return (element for i, element in enumerate(self.source_datapipe) if i % count == own)

    def __len__(self):
        count, own = self._share()
        full, rest = divmod(len(self.source_datapipe), count)
        return full + (own < rest)


@functional_datapipe("list_files")
class FileListerIterDataPipe(IterDataPipe):
    """Paths of the files in folders whose names match a mask."""

    def __init__(self, root=".", masks="", *, recursive=False, abspath=False, non_deterministic=False, length=-1):
        roots = [root] if isinstance(root, str) else root
        self.datapipe = roots if isinstance(roots, IterDataPipe) else IterableWrapperIterDataPipe(roots)
        self.masks, self.recursive, self.abspath, self.length = masks, recursive, abspath, length
        self.sorts = not non_deterministic

    def __iter__(self):
        masks = [self.masks] if isinstance(self.masks, str) else self.masks
        for root in self.datapipe:
            for folder, folders, files in os.walk(root):
                if self.sorts:
                    folders.sort()
                    files.sort()
                for name in files:
                    if not any(masks) or any(fnmatch(name, mask) for mask in masks):
                        path = os.path.join(folder, name)
                        yield os.path.abspath(path) if self.abspath else path
                if not self.recursive:
                    break

    def __len__(self):
        if self.length == -1:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("open_files")
class FileOpenerIterDataPipe(IterDataPipe):
    """(path, open file) of every path."""

    def __init__(self, datapipe, mode="r", encoding=None, length=-1):
        if mode not in ("b", "t", "rb", "rt", "r"):
            raise ValueError(f"Invalid mode {mode}")
        self.datapipe, self.mode, self.encoding, self.length = datapipe, mode if "r" in mode else "r" + mode, encoding, length

    def __iter__(self):
        for path in self.datapipe:
            yield path, open(path, self.mode, encoding=self.encoding)

    def __len__(self):
        if self.length == -1:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("read_from_stream")
class StreamReaderIterDataPipe(IterDataPipe):
    """(path, content) of every (path, open file), in pieces of `chunk` bytes; the files are closed."""

    def __init__(self, datapipe, chunk=None):
        self.datapipe, self.chunk = datapipe, chunk

    def __iter__(self):
        for path, stream in self.datapipe:
            with stream:
                while data := stream.read(self.chunk):
                    yield path, data


IterableWrapper, Mapper, Filter, Sampler = IterableWrapperIterDataPipe, MapperIterDataPipe, FilterIterDataPipe, SamplerIterDataPipe
Batcher, UnBatcher, Collator, Shuffler = BatcherIterDataPipe, UnBatcherIterDataPipe, CollatorIterDataPipe, ShufflerIterDataPipe
Concater, Zipper, Multiplexer, Grouper = ConcaterIterDataPipe, ZipperIterDataPipe, MultiplexerIterDataPipe, GrouperIterDataPipe
Forker, Demultiplexer, ShardingFilter = ForkerIterDataPipe, DemultiplexerIterDataPipe, ShardingFilterIterDataPipe
FileLister, FileOpener, StreamReader = FileListerIterDataPipe, FileOpenerIterDataPipe, StreamReaderIterDataPipe
