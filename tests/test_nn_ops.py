"""Matrix products, softmax, losses, norms, embeddings, convolutions, pools and fused optimizer steps: values against NumPy written
out in loops, derivatives of every order that programs use, layouts, error texts, and equal bits on every instruction set."""

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.autograd import gradcheck, gradgradcheck
from rushlight.nn import functional as F


def array(*shape, seed=0):
    return np.asarray(np.random.RandomState(seed + len(shape)).randn(*shape))


def leaf(*shape, seed=0):
    return rl.from_numpy(array(*shape, seed=seed)).requires_grad_()


def close(result, expected, tol=1e-10):
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=tol, atol=tol)


# ---- matrix products ----


@pytest.mark.parametrize("a", [(3,), (2, 3), (4, 2, 3), (5, 1, 2, 3), (0, 3), (4, 0, 3)])
@pytest.mark.parametrize("b", [(3,), (3, 2), (4, 3, 2), (1, 4, 3, 2), (3, 0)])
def test_matmul_is_numpys(a, b):
    x, y = array(*a), array(*b, seed=1)
    try:
        expected = x @ y
    except ValueError:
        with pytest.raises(RuntimeError):
            rl.from_numpy(x) @ rl.from_numpy(y)
        return
    result = rl.from_numpy(x) @ rl.from_numpy(y)
    assert result.is_contiguous()
    close(result, expected)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float32", "float64", "complex64", "complex128"]
)
def test_products_of_transposed_and_strided_matrices(dtype):
    x, y = (array(6, 8) * 3).astype(dtype), (array(8, 6, seed=1) * 3).astype(dtype)
    tol = 1e-4 if dtype in ("float32", "complex64") else 1e-10
    a, b = rl.from_numpy(x), rl.from_numpy(y)
    close(a.mm(b), x @ y, tol)
    close(a.t().mm(b.t()), x.T @ y.T, tol)
    close(a[::2, 1::2].mm(b[::2, ::3]), x[::2, 1::2] @ y[::2, ::3], tol)
    close(a[0].expand(3, 8).mm(b), np.broadcast_to(x[0], (3, 8)) @ y, tol)


def test_gradient_of_a_transposed_weight_is_contiguous():
    weight = leaf(4, 3)
    F.linear(rl.from_numpy(array(5, 3)), weight).sum().backward()
    assert weight.grad.is_contiguous()


@pytest.mark.parametrize(
    "name, shapes, options",
    [
        ("addmm", [(2, 4), (2, 3), (3, 4)], {"beta": 0.5, "alpha": 2.0}),
        ("addmm", [(4,), (2, 3), (3, 4)], {}),
        ("baddbmm", [(2, 3, 2), (2, 3, 4), (2, 4, 2)], {"beta": 2.0}),
        ("addbmm", [(3, 2), (2, 3, 4), (2, 4, 2)], {"alpha": 3.0}),
        ("addmv", [(2,), (2, 3), (3,)], {"beta": 0.5}),
        ("addr", [(2, 3), (2,), (3,)], {"alpha": 0.5}),
    ],
)
def test_products_with_an_addend(name, shapes, options):
    inputs = [leaf(*s, seed=i) for i, s in enumerate(shapes)]
    function = getattr(rl, name)
    assert gradcheck(lambda *t: function(*t, **options), inputs)
    assert gradgradcheck(lambda *t: function(*t, **options), inputs)
    with rl.no_grad():
        expected = function(*inputs, **options)
        if inputs[0].shape == expected.shape:
            in_place = getattr(inputs[0].clone(), name + "_")(*inputs[1:], **options)
            close(in_place, expected.numpy())
        nan = rl.full_like(inputs[0], float("nan"))
        assert function(nan, *inputs[1:], beta=0).isfinite().all()


def test_addmm_reads_its_target_before_it_writes_it():
    x = rl.from_numpy(array(3, 3))
    expected = x.numpy() + x.numpy() @ x.numpy()
    close(x.addmm_(x, x), expected)


@pytest.mark.parametrize(
    "equation",
    [
        "ij,jk->ik",
        "ij,kj",
        "bij,bjk->bik",
        "ij->ji",
        "ii->i",
        "ii",
        "i,j->ij",
        "...ij,...j->...i",
        "ij,ij->",
        "abc,cd,da->b",
    ],
)
def test_einsum_is_numpys(equation):
    sizes = dict.fromkeys("ijkabcd", 3)
    terms = equation.split("->")[0].split(",")
    operands = [array(*[sizes[c] for c in term.replace("...", "a")], seed=i) for i, term in enumerate(terms)]
    close(rl.einsum(equation, *map(rl.from_numpy, operands)), np.einsum(equation, *operands))


