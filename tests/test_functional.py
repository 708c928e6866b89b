"""nn.functional without the losses: stored values, gradients, error messages, and composites against NumPy."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import _C, _composite

F = torch.nn.functional


def ramp(*shape, scale=2.0, lib=torch, **options):
    """Distinct numbers from -scale to scale, in an order that looks random."""
    values = [((i * 613) % 1009) / 1009 * 2 * scale - scale for i in range(math.prod(shape))]
    return lib.tensor(values, **options).reshape(shape)


VECTORS = Path(__file__).parent / "vectors"


def pairs(name):
    """A vector file's entries: an expression and the indented line under it."""
    lines = [line for line in (VECTORS / name).read_text().splitlines() if line and not line.startswith("#")]
    return list(zip(lines[::2], (line.strip() for line in lines[1::2])))


CASES = pairs("nn_functional.txt")


def run(expression, make=ramp, lib=torch):
    """Value of an expression of CASES, with inputs from `make`."""
    names = {"F": lib.nn.functional, "torch": lib, "ramp": make}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, names)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("expression, expected", CASES, ids=[case[0] for case in CASES])
def test_values(expression, expected):
    shape, values = expected.split(")")
    result = run(expression)
    assert tuple(result.shape) == eval(shape + ")")
    values = np.array([float(value) for value in values.split()])
    np.testing.assert_allclose(result.detach().numpy().ravel(), values, rtol=2e-4, atol=2e-5)


# renormalised in place; rounded to a dtype; infinite
NOT_CHECKED = ("max_norm", "dtype=", 'torch.tensor([[1, 1]]), (2,), (2,), reduction="sum"')


def differentiable(expression):
    return "ramp(" in expression and not any(word in expression for word in NOT_CHECKED)


def gradcheck_expression(expression):
    """Compare the derivative in each ramp of an expression with finite differences."""
    inputs = []

    def record(*shape, **options):
        inputs.append(ramp(*shape, dtype=torch.float64, **options).requires_grad_())
        return inputs[-1]

    result = run(expression, record)
    if not result.requires_grad:
        pytest.skip("no derivative")

    def function(*given):
        queue = iter(given)
        return run(expression, lambda *shape, **options: next(queue))

    assert torch.autograd.gradcheck(function, tuple(inputs))


@pytest.mark.parametrize("expression", [case[0] for case in CASES if differentiable(case[0])])
def test_gradients(expression):
    torch.set_default_dtype(torch.float64)
    try:
        gradcheck_expression(expression)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("expression", [case[0] for case in CASES])
def test_parity(expression):
    """Values, dtypes and gradients equal those of an installed PyTorch."""
    oracle = pytest.importorskip("torch")
    results = []
    for lib in (torch, oracle):
        inputs = []

        def make(*shape, lib=lib, inputs=inputs, **options):
            inputs.append(ramp(*shape, lib=lib, **options).requires_grad_())
            return inputs[-1] * 1.0

        result = run(expression, make, lib)
        grads = []
        if result.requires_grad and bool(result.isfinite().all()):
            weights = ramp(*result.shape, lib=lib).to(result.dtype)
            (result * weights).sum().backward()
            grads = [lib.zeros_like(x) if x.grad is None else x.grad for x in inputs]
        results.append((result.detach(), str(result.dtype), grads))
    (ours, our_dtype, our_grads), (theirs, their_dtype, their_grads) = results
    assert our_dtype.split(".")[-1] == their_dtype.split(".")[-1]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-4, atol=2e-5)
    assert len(our_grads) == len(their_grads)
    for a, b in zip(our_grads, their_grads):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)


# composites against their NumPy references

SAMPLES = [
    (f, s, ref)
    for f, samples, ref in _composite.COMPOSITES
    for s in samples
    if ref is not None and f.__module__.startswith("rushlight.nn.")
]


def collect(*args, **options):
    return args, options


@pytest.mark.parametrize("function, sample, ref", SAMPLES, ids=[f"{f.__name__}-{s}" for f, s, _ in SAMPLES])
def test_composite_reference(function, sample, ref):
    made = []

    def x(*shape):
        made.append(np.roll(ramp(*shape).numpy().astype(np.float64).ravel(), 5 * len(made)).reshape(shape))
        return made[-1]

    args, options = eval(f"collect({sample})", {"collect": collect, "x": x})
    expected = ref(*args, **options)
    for arrange in (np.ascontiguousarray, np.asfortranarray):
        given = [torch.from_numpy(arrange(a)) if isinstance(a, np.ndarray) else a for a in args]
        np.testing.assert_allclose(function(*given, **options).numpy(), expected, rtol=1e-9, atol=1e-12)


