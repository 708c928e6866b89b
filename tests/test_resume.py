"""Resuming: loaders inside a pass, and whole training runs after they were killed."""

import itertools
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*use of fork")


class Noisy(Dataset):
    """Samples with noise from all three random streams."""

    def __len__(self):
        return 23

    def __getitem__(self, i):
        return i, torch.rand(1).item(), random.random(), np.random.rand()


class NoisyStream(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for i in range(first, 23, step):
            yield i, torch.rand(1).item() if worker else 0.0


def rows(batch):
    return [value.tolist() for value in batch]


LOADERS = {
    "plain": lambda **o: DataLoader(Noisy(), batch_size=3, **o),
    "shuffled": lambda **o: DataLoader(Noisy(), batch_size=3, shuffle=True, **o),
    "generator": lambda **o: DataLoader(
        Noisy(), batch_size=3, shuffle=True, generator=torch.Generator().manual_seed(3), **o
    ),
    "replacement": lambda **o: DataLoader(
        Noisy(), batch_size=3, sampler=RandomSampler(Noisy(), replacement=True, num_samples=70), **o
    ),
    "weighted": lambda **o: DataLoader(
        Noisy(), batch_size=3, sampler=WeightedRandomSampler(torch.arange(23.0), 23), **o
    ),
    "unbatched": lambda **o: DataLoader(Noisy(), batch_size=None, shuffle=True, collate_fn=torch.tensor, **o),
    "stream": lambda **o: DataLoader(NoisyStream(), batch_size=3, **o),
}
WORKERS = {
    "here": {},
    "1 process": {"num_workers": 1},
    "2 processes": {"num_workers": 2},
    "persistent": {"num_workers": 2, "persistent_workers": True},
}


def run(loader, epochs=3, stop=None):
    """Batches of some epochs; stopped after `stop` batches: also the states at that moment."""
    seen = []
    for _ in range(epochs):
        for batch in loader:
            seen.append(rows(batch))
            torch.rand(2)  # the program draws too
            if len(seen) == stop:
                state = {"loader": loader.state_dict(), "random": torch._random_state.capture()}
                return seen, pickle.loads(pickle.dumps(state))
    return seen, torch.rand(1).item()


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("kind", LOADERS)
def test_a_pass_goes_on_where_it_was(kind, workers):
    def fresh():
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        return LOADERS[kind](**WORKERS[workers])

    whole, after = run(fresh())
    per_epoch = len(whole) // 3
    for stop in (1, 4, per_epoch, per_epoch + 2):
        first, state = run(fresh(), stop=stop)
        assert first == whole[:stop]
        loader = fresh()
        torch.rand(17), random.random(), np.random.rand()  # another process has another past
        loader.load_state_dict(state["loader"])
        torch._random_state.restore(state["random"])
        epochs = 3 - (stop - 1) // per_epoch
        rest, after_rest = run(loader, epochs)
        assert first + rest == whole and after_rest == after


def test_state_between_passes_and_before_the_first():
    loader = DataLoader(range(6), shuffle=True, generator=torch.Generator().manual_seed(1))
    before = loader.state_dict()
    first = [b.item() for b in loader]
    between = loader.state_dict()
    second = [b.item() for b in loader]
    loader.load_state_dict(before)
    assert loader.state_dict() is before and [b.item() for b in loader] == first
    loader.load_state_dict(between)
    assert [b.item() for b in loader] == second
    with pytest.raises(ValueError, match="the state is of a DataLoader with 1 generators, this one has 0"):
        DataLoader(range(6)).load_state_dict(before)
    assert [b.item() for b in pickle.loads(pickle.dumps(loader))] != []


def test_threads_go_on_too():
    torch.manual_seed(0)
    make = LOADERS["shuffled"]
    whole = [batch[0].tolist() for batch in make(num_workers=2, worker_kind="thread")]
    torch.manual_seed(0)
    loader = make(num_workers=2, worker_kind="thread")
    it = iter(loader)
    first = [batch[0].tolist() for batch in itertools.islice(it, 3)]
    state = loader.state_dict()
    del it
    again = make(num_workers=2, worker_kind="thread")
    again.load_state_dict(state)
    assert first + [batch[0].tolist() for batch in again] == whole


def test_out_of_order_batches_are_given_once():
    loader = DataLoader(range(40), batch_size=2, num_workers=2, in_order=False)
    it = iter(loader)
    first = [next(it).tolist() for _ in range(7)]
    state = loader.state_dict()
    del it
    loader.load_state_dict(state)
    rest = [batch.tolist() for batch in loader]
    assert sorted(first + rest) == [[i, i + 1] for i in range(0, 40, 2)]


# ---- whole runs

TRAINING = """
import os, sys, random
import numpy as np
import rushlight as torch
from rushlight import nn

path, workers, kill_at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0), random.seed(0), np.random.seed(0)


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 50

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        return torch.randn(8, generator=generator) + 0.1 * torch.randn(8), float(i % 3) + random.random()


net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=100)
loader = torch.utils.data.DataLoader(Data(), batch_size=8, shuffle=True, num_workers=workers)
objects = dict(model=net, optimizer=optimizer, scheduler=scheduler, loader=loader)
progress = torch.resume_training(path, **objects, missing_ok=True)
step = progress.get("step", 0)
for epoch in range(progress.get("epoch", 0), 4):
    for x, y in loader:
        loss = (net(x).squeeze(1) + np.random.rand() - y.float()).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        step += 1
        if step % 3 == 0:
            torch.save_training(path, **objects, epoch=epoch, step=step)
        if step == kill_at:
            os.kill(os.getpid(), 9)
print(step, "".join(value.double().numpy().tobytes().hex() for value in net.state_dict().values()))
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_training_ends_in_the_same_bits(workers, tmp_path):
    def train(name, kill_at):
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TRAINING, str(tmp_path / name), str(workers), str(kill_at)],
            capture_output=True,
            text=True,
        )

    whole = train("whole.pt", -1)
    assert whole.returncode == 0, whole.stderr
    for kill_at in (2, 5, 14, 21):
        assert train("killed.pt", kill_at).returncode == -9
    resumed = train("killed.pt", -1)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout == whole.stdout


def test_states_of_several_objects(tmp_path):
    nets = {"a": torch.nn.Linear(2, 1), "b": torch.nn.Linear(1, 1)}
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets.values()]
    ema = torch.nn.Linear(2, 1)
    torch.save_training(tmp_path / "x.pt", model=nets, optimizer=optimizers, ema=ema, epoch=4, best=torch.ones(1))
    others = {"a": torch.nn.Linear(2, 1), "b": torch.nn.Linear(1, 1)}
    copy = torch.nn.Linear(2, 1)
    values = torch.resume_training(tmp_path / "x.pt", model=others, ema=copy)
    assert values["epoch"] == 4 and values["best"].item() == 1 and set(values) == {"epoch", "best"}
    assert torch.equal(others["b"].weight, nets["b"].weight) and torch.equal(copy.weight, ema.weight)
    with pytest.raises(ValueError, match="has no state of: scheduler"):
        torch.resume_training(tmp_path / "x.pt", scheduler=copy)
    with pytest.raises(FileNotFoundError):
        torch.resume_training(tmp_path / "y.pt", model=others)
    torch.save({"x": 1}, tmp_path / "z.pt")
    with pytest.raises(RuntimeError, match="was not written by save_training"):
        torch.resume_training(tmp_path / "z.pt", model=others)