# ---- softmax and losses ----


@pytest.mark.parametrize(
    "shape, dim", [((3, 4), 1), ((3, 4), 0), ((2, 37, 5), 1), ((2, 3, 100), -1), ((), 0), ((0, 3), 0)]
)
def test_softmax(shape, dim):
    x = np.asarray(array(*shape) * 10)
    e = np.exp(x - x.max(dim, keepdims=True)) if x.size and x.ndim else np.ones_like(x)
    expected = e / e.sum(dim, keepdims=True) if x.ndim else e
    close(rl.softmax(rl.from_numpy(x), dim), expected)
    with np.errstate(divide="ignore"):
        close(rl.log_softmax(rl.from_numpy(x), dim), np.log(expected), 1e-8)


def test_softmax_of_extreme_rows():
    inf = float("inf")
    assert rl.softmax(rl.tensor([[1e4, -1e4], [-inf, 0.0]]), 1).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert rl.softmax(rl.tensor([-inf, -inf]), 0).isnan().all()


TARGET = rl.tensor([1, 0, 3])
DIFFERENTIABLE = {
    "softmax": (lambda x: F.softmax(x, 1), [(3, 4)]),
    "log_softmax": (lambda x: F.log_softmax(x, 0), [(3, 4)]),
    "cross_entropy": (lambda x: F.cross_entropy(x, TARGET), [(3, 4)]),
    "cross_entropy, weights": (
        lambda x: F.cross_entropy(x, TARGET, rl.tensor([1.0, 2.0, 3.0, 4.0]).double(), ignore_index=0), [(3, 4)]),
    "cross_entropy, none": (lambda x: F.cross_entropy(x, TARGET, reduction="none", label_smoothing=0.1), [(3, 4)]),
    "mse_loss": (F.mse_loss, [(3, 4), (3, 4)]),
    "huber_loss": (lambda x, y: F.huber_loss(x, y, delta=0.7), [(3, 4), (3, 4)]),
    "bce with logits": (
        lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=rl.ones(4).double() * 3),
        [(3, 4), (3, 4)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (3, 4), w, b), [(2, 3, 4), (3, 4), (3, 4)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w), [(2, 4), (4,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), [(3, 2, 4), (2,), (2,)]),
    "batch_norm, columns": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), [(5, 3), (3,), (3,)]),
    "batch_norm, evaluation": (
        lambda x, w: F.batch_norm(x, rl.ones(2).double(), rl.ones(2).double() * 2, w), [(3, 2, 4), (2,)]),
    "embedding": (lambda w: F.embedding(rl.tensor([[0, 2], [2, 1]]), w, padding_idx=3), [(4, 3)]),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), [(2, 3, 6), (4, 3, 3), (4,)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, (2, 1), (1, 0), (1, 2)), [(1, 2, 5, 6), (3, 2, 3, 2), (3,)]),
    "conv2d, groups": (lambda x, w: F.conv2d(x, w, None, groups=2, padding=1), [(2, 4, 3, 3), (2, 2, 3, 3)]),
    "conv3d": (lambda x, w: F.conv3d(x, w, None, (2, 1, 1), 1), [(1, 2, 3, 3, 2), (2, 2, 2, 2, 2)]),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), [(1, 2, 3, 3), (2, 2, 3, 3), (2,)]),
    "conv_transpose3d": (lambda x, w: F.conv_transpose3d(x, w, None, 2), [(1, 2, 2, 2, 1), (2, 1, 2, 1, 2)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2, 1, 1), [(2, 4, 4)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), [(1, 2, 5, 4)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(1, 2, 5, 4)]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, 2), [(1, 2, 5, 4)]),
    "unfold": (lambda x: F.unfold(x, (2, 3), padding=1, stride=2), [(1, 2, 4, 5)]),
    "fold": (lambda x: F.fold(x, (3, 4), 2), [(1, 8, 6)]),
    "attention": (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), [(1, 2, 4, 3), (1, 2, 5, 3), (1, 2, 5, 2)]),
    "attention, mask": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, rl.tensor([[True], [False], [True]])),
        [(1, 2, 3, 3), (1, 2, 4, 3), (1, 2, 4, 2)]),
    "linear": (F.linear, [(2, 3, 4), (5, 4), (5,)]),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_first_and_second_derivatives(name):
    function, shapes = DIFFERENTIABLE[name]
    inputs = [leaf(*s, seed=i) for i, s in enumerate(shapes)]
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nll_loss(reduction):
    x, target, weight = array(5, 4), np.array([0, 3, 1, 1, 2]), np.array([1.0, 2.0, 0.5, 3.0])
    kept = target != 1
    each = np.where(kept, -x[np.arange(5), target] * weight[target], 0)
    expected = {"none": each, "sum": each.sum(), "mean": each.sum() / weight[target][kept].sum()}[reduction]
    result = F.nll_loss(*map(rl.from_numpy, (x, target, weight)), ignore_index=1, reduction=reduction)
    close(result, expected)
    nothing = F.nll_loss(rl.from_numpy(x), rl.ones(5).long(), ignore_index=1)
    assert nothing.isnan()