# where the core has its own operator, it must agree with the composite that it replaces
TWINS = {
    "celu": lambda f: f(ramp(6), 2.0),
    "selu": lambda f: f(ramp(6)),
    "glu": lambda f: f(ramp(2, 4), 1),
    "bilinear": lambda f: f(ramp(2, 3), ramp(2, 2), ramp(2, 3, 2)),
    "instance_norm": lambda f: f(ramp(2, 2, 3), ramp(2), ramp(2), None, None, True, 0.1, 1e-5),
    "cosine_similarity": lambda f: f(ramp(2, 3), ramp(3)),
    "pairwise_distance": lambda f: f(ramp(2, 3), ramp(3), 1.0),
    "pdist": lambda f: f(ramp(4, 2), 2.0),
    "one_hot": lambda f: f(torch.tensor([0, 2]), 3),
    "pixel_shuffle": lambda f: f(ramp(1, 4, 1, 2), 2),
    "pixel_unshuffle": lambda f: f(ramp(1, 1, 2, 4), 2),
    "channel_shuffle": lambda f: f(ramp(1, 4, 2), 2),
    "reflection_pad1d": lambda f: f(ramp(1, 4), (3, 2)),
    "replication_pad2d": lambda f: f(ramp(1, 2, 2), (2, 0, 1, 1)),
    "max_pool3d_with_indices": lambda f: f(ramp(1, 3, 3, 3), 2, 1)[0],
    "avg_pool3d": lambda f: f(ramp(1, 3, 3, 3), 2, 2, 1, True, False),
    "adaptive_avg_pool3d": lambda f: f(ramp(1, 3, 4, 5), (2, 1, 2)),
    "adaptive_max_pool3d": lambda f: f(ramp(1, 3, 4, 5), (2, 1, 2))[1],
    "upsample_nearest2d": lambda f: f(ramp(1, 1, 2, 3), (3, 2)),
    "upsample_bilinear2d": lambda f: f(ramp(1, 1, 2, 3), (3, 5), False),
    "upsample_bicubic2d": lambda f: f(ramp(1, 1, 3, 3), (2, 5), False),
    "grid_sampler": lambda f: f(ramp(1, 1, 3, 3), ramp(1, 2, 2, 2), 0, 0, False),
    "cross_entropy_loss": lambda f: f(ramp(2, 3), torch.tensor([0, 2]), None, 1, -100, 0.1),
    "nll_loss2d": lambda f: f(ramp(1, 2, 2, 2), torch.tensor([[[0, 1], [1, 0]]]), None, 1, -100),
    "soft_margin_loss": lambda f: f(ramp(3), ramp(3).sign(), 1),
    "multi_margin_loss": lambda f: f(ramp(2, 3), torch.tensor([0, 2]), 1, 1.0, None, 1),
    "multilabel_margin_loss": lambda f: f(ramp(2, 3), torch.tensor([[2, 0, -1], [-1, 1, 0]]), 1),
    "scaled_dot_product_attention": lambda f: f(ramp(1, 3, 2), ramp(1, 3, 2), ramp(1, 3, 2), is_causal=True),
}


