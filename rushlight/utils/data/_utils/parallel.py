"""The pools of workers behind a DataLoader: they hand out requests, keep the order, and notice dead processes."""

import itertools
import os
import queue
import signal
import threading
import time
import warnings
from multiprocessing import connection

from rushlight._utils import ExceptionWrapper

from .blocks import BlockReader
from .worker import StreamEnd, thread_main, worker_main

_JOIN_SECONDS = 5.0


class WorkerSetup:
    """What a worker is told when it starts."""

    def __init__(self, loader, worker_id, base_seed, random_state):
        self.worker_id, self.base_seed, self.random_state = worker_id, base_seed, random_state
        self.iterable = loader._iterable
        self.num_workers, self.init_fn = loader.num_workers, loader.worker_init_fn
        self.dataset, self.collate_fn, self.drop_last = loader.dataset, loader.collate_fn, loader.drop_last
        self.auto_collation = loader._auto_collation


class _ProcessWorker:
    """A process and this side's ends of its two pipes."""

    def __init__(self, context, setup):
        far_requests, self.requests = context.Pipe(duplex=False)
        self.results, far_results = context.Pipe(duplex=True)  # a socket: file descriptors pass through it
        self.blocks = BlockReader()
        self.process = context.Process(
            target=worker_main, args=(far_requests, far_results, setup), daemon=True
        )
        with warnings.catch_warnings():
            # our own threads are safe to fork (the pool starts anew in the child)
            warnings.filterwarnings(
                "ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning
            )
            self.process.start()
        # only the child may hold these: then its death is the end of the file here
        far_requests.close()
        far_results.close()
        self.streaming = True

    def request(self, *request):
        try:
            self.requests.send((*request, self.blocks.returned()))
        except OSError:
            self.raise_failure()

    def raise_failure(self):
        """Say how this process ended."""
        self.process.join(_JOIN_SECONDS)
        pid, code = self.process.pid, self.process.exitcode
        if code is not None and code < 0:
            name = signal.strsignal(-code) or f"signal {-code}"
            hint = " It is possible that dataloader's workers are out of memory." if -code == 9 else ""
            cause = RuntimeError(f"DataLoader worker (pid {pid}) is killed by signal: {name}.{hint} ")
        else:
            cause = RuntimeError(
                f"DataLoader worker (pid {pid}) exited unexpectedly with exit code {code}. Details are lost due to "
                "multiprocessing. Rerunning with num_workers=0 may give better error trace."
            )
        raise RuntimeError(f"DataLoader worker (pid(s) {pid}) exited unexpectedly") from cause