# ---- norms ----


def test_batch_norm_updates_its_statistics_in_place():
    x, mean, var = array(6, 3, 5), rl.zeros(3).double(), rl.ones(3).double()
    version = mean._version
    F.batch_norm(rl.from_numpy(x), mean, var, training=True, momentum=0.3)
    close(mean, 0.3 * x.mean((0, 2)))
    close(var, 0.7 + 0.3 * x.var((0, 2), ddof=1))
    assert mean._version > version
    first = F.batch_norm(rl.from_numpy(x).requires_grad_(), mean, var, training=False)
    F.batch_norm(rl.from_numpy(x), mean, var, training=True)  # backward does not read the statistics again
    first.sum().backward()


@pytest.mark.parametrize("dtype", [rl.float16, rl.bfloat16])
def test_sixteen_bits_compute_in_float32(dtype):
    x = rl.from_numpy(array(4, 8).astype("float32"))
    for function in (
        lambda t: F.layer_norm(t, (8,)),
        lambda t: F.softmax(t, 1),
        lambda t: F.group_norm(t, 2),
    ):
        exact = function(x.to(dtype).float())
        assert (function(x.to(dtype)).float() - exact).abs().max() <= exact.abs().max() * 2**-8


# ---- convolutions and pools ----


def slow_conv(x, w, stride, pad, dilation, groups):
    n = w.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(p, p) for p in pad])
    out = [(s - d * (k - 1) - 1) // t + 1 for s, k, t, d in zip(x.shape[2:], w.shape[2:], stride, dilation)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per_out, per_in = w.shape[0] // groups, w.shape[1]
    for o in range(w.shape[0]):
        first = o // per_out * per_in
        for place in itertools.product(*map(range, out)):
            window = tuple(
                slice(
                    place[i] * stride[i],
                    place[i] * stride[i] + dilation[i] * (w.shape[i + 2] - 1) + 1,
                    dilation[i],
                )
                for i in range(n)
            )
            block = x[(slice(None), slice(first, first + per_in), *window)]
            y[(slice(None), o, *place)] = (block * w[o]).sum(tuple(range(1, n + 2)))
    return y


@pytest.mark.parametrize(
    "x, w, stride, pad, dilation, groups",
    [
        ((2, 3, 9), (4, 3, 3), (2,), (1,), (2,), 1),
        ((2, 4, 7, 6), (6, 2, 3, 2), (2, 1), (1, 2), (1, 2), 2),
        ((1, 3, 5, 5), (3, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
        ((2, 2, 4, 5, 4), (3, 2, 2, 3, 2), (2, 1, 1), (1, 0, 1), (1, 1, 2), 1),
        ((0, 2, 4, 4), (3, 2, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    ],
)
def test_convolutions(x, w, stride, pad, dilation, groups):
    a, b = array(*x), array(*w, seed=1)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(stride) - 1]
    result = convolve(rl.from_numpy(a), rl.from_numpy(b), None, stride, pad, dilation, groups)
    expected = slow_conv(a, b, stride, pad, dilation, groups)
    close(result, expected)
    # <conv(x), y> = <x, conv_transpose(y)>
    back = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(stride) - 1]
    y = array(*expected.shape, seed=2)
    rest = [
        s - ((o - 1) * t - 2 * p + d * (k - 1) + 1)
        for s, o, t, p, d, k in zip(x[2:], expected.shape[2:], stride, pad, dilation, w[2:])
    ]
    adjoint = back(rl.from_numpy(y), rl.from_numpy(b), None, stride, pad, rest, groups, dilation)
    assert np.isclose((expected * y).sum(), (adjoint.numpy() * a).sum())


def test_convolution_takes_any_layout():
    x, w = rl.from_numpy(array(2, 3, 6, 5)), rl.from_numpy(array(4, 3, 3, 3, seed=1))
    expected = F.conv2d(x, w).numpy()
    close(F.conv2d(x.to(memory_format=rl.channels_last), w.to(memory_format=rl.channels_last)), expected)
    close(F.conv2d(x.transpose(2, 3).contiguous().transpose(2, 3), w), expected)
    close(F.conv2d(x[0], w), expected[0])


def test_pools():
    x = array(2, 3, 7, 6)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 2), (2, 3))[:, :, ::2, ::2]
    t = rl.from_numpy(x)
    close(F.max_pool2d(t, (3, 2), 2), windows.max((-1, -2)))
    close(F.avg_pool2d(t, (3, 2), 2), windows.mean((-1, -2)))
    values, places = F.max_pool2d(t, (3, 2), 2, return_indices=True)
    assert rl.equal(t.flatten(2).gather(2, places.flatten(2)), values.flatten(2))
    close(F.adaptive_avg_pool2d(t, 1), x.mean((2, 3), keepdims=True))


# ---- attention ----


@pytest.mark.parametrize(
    "mask, causal", [(None, False), (None, True), ("float", False), ("bool", False), ("row", False)]
)
@pytest.mark.parametrize("queries, keys", [(130, 70), (33, 300), (600, 270)])  # one block of each, or several
def test_attention_is_softmax_of_products(mask, causal, queries, keys):
    q, k, v = array(2, 3, queries, 8), array(2, 3, keys, 8, seed=1), array(2, 3, keys, 5, seed=2)
    scores = q @ k.swapaxes(-1, -2) * 0.3
    masks = {
        "float": array(queries, keys), "bool": array(2, 1, queries, keys) > 0, "row": array(keys) > 0,
    }  # fmt: skip
    given = None
    if mask:
        given = rl.from_numpy(masks[mask])
        scores = scores + masks[mask] if mask == "float" else np.where(masks[mask], scores, -np.inf)
    if causal:
        scores = np.where(np.tri(queries, keys, dtype=bool), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    weights /= np.maximum(weights.sum(-1, keepdims=True), 1e-300)  # a query that sees nothing gets zeros
    q, k, v = (rl.from_numpy(x).requires_grad_() for x in (q, k, v))
    result = F.scaled_dot_product_attention(q, k, v, given, is_causal=causal, scale=0.3)
    close(result, weights @ v.detach().numpy())
    fused = rl.autograd.grad(result.square().sum(), (q, k, v))
    again = F.scaled_dot_product_attention(q, k, v, given, is_causal=causal, scale=0.3)
    wanted = rl.autograd.grad(
        again.square().sum(), (q, k, v), create_graph=True
    )  # by the formula made of ops
    for a, b in zip(fused, wanted):
        close(a, b.detach().numpy(), 1e-8)


def test_attention_reads_and_writes_heads_inside_rows():
    parts = [rl.from_numpy(array(2, 70, 3 * 8, seed=n)).requires_grad_() for n in range(3)]
    q, k, v = (t.view(2, 70, 3, 8).transpose(1, 2) for t in parts)
    result = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert result.transpose(1, 2).is_contiguous()  # as PyTorch's
    weight = rl.from_numpy(array(*result.shape))
    found = rl.autograd.grad((result * weight).sum(), parts, retain_graph=True)
    again = F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous(), is_causal=True)
    close(result, again.detach().numpy())
    for a, b in zip(found, rl.autograd.grad((again * weight).sum(), parts)):
        close(a, b.numpy())


def test_attention_without_keys_gives_zeros():
    q, k = rl.ones(2, 1, 5, 4, requires_grad=True), rl.ones(2, 1, 0, 4)
    result = F.scaled_dot_product_attention(q, k, k)
    result.sum().backward()
    assert (result == 0).all() and (q.grad == 0).all()


# ---- fused optimizer steps ----

RULES = [
    (optim.Adam, {"weight_decay": 0.1}), (optim.Adam, {"amsgrad": True, "betas": (0.3, 0.6)}), (optim.Adam, {"maximize": True}),
    (optim.AdamW, {"weight_decay": 0.1}), (optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}), (optim.SGD, {"lr": 0.1, "momentum": 0.5, "dampening": 0.2}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule, options", RULES)
def test_fused_steps_equal_the_written_rule(rule, options, dtype, monkeypatch):
    def train():
        rng = np.random.RandomState(0)
        params = [
            nn.Parameter(rl.from_numpy(rng.randn(*s).astype(dtype))) for s in ((7, 5), (3,), (150, 130))
        ]
        optimizer = rule(params, **options)
        for _ in range(5):
            for p in params:
                p.grad = rl.from_numpy(rng.randn(*p.shape).astype(dtype))
            optimizer.step()
        assert all(p._version for p in params)
        return [p.detach().numpy().tobytes() for p in params]

    fused = train()
    calls = []
    for module, name in (("adam", "_fused_adam_"), ("sgd", "_fused_sgd_")):
        monkeypatch.setattr(f"rushlight.optim.{module}.{name}", lambda *args, **kwargs: calls.append(1))
    assert train() == fused and calls


def test_fused_steps_refuse_what_they_do_not_take():
    step = {
        "lr": 0.1,
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
        "maximize": False,
    }
    with rl.no_grad():
        for p in (rl.ones(3, dtype=rl.float16), rl.ones(3, 2).t(), rl.ones(3, dtype=rl.complex64)):
            assert not rl._C._fused_sgd_([p], [rl.ones_like(p)], [], **step)
            assert (p == 1).all()
        assert not rl._C._fused_sgd_([rl.ones(3)], [rl.ones(4)], [], **step)
    assert not rl._C._fused_sgd_([rl.ones(3)], [rl.ones(3)], [], **step)  # it would have to be recorded


# ---- the same bits everywhere ----

BITS = """
import hashlib, numpy as np, rushlight as rl
from rushlight.nn import functional as F
rng = np.random.RandomState(0)
def leaf(*shape): return rl.from_numpy(rng.randn(*shape).astype("float32")).requires_grad_()
x, image, weight, filters = leaf(130, 517), leaf(3, 8, 33, 31), leaf(517), leaf(16, 8, 3, 3)
outs = [x @ x.t(), F.softmax(x, 1), F.log_softmax(x, 0), F.layer_norm(x, (517,), weight), F.batch_norm(image, None, None, training=True),
        F.group_norm(image, 4), F.scaled_dot_product_attention(image, image, image, is_causal=True), F.cross_entropy(x, rl.arange(130)), F.conv2d(image, filters, padding=1), F.avg_pool2d(image, 3)]
heads = [t[None, None, :, :40] for t in (x, x.t(), x.t())]
outs += [F.scaled_dot_product_attention(*heads), F.scaled_dot_product_attention(*heads, x > 0)]
sum(o.square().sum() for o in outs).backward()
h = hashlib.sha256()
for t in [*outs, x.grad, image.grad, weight.grad, filters.grad]: h.update(t.detach().numpy().tobytes())
print(h.hexdigest())
"""


def test_same_bits_on_any_number_of_threads_and_instruction_set():
    levels = ["v4", "v3"] if os.uname().machine == "x86_64" else ["neon"]
    digests = set()
    for level, threads in itertools.product(levels, ["1", "3"]):
        env = {**os.environ, "RUSHLIGHT_CPU": level, "RUSHLIGHT_NUM_THREADS": threads}
        run = subprocess.run(
            [sys.executable, "-c", BITS], env=env, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout)
        assert len(run.stdout.strip()) == hashlib.sha256().digest_size * 2
    assert len(digests) == 1


# ---- errors, before anything is changed ----

one = rl.ones
ERRORS = [
    (lambda: one(2, 3) @ one(2, 3), RuntimeError, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
    (lambda: rl.mv(one(2, 3), one(2)), RuntimeError, "size mismatch, got input (2), mat (2x3), vec (2)"),
    (lambda: rl.mm(one(2, 2), one(2, 2).long()), RuntimeError, "expected m1 and m2 to have the same dtype"),
    (lambda: rl.addmm(one(3), one(2, 3), one(3, 4)), RuntimeError, "The expanded size of the tensor (4) must match"),
    (lambda: F.linear(one(4, 2).double(), one(3, 2), one(3)), RuntimeError, "but got Double and Float"),
    (lambda: rl.einsum("ij->k", one(2, 3)), RuntimeError, "output subscript k does not appear"),
    (lambda: rl.softmax(rl.arange(3), 0), NotImplementedError, "not implemented for 'Long'"),
    (lambda: F.cross_entropy(one(2, 3), rl.tensor([0, 3])), IndexError, "Target 3 is out of bounds."),
    (lambda: F.cross_entropy(one(2, 3), rl.tensor([0, -1])), IndexError, "Target -1 is out of bounds."),
    (lambda: F.embedding(rl.tensor([4]), one(4, 2)), IndexError, "index out of range in self"),
    (lambda: F.conv2d(one(1, 1, 8, 8), one(4, 3, 3, 3)), RuntimeError, "to have 3 channels, but got 1 channels instead"),
    (lambda: F.conv2d(one(1, 3, 2, 2), one(4, 3, 3, 3)), RuntimeError, "Kernel size can't be greater than actual input size"),
    (lambda: F.conv2d(one(1, 3, 4, 4), one(4, 3, 3, 3), stride=0), RuntimeError, "non-positive stride"),
    (lambda: F.conv2d(one(1, 3, 4, 4), one(4, 3, 3, 3), padding=2**62), RuntimeError, "out of range"),
    (lambda: F.max_pool2d(one(1, 1, 4, 4), 5), RuntimeError, "Output size is too small"),
    (lambda: F.max_pool2d(one(1, 1, 4, 4), 2**62), RuntimeError, "out of range"),
    (lambda: F.unfold(one(1, 1, 4, 4), 2**30, padding=2**30), RuntimeError, ""),
    (lambda: F.layer_norm(one(2, 4), (3,)), RuntimeError, "expected input with shape [*, 3]"),
    (lambda: F.batch_norm(one(2, 4), one(3), one(3)), RuntimeError, "running_mean should contain 4 elements not 3"),
    (lambda: F.mse_loss(one(2), one(3)), RuntimeError, "The size of tensor a (2) must match the size of tensor b (3)"),
    (lambda: F.binary_cross_entropy(one(1) * 1.5, one(1)), RuntimeError, "all elements of input should be between 0 and 1"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(ERRORS)))
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_errors(number):
    function, kind, text = ERRORS[number]
    with pytest.raises(kind) as raised:
        function()
    assert text in str(raised.value)


# ---- memory formats ----


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.conv2d(x, leaf(3, 4, 3, 3)),
        lambda x: F.conv2d(x, leaf(4, 1, 2, 2), groups=4),
        lambda x: F.conv_transpose2d(x, leaf(4, 3, 2, 2)),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.max_pool2d(x, 2, return_indices=True)[1],
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)[1],
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.group_norm(x, 2),
        lambda x: F.pad(x, (1, 2, 0, 1)),
    ],
)
def test_channels_last_is_kept(call):
    x = leaf(2, 4, 6, 5).detach()
    last = x.contiguous(memory_format=rl.channels_last)
    expected, result = call(x), call(last)
    assert expected.is_contiguous() and result.is_contiguous(memory_format=rl.channels_last)
    assert result.equal(expected)


