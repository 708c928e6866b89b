"""What runs inside a DataLoader worker, a process or a thread.

A worker process has two helper threads: one receives requests (so that the parent never blocks on a full pipe and the
death of the parent is noticed), one sends finished batches (so that the next batch is computed meanwhile).
"""

import os
import queue
import random
import threading
from dataclasses import dataclass
from multiprocessing import connection, parent_process

import numpy as np

import rushlight as rl
from rushlight import _random_state
from rushlight._utils import ExceptionWrapper

from .blocks import BlockWriter, send
from .fetch import IterableFetcher, MapFetcher

_worker_info = None  # of a worker process
_of_thread = threading.local()  # .worker_info of a worker thread


@dataclass(frozen=True, slots=True)
class _RNG:
    """Random streams of a worker that is a thread; those of the process are everybody's."""

    random_generator: random.Random
    torch_generator: rl.Generator
    numpy_generator: np.random.Generator


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which worker this is, and its dataset (a worker process has its own copy)."""

    id: int
    num_workers: int
    seed: int
    dataset: object
    rng: _RNG | None = None
    worker_method: str | None = "multiprocessing"


def get_worker_info():
    """The WorkerInfo of this DataLoader worker process or thread, None outside of one."""
    return getattr(_of_thread, "worker_info", _worker_info)


class StreamEnd:
    """Sent instead of a batch when a worker's share of an IterableDataset is used up."""


def _receive_requests(requests, inbox):
    """Thread: requests from the parent into the inbox; None when the parent wants this process to end."""
    parent = parent_process()
    while True:
        try:
            if parent is not None and requests not in connection.wait([requests, parent.sentinel]):
                os._exit(1)  # the parent died
            message = requests.recv()
        except (EOFError, OSError):
            message = None
        inbox.put(message)
        if message is None:
            return


def _send_results(results, outbox):
    """Thread: finished batches to the parent."""
    try:
        while True:
            send(results, outbox.get())
    except OSError:  # the parent has closed its end
        return


def _seed_everything(seed, base_seed, worker_id):
    random.seed(seed)
    rl.manual_seed(seed)
    np.random.seed(_numpy_seed(base_seed, worker_id))


def _numpy_seed(base_seed, worker_id):
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4)


def worker_main(requests, results, setup):
    """The process's main function."""
    global _worker_info
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends its workers
    inbox, outbox = queue.SimpleQueue(), queue.SimpleQueue()
    threading.Thread(target=_receive_requests, args=(requests, inbox), daemon=True).start()
    threading.Thread(target=_send_results, args=(results, outbox), daemon=True).start()
    seed = setup.base_seed + setup.worker_id
    _worker_info = WorkerInfo(setup.worker_id, setup.num_workers, seed, setup.dataset)
    writer, last = BlockWriter(), None

    def prepare():
        nonlocal last
        rl.set_num_threads(1)
        _seed_everything(seed, setup.base_seed, setup.worker_id)
        if setup.init_fn is not None:
            setup.init_fn(setup.worker_id)
        if setup.random_state is not None:
            _random_state.restore(setup.random_state)
        last = _random_state.fingerprint()

    def next_request():
        request = inbox.get()
        if request is None:
            return None
        *request, freed = request
        writer.release(freed)
        return request

    def answer(epoch, number, batch):
        nonlocal last
        now = _random_state.fingerprint()
        state = None if now == last else _random_state.capture()  # for DataLoader.state_dict()
        last = now
        outbox.put(writer.pack((epoch, number, batch, state)))

    serve(setup, prepare, next_request, answer, f"in DataLoader worker process {setup.worker_id}")


def thread_main(inbox, outbox, setup):
    """The main function of a worker that is a thread. It leaves the process's random streams alone: those of its own
    are in get_worker_info().rng."""
    seed = setup.base_seed + setup.worker_id
    rng = _RNG(
        random.Random(seed),
        rl.Generator().manual_seed(seed),
        np.random.default_rng(_numpy_seed(setup.base_seed, setup.worker_id)),
    )
    info = WorkerInfo(setup.worker_id, setup.num_workers, seed, setup.dataset, rng, "thread")
    _of_thread.worker_info = info

    def prepare():
        if setup.init_fn is not None:
            setup.init_fn(setup.worker_id)

    def answer(epoch, number, batch):
        outbox.put((epoch, number, batch, None))

    serve(setup, prepare, inbox.get, answer, f"in DataLoader worker thread {setup.worker_id}")


def serve(setup, prepare, next_request, answer, where):
    """Answer requests until there is None.

    A request is (epoch, number, index, skip); the answer is (epoch, number, batch), where batch may be a StreamEnd, an
    ExceptionWrapper, or None where the batch is only to be skipped. A new epoch number starts a new pass.
    """
    failure = None
    try:
        prepare()
    except Exception:
        failure = ExceptionWrapper(where=where)
    fetcher_class = IterableFetcher if setup.iterable else MapFetcher
    fetcher, current, ended = None, None, False
    while (request := next_request()) is not None:
        epoch, number, index, skip = request
        if epoch != current:
            fetcher, current, ended = None, epoch, False
        if ended:
            continue
        try:
            if failure is not None:
                batch, failure = failure, None
            else:
                if fetcher is None:
                    fetcher = fetcher_class(setup.dataset, setup.auto_collation, setup.collate_fn, setup.drop_last)
                batch = fetcher.fetch(index)
            answer(epoch, number, None if skip else batch)
        except Exception as error:
            if setup.iterable and isinstance(error, StopIteration):
                batch, ended = StreamEnd(), True
            else:
                batch = ExceptionWrapper(where=where)
            answer(epoch, number, batch)
        del request, batch