class WorkerPool:
    """Gives the batches of one pass; with persistent workers `restart` begins the next pass.

    Args:
        snapshots: the workers' random states, where they go on from an earlier run.
    """

    def __init__(self, loader, base_seed, snapshots=None):
        self._owner = os.getpid()
        self._timeout, self._in_order, self._iterable = loader.timeout, loader.in_order, loader._iterable
        self._per_worker = loader.prefetch_factor * loader.num_workers
        self.snapshots = list(snapshots or [None] * loader.num_workers)
        self._epoch = 0
        self._workers = []
        setups = [WorkerSetup(loader, i, base_seed, self.snapshots[i]) for i in range(loader.num_workers)]
        self._start_workers(loader, setups)

    def restart(self, indices, position=0, ahead=()):
        """Begin a pass over the batches that the iterator `indices` asks for.

        Args:
            position, ahead: batches before this number, and those of these numbers, were given out before.
        """
        self._epoch += 1
        self._indices = indices
        self._turns = itertools.cycle(self._workers)
        self._sent = self._wanted = 0
        self._pending, self._arrived = {}, {}
        self._position, self._ahead = position, set(ahead)
        self._given = set(ahead)  # numbers of batches that were given out before their turn
        self.begin = list(self.snapshots)
        for worker in self._workers:
            worker.streaming = True
        while len(self._pending) < self._per_worker and self._request():
            pass

    def _skipped(self, number):
        return number < self._position or number in self._ahead

    def _request(self):
        """Send the next request to the next worker that still has data. False at the end of the indices."""
        while True:
            worker = next((w for w in itertools.islice(self._turns, len(self._workers)) if w.streaming), None)
            if worker is None:
                return False
            try:
                index = next(self._indices)
            except StopIteration:
                return False
            number, skip = self._sent, self._skipped(self._sent)
            self._sent += 1
            if self._iterable or not skip:  # a stream has to be read up to where it goes on
                worker.request(self._epoch, number, index, skip)
                self._pending[number] = worker
                return True

    def next_batch(self):
        """The next batch, in order; StopIteration at the end. An error of a worker is raised here."""
        while True:
            while (
                self._wanted < self._sent
                and self._wanted not in self._pending
                and self._wanted not in self._arrived
            ):
                self._given.discard(self._wanted)
                self._wanted += 1  # its worker had no more data, or it was given out before
            if not self._pending and not self._arrived:
                raise StopIteration
            if self._wanted in self._arrived:
                number = self._wanted
                worker, batch, state = self._arrived.pop(number)
            else:
                number, batch, state = self._receive()
                worker = self._pending.pop(number)
                if isinstance(batch, StreamEnd):
                    worker.streaming = False
                    # what else was asked of this worker will not be answered
                    self._pending = {n: w for n, w in self._pending.items() if w is not worker}
                    self._request()
                    continue
                if self._in_order and number != self._wanted:
                    self._arrived[number] = worker, batch, state
                    continue
            if number == self._wanted:
                self._wanted += 1
            else:
                self._given.add(number)
            if state is not None:
                self.snapshots[self._workers.index(worker)] = state
            self._request()
            if isinstance(batch, ExceptionWrapper):
                batch.reraise()
            if not self._skipped(number):
                return batch

    def position(self):
        """(number of the first batch that was not given out, the later ones that were)."""
        return self._wanted, sorted(self._given)


class ProcessPool(WorkerPool):
    """Workers that are processes."""

    def _start_workers(self, loader, setups):
        context = loader.multiprocessing_context
        if context is None:
            import multiprocessing as context
        for setup in setups:
            self._workers.append(_ProcessWorker(context, setup))

    def _receive(self):
        """Wait for one answer: (number, batch, random state)."""
        deadline = time.monotonic() + self._timeout if self._timeout > 0 else None
        sources = {worker.results: worker for worker in self._workers}
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = connection.wait([*sources, *sentinels], left)
            if not ready:
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
            answers = [source for source in ready if source in sources]
            if not answers:
                sentinels[ready[0]].raise_failure()
            worker = sources[answers[0]]
            try:
                epoch, number, batch, state = worker.blocks.receive(worker.results)
            except (EOFError, OSError):
                worker.raise_failure()
            if epoch == self._epoch:  # else left over from a pass that was not finished
                return number, batch, state

    def close(self):
        """End the workers: ask them, and after a few seconds insist."""
        if self._owner != os.getpid():
            return
        workers, self._workers = self._workers, []
        for worker in workers:
            try:
                worker.requests.send(None)
            except (OSError, ValueError):
                pass
        deadline = time.monotonic() + _JOIN_SECONDS
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.requests.close()
            worker.results.close()


class _ThreadWorker:
    """A thread and the queue of its requests."""

    def __init__(self, setup, results):
        self._inbox = queue.SimpleQueue()
        self.thread = threading.Thread(target=thread_main, args=(self._inbox, results, setup), daemon=True)
        self.thread.start()
        self.streaming = True

    def request(self, *request):
        self._inbox.put(request)

    def end(self):
        self._inbox.put(None)


class ThreadPool(WorkerPool):
    """Workers that are threads of this process: nothing is copied or pickled, and the random streams are shared."""

    def _start_workers(self, loader, setups):
        self._results = queue.SimpleQueue()
        self._workers = [_ThreadWorker(setup, self._results) for setup in setups]

    def _receive(self):
        deadline = time.monotonic() + self._timeout if self._timeout > 0 else None
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                epoch, number, batch, state = self._results.get(timeout=left)
            except queue.Empty:
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds") from None
            if epoch == self._epoch:
                return number, batch, state

    def close(self):
        """End the threads; each finishes the batch that it is at."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.end()
