"""Results do not depend on the machine: the same bits for 1, 2, 3 and 8 threads, and with AVX2 and AVX-512. The baseline,
which has no fused multiply-add, gives the same values, and every instruction set passes the value tests."""

import hashlib
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import rushlight as rl
from rushlight.testing.samples import Draw, Sample, op_table, samples

# Sizes of the samples grow alike, by the largest rank among them, so that shapes that fitted still do and several
# chunks of work exist.
GROWN = {
    2: {2: 210, 3: 330, 4: 150, 5: 90, 6: 50, 7: 20},
    3: {2: 24, 3: 60, 4: 50, 5: 40, 6: 30, 7: 20},
    4: {2: 5, 3: 16, 4: 24, 5: 23, 6: 26, 7: 21},
}
SQUARED = {
    "diagflat",
    "diag_embed",
    "kron",
    "block_diag",
    "cartesian_prod",
    "combinations",
}  # results grow faster


def grown_calls(op):
    """(text, function) for the operator's samples with larger shapes; those that no longer fit are left out."""
    for sample in samples(op):
        if not sample.draws:
            continue
        rank = max(len(d.shape) for d in sample.draws)
        sizes = GROWN[4 if op.name in SQUARED else min(max(rank, 2), 4)]

        def grow(draw, number, sizes=sizes):
            return Draw(draw.kind, tuple(sizes.get(n, n) for n in draw.shape), draw.low, draw.high)

        args, kwargs = sample.map(grow)
        args, kwargs = Sample(sample.text, args, kwargs).tensors()
        try:
            op.call(*args, **kwargs)
        except Exception:
            continue
        yield sample.text, args, kwargs


def digest(result):
    """Of all bits of a result and of the gradients that flow from it."""
    code = hashlib.sha256()
    for t in result if isinstance(result, (list, tuple)) else [result]:
        if isinstance(t, rl.Tensor) and t.device.type == "cpu":
            code.update(bytes(t.detach().resolve_conj().contiguous().clone().untyped_storage()))
    return code.hexdigest()


def run(op, args, kwargs):
    """Digests of the result and of the gradients of the floating-point arguments."""
    rl.manual_seed(0)

    def leaf(value):
        if isinstance(value, rl.Tensor) and value.is_floating_point():
            return value.detach().requires_grad_()
        return type(value)(map(leaf, value)) if isinstance(value, (list, tuple)) else value

    leaves = [leaf(a) for a in args]
    result = op.call(*leaves, **kwargs)
    parts = [digest(result)]
    outs = [
        t
        for t in (result if isinstance(result, (list, tuple)) else [result])
        if isinstance(t, rl.Tensor) and t.requires_grad
    ]
    flat = [t for a in leaves for t in (a if isinstance(a, (list, tuple)) else [a])]
    wanted = [t for t in flat if isinstance(t, rl.Tensor) and t.requires_grad]
    if outs and wanted:
        try:
            grads = rl.autograd.grad(outs, wanted, [rl.ones_like(o) * 0.37 for o in outs], allow_unused=True)
        except (RuntimeError, NotImplementedError):
            grads = []
        parts.append(digest([g for g in grads if g is not None]))
    return parts


OPS = [op for op in op_table() if op.texts and not op.mutates]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.key)
def test_same_bits_for_any_number_of_threads(op):
    before = rl.get_num_threads()
    try:
        for text, args, kwargs in grown_calls(op):
            found = []
            for threads in (1, 2, 3, 8):
                rl.set_num_threads(threads)
                found.append(run(op, args, kwargs))
            assert all(f == found[0] for f in found), text
    finally:
        rl.set_num_threads(before)


def wide_convolutions():
    """Digests of convolutions with more channels than samples have, and of their gradients: Winograd's algorithm."""
    op = next(op for op in OPS if op.key == "conv2d")
    found = {}
    for size in ((3, 70, 33, 21, 40), (1, 256, 30, 30, 256), (1, 100, 11, 13, 140)):
        n, channels, height, width, outputs = size
        generator = rl.Generator().manual_seed(0)
        x = rl.randn(n, channels, height, width, generator=generator)
        w = rl.randn(outputs, channels, 3, 3, generator=generator)
        found[f"conv2d: {size}"] = run(op, [x, w, rl.ones(outputs)], {"padding": 1})
    return found


def test_same_bits_of_wide_convolutions_for_any_number_of_threads():
    before = rl.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 8):
            rl.set_num_threads(threads)
            found.append(wide_convolutions())
        assert all(f == found[0] for f in found)
    finally:
        rl.set_num_threads(before)


def all_digests():
    found = {
        f"{op.key}: {text}": run(op, args, kwargs) for op in OPS for text, args, kwargs in grown_calls(op)
    }
    return found | wide_convolutions()


