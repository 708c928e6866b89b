"""The whole chain in a few seconds: import, arithmetic, backward, a layer, a training run."""

import subprocess
import sys

import numpy as np

import rushlight as rl
from rushlight import nn, optim
from rushlight.utils.data import DataLoader, TensorDataset


def test_addition():
    assert (rl.tensor([1.0, 2.0]) + rl.tensor([10.0, 20.0])).tolist() == [11.0, 22.0]


def test_backward():
    x = rl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x**2).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0]


def test_layer_equals_numpy():
    layer = nn.Linear(3, 2)
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    expected = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(rl.from_numpy(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_training_run():
    """Two interleaved half-circles: a small MLP separates them, and a linear model cannot."""
    generator = np.random.default_rng(0)
    angle = generator.uniform(0, np.pi, 400)
    label = np.arange(400) % 2
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * np.where(label, -1, 1)[:, None]
    points += label[:, None] * [1.0, 0.5] + generator.normal(0, 0.05, (400, 2))
    inputs, targets = rl.tensor(points, dtype=rl.float32), rl.tensor(label)

    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        for batch, target in DataLoader(TensorDataset(inputs, targets), batch_size=50, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(batch), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    with rl.no_grad():
        accuracy = (net(inputs).argmax(1) == targets).float().mean().item()
    assert losses[-1] < losses[0] / 4
    assert accuracy > 0.98


def test_same_seed_same_run():
    def run():
        rl.manual_seed(7)
        net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = optim.SGD(net.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            net(rl.randn(16, 4)).pow(2).mean().backward()
            optimizer.step()
        return rl.cat([p.detach().flatten() for p in net.parameters()])

    assert rl.equal(run(), run())


def test_import_needs_only_numpy():
    """No module outside the standard library, NumPy and the package itself is loaded by the import."""
    code = (
        "import sys, numpy; before = set(sys.modules); import rushlight, rushlight.nn, rushlight.optim\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'rushlight', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
