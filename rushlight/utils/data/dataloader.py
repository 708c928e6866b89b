"""DataLoader: batches of a dataset, in this process or from worker processes."""

import copy
import math
import os
import warnings
import weakref

import rushlight as rl
from rushlight import _random_state

from ._utils.collate import default_collate, default_convert
from ._utils.fetch import IterableFetcher, MapFetcher
from .datapipes.datapipe import IterDataPipe, set_shuffle
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
        worker_kind: "process", or "thread" for workers in this process, which copy nothing and pay off where the
            dataset spends its time in operators, NumPy or reading files. Threads share the random streams.

    `state_dict()` during a pass says how far it has come; after `load_state_dict()` the next pass goes on there.

    >>> [batch for batch in DataLoader(range(5), batch_size=2)]
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    _frozen = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")
    _initialized = False
    _iterator = None
    _latest = None  # weak reference to the iterator of the present pass
    _resume = None  # state that the next pass begins with

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
        worker_kind="process",
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
        if worker_kind not in ("process", "thread"):
            raise ValueError(f"worker_kind must be 'process' or 'thread', but got {worker_kind!r}")

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.worker_kind = worker_kind
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            self._refuse_order_of_stream(dataset, shuffle, sampler, batch_sampler)
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
    def _refuse_order_of_stream(dataset, shuffle, sampler, batch_sampler):
        if isinstance(dataset, IterDataPipe):
            if shuffle is not None:
                set_shuffle(dataset, shuffle)
            shuffle = None
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                )

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key not in ("_iterator", "_latest")}

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
        resume, self._resume = self._resume, None
        if self.num_workers and self.persistent_workers and self._iterator is not None and resume is None:
            iterator = self._iterator
            iterator._restart(self)
        else:
            iterator = (_MultiProcessingDataLoaderIter if self.num_workers else _SingleProcessDataLoaderIter)(self, resume)
            if self.persistent_workers:
                self._iterator = iterator
        self._latest = weakref.ref(iterator)
        return iterator

    def state_dict(self):
        """How far the present pass has come, and the states of the random streams that it needs to go on from there.

        Taken while a batch is being used, the state counts this batch as done. It can be saved in a checkpoint. See
        save_training for the state of the rest of a program.
        """
        if self._resume is not None:
            return self._resume
        iterator = self._latest() if self._latest is not None else None
        state = {"position": None} if iterator is None else iterator._state()
        return {**state, "generators": [generator.get_state() for generator in self._generators()]}

    def load_state_dict(self, state):
        """Let the next pass go on where the state was taken: the same batches as in a run that was not interrupted.

        The sampler is asked for its indices from the start, with the random streams as they were then; batches that
        were given out before are skipped (a stream has to be read up to there). The process's own random streams keep
        their states.
        """
        generators = self._generators()
        if len(generators) != len(state["generators"]):
            raise ValueError(
                f"the state is of a DataLoader with {len(state['generators'])} generators, this one has "
                f"{len(generators)}"
            )
        for generator, value in zip(generators, state["generators"], strict=True):
            generator.set_state(value)
        self._iterator, self._latest = None, None
        self._resume = state

    def _generators(self):
        """The generators that the order of a pass can come from, each once."""
        inner = getattr(self.batch_sampler, "sampler", None)
        owners = (self, self.sampler, self.batch_sampler, inner)
        found = [getattr(owner, "generator", None) for owner in owners]
        return list({id(g): g for g in found if isinstance(g, rl.Generator)}.values())

    def _streams(self):
        """The states of all random streams that a pass can draw from."""
        return {
            "process": _random_state.capture(),
            "generators": [generator.get_state() for generator in self._generators()],
        }

    def _set_streams(self, streams):
        _random_state.restore(streams["process"])
        for generator, value in zip(self._generators(), streams["generators"], strict=True):
            generator.set_state(value)

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


class _BaseDataLoaderIter:
    """One pass: draws the base seed first, the sampler's own draws follow with the first batch.

    Args:
        resume: what DataLoader.state_dict() gave, for a pass that goes on.
    """

    def __init__(self, loader, resume=None):
        self._pin_check(loader)
        self._base_seed = (resume or {}).get("base_seed")
        if self._base_seed is None:
            self._base_seed = int(rl.empty((), dtype=rl.int64).random_(generator=loader.generator).item())
        self._open(loader, resume)
        if resume is None or resume["position"] is None:
            self._start(loader)
            return
        present = loader._streams()
        loader._set_streams(resume["start"])
        self._start(loader, resume["position"], resume["ahead"])
        self._yielded = resume["yielded"]
        loader._set_streams(present)

    def _open(self, loader, resume):
        """Whatever lasts for longer than a pass."""

    def _start(self, loader, position=0, ahead=()):
        self._beginning = loader._streams()
        self._loader = copy.copy(loader)  # a copy: no reference cycle with a loader that keeps its iterator
        self._loader.__dict__.pop("_iterator", None)
        self._index_sampler = loader._index_sampler
        self._indices = iter(self._index_sampler)
        self._yielded = 0
        self._finished = False
        self._begin_pass(position, ahead)

    def _state(self):
        """For DataLoader.state_dict()."""
        if self._finished:
            return {"position": None}
        position, ahead = self._position()
        return {
            "position": position,
            "ahead": ahead,
            "yielded": self._yielded,
            "base_seed": self._base_seed,
            "start": self._beginning,
        }

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

    def __getstate__(self):
        raise NotImplementedError("{} cannot be pickled", type(self).__name__)

    def __len__(self):
        return len(self._index_sampler)

    def __next__(self):
        try:
            batch = self._next_batch()
        except StopIteration:
            self._finished = True
            raise
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


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    def _open(self, loader, resume):
        assert loader.timeout == 0, "_SingleProcessDataLoaderIter requires timeout == 0"

    def _begin_pass(self, position, ahead):
        loader = self._loader
        fetcher = IterableFetcher if loader._iterable else MapFetcher
        self._fetcher = fetcher(loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last)
        for _ in range(position):
            index = next(self._indices)
            if loader._iterable:
                self._fetcher.fetch(index)

    def _next_batch(self):
        return self._fetcher.fetch(next(self._indices))

    def _position(self):
        return self._yielded, []


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    _pool = None

    def _open(self, loader, resume):
        from ._utils.parallel import ProcessPool, ThreadPool

        pool = ThreadPool if loader.worker_kind == "thread" else ProcessPool
        self._pool = pool(loader, self._base_seed, (resume or {}).get("workers"))

    def _begin_pass(self, position, ahead):
        self._pool.restart(self._indices, position, ahead)

    def _restart(self, loader):
        self._start(loader)

    def _next_batch(self):
        try:
            return self._pool.next_batch()
        except StopIteration:
            if not self._loader.persistent_workers:
                self._pool.close()
            raise

    def _position(self):
        return self._pool.position()

    def _state(self):
        state = super()._state()
        pool = self._pool
        if state["position"] is None:
            # the workers of the next pass are these, if they stay
            return {**state, "base_seed": self._base_seed, "workers": pool.snapshots} if (
                self._loader.persistent_workers
            ) else state
        # a stream is read again from where it began, so its workers begin as they were then
        return {**state, "workers": list(pool.begin if self._loader._iterable else pool.snapshots)}

    def __del__(self):
        if self._pool is not None:
            self._pool.close()
