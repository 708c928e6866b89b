"""Tensors in shared memory, queues of tensors, and processes in groups."""

import os
import signal
import sys

import pytest

import rushlight as torch
import rushlight.multiprocessing as mp
from rushlight import nn

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="file descriptors pass between processes"),
    pytest.mark.filterwarnings("ignore:.*use of fork"),
]


def test_share_memory_moves_all_tensors_on_the_storage():
    x = torch.arange(6.0)
    view, data, array = x.view(2, 3), x.data, x.numpy()
    assert not x.is_shared() and x.share_memory_() is x and x.is_shared() and view.is_shared()
    view[0, 0] = 7
    data[1] = 8
    assert x.tolist()[:3] == [7, 8, 2] and array[0] == 0  # NumPy's array stays on the old memory, which stays
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).share_memory()
    assert all(t.is_shared() for t in net.state_dict().values())
    net(torch.ones(4, 2)).sum().backward()
    with pytest.raises(RuntimeError, match="not resizable"):
        x.resize_(100)
    assert torch.ones(0).share_memory_().is_shared() and not torch.ones(2, device="meta").is_shared()
    assert x.untyped_storage().is_shared() and torch.ones(3).untyped_storage().share_memory_().is_shared()


def test_a_forked_process_writes_into_shared_memory():
    x = torch.zeros(4).share_memory_()

    def work(i):
        x[i] = i + 1

    processes = [mp.get_context("fork").Process(target=work, args=(i,)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert x.tolist() == [1, 2, 3, 4]


def add_one(inbox, outbox):
    while (message := inbox.get()) is not None:
        base, view, parameter = message
        base += 1
        shared = view.untyped_storage()._cdata == base.untyped_storage()._cdata
        outbox.put((view.tolist(), shared, type(parameter).__name__, parameter.requires_grad, base.sum()))
        del message, base, view, parameter


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_queues_share_tensors(method):
    context = mp.get_context(method)
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(target=add_one, args=(inbox, outbox))
    process.start()
    for _ in range(3):
        base = torch.arange(10_000, dtype=torch.float64)
        inbox.put((base, base[2:5], nn.Parameter(torch.ones(2))))
        values, shared, kind, needs_grad, total = outbox.get(timeout=120)  # a process that died never answers
        assert values == [3, 4, 5] and shared and kind == "Parameter" and needs_grad
        assert base[2:5].tolist() == [3, 4, 5] and total.item() == base.sum().item()
    inbox.put(None)
    process.join()
    assert process.exitcode == 0


def test_tensors_that_cannot_cross():
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        mp.reductions.ForkingPickler.dumps(torch.ones(2, requires_grad=True) * 2)


def fill(index, x):
    x[index] = index + 1


def fail(index):
    if index == 1:
        raise ValueError("not this one")
    signal.pause()


def die(index):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(index):
    os._exit(3)


def test_spawn_runs_all():
    x = torch.zeros(3).share_memory_()
    mp.spawn(fill, args=(x,), nprocs=3)
    assert x.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "function, error, text",
    [
        (fail, mp.ProcessRaisedException, "(?s)-- Process 1 terminated with the following error:.*not this one"),
        (die, mp.ProcessExitedException, "process 0 terminated with signal SIGKILL"),
        (leave, mp.ProcessExitedException, "process 0 terminated with exit code 3"),
    ],
)
def test_failures_of_a_group(function, error, text):
    count = 2 if function is fail else 1
    with pytest.raises(error, match=text):
        mp.start_processes(function, nprocs=count, start_method="fork")
