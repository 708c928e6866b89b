"""The iterator of a DataLoader with worker processes: hands out requests, keeps the order, notices dead workers."""

import itertools
import os
import pickle
import signal
import time
import warnings
from multiprocessing import connection

from rushlight._utils import ExceptionWrapper

from .worker import StreamEnd, worker_main

_JOIN_SECONDS = 5.0


class WorkerSetup:
    """What a worker is told when it starts."""

    def __init__(self, loader, worker_id, base_seed, iterable):
        self.worker_id, self.base_seed, self.iterable = worker_id, base_seed, iterable
        self.num_workers, self.init_fn = loader.num_workers, loader.worker_init_fn
        self.dataset, self.collate_fn, self.drop_last = loader.dataset, loader.collate_fn, loader.drop_last
        self.auto_collation = loader._auto_collation


class _Worker:
    """A process and this side's ends of its two pipes."""

    def __init__(self, context, setup):
        far_requests, self.requests = context.Pipe(duplex=False)
        self.results, far_results = context.Pipe(duplex=False)
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
    """Gives the batches of one pass; with persistent workers `restart` begins the next pass."""

    def __init__(self, loader, base_seed, iterable):
        self._owner = os.getpid()
        self._workers = []
        self._timeout, self._in_order = loader.timeout, loader.in_order
        self._per_worker = loader.prefetch_factor * loader.num_workers
        self._persistent = loader.persistent_workers
        context = loader.multiprocessing_context
        if context is None:
            import multiprocessing as context
        self._epoch = 0
        for worker_id in range(loader.num_workers):
            self._workers.append(_Worker(context, WorkerSetup(loader, worker_id, base_seed, iterable)))

    def restart(self, indices):
        """Begin a pass over the batches that the iterator `indices` asks for."""
        self._epoch += 1
        self._indices = indices
        self._turns = itertools.cycle(self._workers)
        self._sent = self._wanted = 0
        self._pending, self._arrived = {}, {}
        for worker in self._workers:
            worker.streaming = True
        for _ in range(self._per_worker):
            self._request()

    def _request(self):
        """Send the next request to the next worker that still has data."""
        worker = next((w for w in itertools.islice(self._turns, len(self._workers)) if w.streaming), None)
        if worker is None:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        try:
            worker.requests.send((self._epoch, self._sent, index))
        except OSError:
            worker.raise_failure()
        self._pending[self._sent] = worker
        self._sent += 1

    def _receive(self):
        """Wait for one answer: (number, batch)."""
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
            try:
                epoch, number, batch = pickle.loads(answers[0].recv_bytes())
            except (EOFError, OSError):
                sources[answers[0]].raise_failure()
            if epoch == self._epoch:  # else left over from a pass that was not finished
                return number, batch

    def next_batch(self):
        """The next batch, in order; StopIteration at the end. An error of a worker is raised here."""
        while True:
            while (
                self._wanted < self._sent
                and self._wanted not in self._pending
                and self._wanted not in self._arrived
            ):
                self._wanted += 1  # its worker had no more data
            if not self._pending and not self._arrived:
                raise StopIteration
            if self._wanted in self._arrived:
                batch = self._arrived.pop(self._wanted)
                self._wanted += 1
            else:
                number, batch = self._receive()
                worker = self._pending.pop(number)
                if isinstance(batch, StreamEnd):
                    worker.streaming = False
                    # what else was asked of this worker will not be answered
                    self._pending = {n: w for n, w in self._pending.items() if w is not worker}
                    self._request()
                    continue
                if self._in_order and number != self._wanted:
                    self._arrived[number] = batch
                    continue
            self._request()
            if isinstance(batch, ExceptionWrapper):
                batch.reraise()
            return batch

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
