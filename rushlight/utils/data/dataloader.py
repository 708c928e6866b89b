"""DataLoader: batches of a dataset, in this process or from worker processes."""

import copy
import math
import os
import warnings

import rushlight as rl

from ._utils.collate import default_collate, default_convert
from ._utils.fetch import IterableFetcher, MapFetcher
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler


class _InfiniteSampler(Sampler):
    """The index None, again and again: a stream has no positions."""

    def __iter__(self):
        while True:
            yield None


class DataLoader:
    """Iterate over a dataset in batches.

    Args:
        dataset: a Dataset, any sequence, or an IterableDataset.
        batch_size: samples per batch; None gives single samples, unbatched.
        shuffle: a new random order in every pass.
        sampler, batch_sampler: your own order of indices, or of lists of indices.
        num_workers: worker processes; 0 loads in this process.
        collate_fn: makes a batch out of a list of samples.
        drop_last: leave out an incomplete last batch.
        timeout: seconds to wait for a batch of the workers; 0 waits for ever.
        worker_init_fn: called with the worker's number at the start of each worker.
        multiprocessing_context: "fork", "spawn", "forkserver" or a context object.
        generator: source of the shuffling and of the workers' seeds.
        prefetch_factor: batches that each worker prepares ahead (2).
        persistent_workers: keep the workers between passes.
        in_order: give batches in the order of the sampler; False gives them as they come.

    >>> [batch for batch in DataLoader(range(5), batch_size=2)]
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    _frozen = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
    _initialized = False
    _iterator = None

    def __class_getitem__(cls, item):
        return cls

    def __init__(
        self,
        dataset,
        batch_size=1,
        shuffle=None,
        sampler=None,
        batch_sampler=None,
        num_workers=0,
        collate_fn=None,
        pin_memory=False,
        drop_last=False,
        timeout=0,
        worker_init_fn=None,
        multiprocessing_context=None,
        generator=None,
        *,
        prefetch_factor=None,
        persistent_workers=False,
        pin_memory_device="",
        in_order=True,
    ):
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        elif prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            self._refuse_order_of_stream(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None:
            if self._iterable:
                sampler = _InfiniteSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn or (default_collate if self._auto_collation else default_convert)
        self.persistent_workers = persistent_workers
        self._initialized = True
        self._reported_length = None
        self.check_worker_number_rationality()

    @staticmethod
    def _refuse_order_of_stream(shuffle, sampler, batch_sampler):
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                )

    def __setattr__(self, name, value):
        if self._initialized and name in self._frozen:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self):
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    f"but got num_workers={self.num_workers}"
                )
            import multiprocessing

            if isinstance(context, str):
                valid = multiprocessing.get_all_start_methods()
                if context not in valid:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{valid!r}, but got multiprocessing_context={context!r}"
                    )
                context = multiprocessing.get_context(context)
            if not isinstance(context, multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the "
                    f"start method, but got multiprocessing_context={context}"
                )
        self._multiprocessing_context = context

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self):
        if self.num_workers == 0:
            return _SingleProcessIterator(self)
        if not self.persistent_workers:
            return _WorkersIterator(self)
        if self._iterator is None:
            self._iterator = _WorkersIterator(self)
        else:
            self._iterator._restart(self)
        return self._iterator

    def __len__(self):
        if not self._iterable:
            return len(self._index_sampler)
        length = self._reported_length = len(self.dataset)
        if self.batch_size is not None:
            length = length // self.batch_size if self.drop_last else math.ceil(length / self.batch_size)
        return length

    def check_worker_number_rationality(self):
        """Warn when there are more workers than processors."""
        if not self.num_workers:
            return
        try:
            available = len(os.sched_getaffinity(0))
        except AttributeError:  # not on this system
            available = os.cpu_count()
        if available is not None and self.num_workers > available:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number "
                f"of worker in current system is {available}, which is smaller than what this DataLoader is going to "
                "create. Please be aware that excessive worker creation might get DataLoader running slow or even "
                "freeze, lower the worker number to avoid potential slowness/freeze if necessary.",
                stacklevel=3,
            )


class _Iterator:
    """One pass: draws the base seed first, the sampler's own draws follow with the first batch."""

    def __init__(self, loader):
        self._pin_check(loader)
        self._base_seed = int(rl.empty((), dtype=rl.int64).random_(generator=loader.generator).item())
        self._start(loader)

    def _start(self, loader):
        self._loader = copy.copy(loader)  # a copy: no reference cycle with a loader that keeps its iterator
        self._loader.__dict__.pop("_iterator", None)
        self._index_sampler = loader._index_sampler
        self._indices = iter(self._index_sampler)
        self._yielded = 0

    @staticmethod
    def _pin_check(loader):
        if loader.pin_memory and not rl.cuda.is_available():
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, "
                "then device pinned memory won't be used.",
                stacklevel=4,
            )

    def __iter__(self):
        return self

    def __len__(self):
        return len(self._index_sampler)

    def __next__(self):
        batch = self._next_batch()
        self._yielded += 1
        loader = self._loader
        if loader._reported_length is not None and loader._iterable:
            self._check_length(loader)
        return batch

    def _check_length(self, loader):
        if self._yielded > loader._reported_length:
            text = (
                f"Length of IterableDataset {loader.dataset} was reported to be {loader._reported_length}"
                f"(when accessing len(dataloader)), but {self._yielded} samples have been fetched. "
            )
            if loader.num_workers > 0:
                text += (
                    "For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker: use get_worker_info() to give each its own share."
                )
            warnings.warn(text, stacklevel=3)


class _SingleProcessIterator(_Iterator):
    def __init__(self, loader):
        super().__init__(loader)
        fetcher = IterableFetcher if loader._iterable else MapFetcher
        self._fetcher = fetcher(loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)

    def _next_batch(self):
        return self._fetcher.fetch(next(self._indices))


class _WorkersIterator(_Iterator):
    _pool = None

    def __init__(self, loader):
        super().__init__(loader)
        from ._utils.parallel import WorkerPool

        self._pool = WorkerPool(loader, self._base_seed, loader._iterable)
        self._pool.restart(self._indices)

    def _restart(self, loader):
        self._start(loader)
        self._pool.restart(self._indices)

    def _next_batch(self):
        try:
            return self._pool.next_batch()
        except StopIteration:
            if not self._loader.persistent_workers:
                self._pool.close()
            raise

    def __del__(self):
        if self._pool is not None:
            self._pool.close()