@pytest.mark.parametrize("name", [name for name in TWINS if hasattr(_C, name)])
def test_core_agrees_with_composite(name):
    call = TWINS[name]
    expected = call(_composite.FALLBACKS[name]).numpy()
    np.testing.assert_allclose(call(getattr(_C, name)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_missing_operator_is_named():
    with pytest.raises(NotImplementedError, match="no_such_operator"):
        _composite.core("no_such_operator")()


# random functions


def test_dropout_draws_and_gradient():
    torch.manual_seed(0)
    x = ramp(8).requires_grad_()
    y = F.dropout(x, 0.5)
    kept = torch.tensor(KEPT)
    assert torch.equal(y, x * kept * 2)
    y.sum().backward()
    assert torch.equal(x.grad, kept * 2)


KEPT = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]


def test_dropout_special_probabilities():
    x = ramp(8)
    state = torch.get_rng_state()
    assert F.dropout(x, 0.5, training=False) is x or torch.equal(F.dropout(x, 0.5, training=False), x)
    assert torch.equal(F.dropout(x, 0.0), x)
    assert torch.equal(F.dropout(x, 1.0), torch.zeros(8))
    assert torch.equal(torch.get_rng_state(), state)
    y = x.clone()
    assert F.dropout(y, 0.5, inplace=True) is y
    assert bool(((y == 0) | (y == 2 * x)).all())


def test_channel_dropout_drops_whole_channels():
    torch.manual_seed(3)
    for function, shape in (
        (F.dropout1d, (4, 5, 6)),
        (F.dropout2d, (4, 5, 2, 3)),
        (F.dropout3d, (4, 5, 2, 3, 2)),
    ):
        y = function(torch.ones(shape), 0.4)
        channels = y.reshape(20, -1)
        assert torch.equal(channels, channels[:, :1].expand_as(channels))
        assert set(np.unique(y.numpy().round(5))) == {0.0, np.float32(1 / 0.6).round(5)}


def test_alpha_dropout_values():
    torch.manual_seed(0)
    y = F.alpha_dropout(ramp(8), 0.3, training=True)
    np.testing.assert_allclose(
        y.numpy(),
        [-1.05955, -1.05955, -0.527172, -1.05955, 0.213469, -1.05955, 0.95411, -0.397475],
        rtol=1e-5,
    )


def test_rrelu_draws():
    torch.manual_seed(0)
    y = F.rrelu(ramp(6), training=True)
    np.testing.assert_allclose(
        y.numpy(), [-0.654189, 0.430129, -0.310537, 1.29039, -0.0616836, -0.585917], rtol=1e-5
    )


def test_gumbel_softmax():
    torch.manual_seed(0)
    soft = F.gumbel_softmax(ramp(2, 3))
    np.testing.assert_allclose(
        soft.numpy(), [[0.0213327, 0.69103, 0.287637], [0.633159, 0.322469, 0.0443722]], rtol=1e-4
    )
    logits = ramp(2, 3).requires_grad_()
    hard = F.gumbel_softmax(logits, hard=True)
    assert sorted(hard.detach().numpy().round(6).ravel()) == [0, 0, 0, 0, 1, 1]
    (hard * ramp(2, 3)).sum().backward()
    assert float(logits.grad.abs().sum()) > 0


def test_inplace_forms_overwrite():
    for function in (
        F.relu,
        F.relu6,
        F.hardtanh,
        F.leaky_relu,
        F.elu,
        F.celu,
        F.selu,
        F.silu,
        F.mish,
        F.hardswish,
    ):
        x = ramp(6)
        y = x.clone()
        assert function(y, inplace=True) is y
        np.testing.assert_allclose(y.numpy(), function(x).numpy(), rtol=1e-6)


def test_instance_norm_updates_running_statistics():
    mean, var = torch.zeros(2), torch.ones(2)
    x = ramp(3, 2, 4)
    F.instance_norm(x, mean, var, momentum=0.5)
    np.testing.assert_allclose(mean.numpy(), 0.5 * x.numpy().mean((0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), 0.5 + 0.5 * x.numpy().var(2, ddof=1).mean(0), rtol=1e-5)


def test_batch_norm_updates_running_statistics():
    mean, var = torch.zeros(2), torch.ones(2)
    x = ramp(3, 2, 4)
    F.batch_norm(x, mean, var, training=True, momentum=0.5)
    np.testing.assert_allclose(mean.numpy(), 0.5 * x.numpy().mean((0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), 0.5 + 0.5 * x.numpy().var((0, 2), ddof=1), rtol=1e-5)


def test_masked_query_attends_to_nothing():
    mask = torch.tensor([[False, False], [True, False]])
    y = _composite.FALLBACKS["scaled_dot_product_attention"](ramp(2, 3), ramp(2, 3), ramp(2, 3), mask)
    assert torch.equal(y[0], torch.zeros(3))
    assert torch.equal(y[1], ramp(2, 3)[0])


def test_embedding_padding_and_frequency_gradients():
    weight = ramp(3, 2).requires_grad_()
    F.embedding(torch.tensor([0, 1, 1]), weight, padding_idx=0).sum().backward()
    assert weight.grad.tolist() == [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    weight.grad = None
    F.embedding(torch.tensor([0, 1, 1]), weight, scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]


def test_softmax_without_dim_warns():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax has been deprecated"):
        F.softmax(ramp(2, 3))


ERRORS = pairs("nn_errors.txt")


@pytest.mark.parametrize("expression, expected", ERRORS, ids=[case[0] for case in ERRORS])
def test_errors(expression, expected):
    kind, message = expected.split(": ", 1)
    names = {"F": F, "nn": torch.nn, "torch": torch, "o": torch.ones}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as caught:
            eval(expression, names)
    assert (
        f"{type(caught.value).__name__}: {str(caught.value).strip()}".split("\n")[0] == f"{kind}: {message}"
    )