def test_weight_in_channels_last():
    x, weight = leaf(2, 4, 6, 5), leaf(3, 4, 2, 2).detach().contiguous(memory_format=rl.channels_last)
    result = F.conv2d(x, weight)
    assert result.is_contiguous(memory_format=rl.channels_last)
    assert result.equal(F.conv2d(x, weight.contiguous()))
    result.square().sum().backward()
    got, x.grad = x.grad, None
    F.conv2d(x, weight.contiguous()).square().sum().backward()
    close(got, x.grad.numpy())


@pytest.mark.parametrize("weight", [rl.float32, rl.float64, rl.bfloat16])
@pytest.mark.parametrize("dtype", [rl.float32, rl.float64, rl.bfloat16])
def test_rms_norm_has_the_dtype_of_its_input(dtype, weight):
    x, w = (
        rl.arange(12.0).reshape(2, 6).to(dtype).requires_grad_(),
        rl.arange(6.0).to(weight).requires_grad_(),
    )
    y = F.rms_norm(x, (6,), w)
    y.sum().backward()
    assert (y.dtype, x.grad.dtype, w.grad.dtype) == (dtype, dtype, weight)
    wide = x.detach().double().numpy()
    want = wide / np.sqrt((wide**2).mean(1, keepdims=True)) * np.arange(6.0)
    np.testing.assert_allclose(y.detach().double().numpy(), want, rtol=1e-2 if dtype == rl.bfloat16 else 1e-5)