def all_sums():
    """Sums of the absolute values, and of the values, of each result: enough to see that whole vectors are right."""
    found = {}
    for op in OPS:
        for text, args, kwargs in grown_calls(op):
            rl.manual_seed(0)
            result = op.call(*args, **kwargs)
            sums = found[f"{op.key}: {text}"] = []
            for t in result if isinstance(result, (list, tuple)) else [result]:
                if not isinstance(t, rl.Tensor) or t.device.type != "cpu":
                    continue
                x = np.nan_to_num(
                    t.detach().resolve_conj().resolve_neg().numpy().astype(complex), posinf=0, neginf=0
                )
                sums += [float(np.abs(x).sum()), float(x.real.sum()), float(x.imag.sum()), x.size]
    return found


def trained(build, batch, classes):
    """A digest of the parameters after 50 steps of Adam on random data."""
    rl.manual_seed(0)
    net = build()
    optimizer = rl.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(50):
        x = batch()
        logits = net(x)
        loss = rl.nn.functional.cross_entropy(logits, rl.randint(0, classes, logits.shape[:1]))
        optimizer.zero_grad()
        loss.backward()
        rl.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert all(p.isfinite().all() for p in net.parameters())
    return digest(list(net.parameters()))


def cnn():
    """Convolutions of several kinds, with more channels and pixels than fit one chunk of work."""
    nn = rl.nn
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=64), nn.Conv2d(64, 32, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 10),
    )  # fmt: skip


class GPT(rl.nn.Module):
    """Two layers of causal attention; the logits of every place of the sequence are rows of one matrix."""

    def __init__(self, width=64, heads=4, context=48, tokens=96):
        super().__init__()
        nn = rl.nn
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)

    def forward(self, ids):
        n = ids.shape[1]
        mask = rl.nn.Transformer.generate_square_subsequent_mask(n)
        x = self.tokens(ids) + self.places(rl.arange(n))
        return self.head(self.blocks(x, mask, is_causal=True)).flatten(0, 1)


def trained_nets():
    return [
        trained(cnn, lambda: rl.randn(16, 3, 24, 24), 10),
        trained(GPT, lambda: rl.randint(0, 96, (8, 48)), 96),
    ]


def test_training_gives_the_same_bits_for_any_number_of_threads():
    before = rl.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 8):
            rl.set_num_threads(threads)
            found.append(trained_nets())
        assert all(f == found[0] for f in found)
    finally:
        rl.set_num_threads(before)


def ask(isa, function):
    """What a function of this file gives in a process with that instruction set."""
    code = "import json, runpy; print(json.dumps(runpy.run_path(%r)[%r]()))" % (__file__, function)
    environment = {**os.environ, "RUSHLIGHT_CPU": isa}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


needs_avx512 = pytest.mark.skipif(
    "avx512f" not in (open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""),
    reason="this machine has one instruction set only",
)


@needs_avx512
def test_same_bits_on_every_instruction_set():
    v4, v3 = ask("v4", "all_digests"), ask("v3", "all_digests")
    assert len(v4) > 200
    different = sorted(key for key in v4 if v4[key] != v3.get(key))
    assert not different


@needs_avx512
def test_training_gives_the_same_bits_on_every_instruction_set():
    assert ask("v4", "trained_nets") == ask("v3", "trained_nets")


@needs_avx512
def test_the_baseline_gives_the_same_values():
    v4, v2 = ask("v4", "all_sums"), ask("v2", "all_sums")
    assert len(v4) > 200 and v4.keys() == v2.keys()
    # the sum of n rounded numbers, compared with the sum of their magnitudes
    different = [
        key
        for key, sums in v4.items()
        for k in range(0, len(sums), 4)
        if sums[k + 3] != v2[key][k + 3]
        or max(abs(a - b) for a, b in zip(sums[k : k + 3], v2[key][k : k + 3])) > 1e-4 * (1 + sums[k])
    ]
    assert not different


@needs_avx512
@pytest.mark.parametrize("isa", ["v2", "v3"])
def test_lesser_instruction_sets_pass_the_value_tests(isa):
    values = os.path.join(os.path.dirname(__file__), "test_ops.py")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        values,
        "-k",
        "test_values",
    ]
    done = subprocess.run(command, env={**os.environ, "RUSHLIGHT_CPU": isa}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_python_threads_compute_what_one_computes():
    """Four threads train nets of their own at the same time; each comes to the bits that it reaches alone."""

    def train(seed):
        generator = rl.Generator().manual_seed(seed)
        w = rl.randn(300, 200, generator=generator).requires_grad_()
        kernel = rl.randn(8, 3, 3, 3, generator=generator).requires_grad_()
        x = rl.randn(128, 300, generator=generator)
        image = rl.randn(4, 3, 40, 40, generator=generator)
        optimizer = rl.optim.Adam([w, kernel], lr=1e-3)
        for _ in range(8):
            optimizer.zero_grad()
            y = rl.nn.functional.conv2d(image, kernel).tanh()
            loss = (x @ w).softmax(1).square().sum() + y.mean()
            loss.backward()
            optimizer.step()
        return digest([w, kernel, loss])

    alone = [train(seed) for seed in range(4)]
    together = [None] * 4

    def run_thread(seed):
        together[seed] = train(seed)

    threads = [threading.Thread(target=run_thread, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
