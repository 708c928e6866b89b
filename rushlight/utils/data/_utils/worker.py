"""What runs inside a DataLoader worker process, and how its batches travel back.

A worker has two helper threads: one receives requests (so that the parent never blocks on a full pipe and the
death of the parent is noticed), one sends finished batches (so that the next batch is computed meanwhile).
"""

import io
import os
import pickle
import queue
import random
import threading
from multiprocessing import connection, parent_process

import numpy as np

import rushlight as rl
from rushlight._utils import ExceptionWrapper, _tensor_bytes, _tensor_from_bytes

from .fetch import IterableFetcher, MapFetcher

_worker_info = None


class WorkerInfo:
    """Which worker this is: id, num_workers, seed and dataset (the worker's own copy)."""

    def __init__(self, id, num_workers, seed, dataset):
        self.id, self.num_workers, self.seed, self.dataset = id, num_workers, seed, dataset

    def __repr__(self):
        fields = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"WorkerInfo({fields})"


def get_worker_info():
    """The WorkerInfo of this DataLoader worker process, None in the main process."""
    return _worker_info


class StreamEnd:
    """Sent instead of a batch when a worker's share of an IterableDataset is used up."""


def _rebuild_batch_tensor(data, dtype, shape, requires_grad, parameter):
    tensor = _tensor_from_bytes(data, dtype, shape)
    if parameter:
        return rl.nn.Parameter(tensor, requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor


class _BatchPickler(pickle.Pickler):
    """Tensors travel as dtype, shape and raw bytes, their strides made contiguous."""

    def reducer_override(self, obj):
        plain = type(obj) is rl.Tensor
        if not plain and type(obj) is not rl.nn.Parameter:
            return NotImplemented
        if obj.device.type != "cpu" or obj.layout != rl.strided:
            return NotImplemented
        if obj.requires_grad and not obj.is_leaf:
            raise RuntimeError(
                "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
                "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor "
                "before serializing (e.g., putting it on the queue)."
            )
        # a bytearray, unlike bytes, is writable on the other side
        data = bytearray(_tensor_bytes(obj))
        return _rebuild_batch_tensor, (data, obj.dtype, tuple(obj.shape), obj.requires_grad, not plain)


def pack(message):
    """A message as bytes for the parent."""
    buffer = io.BytesIO()
    _BatchPickler(buffer, protocol=5).dump(message)
    return buffer.getvalue()


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
            results.send_bytes(outbox.get())
    except OSError:  # the parent has closed its end
        return


def _seed_everything(seed, base_seed, worker_id):
    random.seed(seed)
    rl.manual_seed(seed)
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    np.random.seed(np.random.SeedSequence(words).generate_state(4))


def worker_main(requests, results, setup):
    """The process's main function.

    A request is (epoch, number, index), None ends the process; the answer is (epoch, number, batch), where batch
    may be a StreamEnd or an ExceptionWrapper. A new epoch number starts a new pass over the dataset.
    """
    global _worker_info
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it ends its workers
    inbox, outbox = queue.SimpleQueue(), queue.SimpleQueue()
    threading.Thread(target=_receive_requests, args=(requests, inbox), daemon=True).start()
    threading.Thread(target=_send_results, args=(results, outbox), daemon=True).start()

    worker_id, base_seed = setup.worker_id, setup.base_seed
    where = f"in DataLoader worker process {worker_id}"
    failure = None
    try:
        rl.set_num_threads(1)
        _seed_everything(base_seed + worker_id, base_seed, worker_id)
        _worker_info = WorkerInfo(worker_id, setup.num_workers, base_seed + worker_id, setup.dataset)
        if setup.init_fn is not None:
            setup.init_fn(worker_id)
    except Exception:
        failure = ExceptionWrapper(where=where)

    fetcher_class = IterableFetcher if setup.iterable else MapFetcher
    fetcher, current, ended = None, None, False
    while (request := inbox.get()) is not None:
        epoch, number, index = request
        if epoch != current:
            fetcher, current, ended = None, epoch, False
        if ended:
            continue
        try:
            if failure is not None:
                answer, failure = failure, None
            else:
                if fetcher is None:
                    fetcher = fetcher_class(
                        setup.dataset, setup.auto_collation, setup.collate_fn, setup.drop_last
                    )
                answer = fetcher.fetch(index)
            message = pack((epoch, number, answer))
        except Exception as error:
            if setup.iterable and isinstance(error, StopIteration):
                answer, ended = StreamEnd(), True
            else:
                answer = ExceptionWrapper(where=where)
            message = pack((epoch, number, answer))
        outbox.put(message)
