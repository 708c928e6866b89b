"""vmap: every operator of the table on batched tensors against one slice after the other; nesting, randomness, errors."""

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap
from rushlight.testing.samples import op_table, samples


def tensors_of(result):
    return [t for t in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(t, rl.Tensor)]


def same(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), 1e-6, 1e-8, equal_nan=True)


def first_dims(sample):
    """The sample's arguments with every float64 tensor three times over, scaled; how to call the operator with them."""
    args, kwargs = sample.tensors(rl.float64)
    batches = []

    def batch(value):
        if isinstance(value, rl.Tensor) and value.dtype == rl.float64:
            batches.append(rl.stack([value, value * 0.75, value * 0.5]))
            return len(batches) - 1, ...
        if isinstance(value, (list, tuple)):
            return type(value)(batch(v) for v in value)
        return value

    marked = tuple(batch(a) for a in args), {k: batch(v) for k, v in kwargs.items()}

    def fill(value, slices):
        if isinstance(value, tuple) and len(value) == 2 and value[1] is ...:
            return slices[value[0]]
        if isinstance(value, (list, tuple)):
            return type(value)(fill(v, slices) for v in value)
        return value

    def arguments(slices):
        return fill(marked[0], slices), {k: fill(v, slices) for k, v in marked[1].items()}

    return batches, arguments


# the shape of the result depends on the values, or the result on memory that nobody wrote
NOT_BATCHED = {"nonzero", "masked_select", "_unique", "unique", "unique_consecutive", "empty_like", "argwhere", "bincount",
               "histc", "repeat_interleave", "as_strided"}  # fmt: skip


@pytest.mark.parametrize("op", [op for op in op_table() if op.name not in NOT_BATCHED], ids=lambda op: op.key)
def test_every_operator(op):
    checked = 0
    for sample in samples(op):
        batches, arguments = first_dims(sample)
        if not batches:
            continue

        def call(*slices, arguments=arguments):
            args, kwargs = arguments(slices)
            return tuple(tensors_of(op.call(*args, **kwargs)))

        try:
            alone = [call(*[b[i] for b in batches]) for i in range(3)]
            expected = [rl.stack(column) for column in zip(*alone)]
        except (RuntimeError, ValueError, TypeError):
            continue  # not defined for the scaled values, or in float64
        if any(e.dtype.is_complex and op.name in ("linalg_eig", "eig") for e in expected):
            continue
        for got, want in zip(vmap(call)(*batches), expected):
            same(got, want)
        checked += 1
    if not checked:
        pytest.skip("no sample with a floating point tensor")


def test_dimensions_and_structures():
    x = rl.arange(24.0).view(2, 3, 4)
    same(vmap(lambda r: r.sum(0), in_dims=1)(x), x.sum(0).sum(-1, keepdim=True).expand(3, 4) * 0 + x.permute(1, 0, 2).sum(1))
    same(vmap(lambda a, b: a + b, in_dims=(2, None), out_dims=1)(x, x[..., 0]), (x + x[..., :1]).movedim(2, 1))
    got = vmap(lambda d: {"a": d["x"] * 2, "b": [d["y"].sum()]}, in_dims=({"x": 0, "y": 1},))({"x": x[:, 0], "y": x[0, :, :2]})
    same(got["a"], x[:, 0] * 2), same(got["b"][0], x[0, :, :2].sum(0))
    same(vmap(rl.dot, chunk_size=2)(x[0], x[1]), (x[0] * x[1]).sum(1))
    assert vmap(lambda r: r * 2)(rl.ones(0, 2)).shape == (0, 2)
    assert vmap(lambda r: rl.ones(2))(x).shape == (2, 2)


def test_views_and_in_place_writes():
    x = rl.arange(6.0).view(3, 2)

    def f(row):
        y = row.clone()
        y[0] += 10
        y.mul_(row)
        y.view(2, 1).add_(1)
        return y

    same(vmap(f)(x), rl.stack([f(r) for r in x]))
    same(vmap(grad(lambda row: f(row * 1.0).sum()))(x), rl.stack([grad(lambda row: f(row * 1.0).sum())(r) for r in x]))
    with pytest.raises(RuntimeError, match="vmap: inplace arithmetic"):
        vmap(lambda r: rl.ones(2).add_(r))(x)


def test_nesting_with_derivatives():
    w, xs = rl.randn(3, 3, dtype=rl.float64), rl.randn(4, 3, dtype=rl.float64)

    def loss(w, x):
        return rl.tanh(w @ x).pow(2).sum()

    same(vmap(grad(loss), in_dims=(None, 0))(w, xs), rl.stack([grad(loss)(w, x) for x in xs]))
    same(grad(lambda w: vmap(loss, in_dims=(None, 0))(w, xs).sum())(w), vmap(grad(loss), in_dims=(None, 0))(w, xs).sum(0))
    same(vmap(hessian(loss, 1), in_dims=(None, 0))(w, xs), rl.stack([hessian(loss, 1)(w, x) for x in xs]))
    same(vmap(vmap(lambda a, b: a * b, (None, 0)), (0, None))(xs[0], xs[1]), rl.outer(xs[0], xs[1]))
    f = lambda x: rl.softmax(w @ x, 0)  # noqa: E731
    same(jacrev(f)(xs[0]), jacfwd(f)(xs[0]))
    same(jacrev(jacfwd(f))(xs[0]), jacfwd(jacrev(f))(xs[0]))
    same(jacrev(f, chunk_size=2)(xs[0]), jacrev(f)(xs[0]))
    same(vmap(lambda x: jvp(f, (x,), (x,))[1])(xs), rl.stack([jvp(f, (x,), (x,))[1] for x in xs]))
    same(jvp(lambda w: vmap(loss, in_dims=(None, 0))(w, xs), (w,), (w,))[1],
         rl.stack([jvp(lambda w, x=x: loss(w, x), (w,), (w,))[1] for x in xs]))  # fmt: skip
    value, product = vjp(lambda x: vmap(f)(x), xs)
    same(product(rl.ones_like(value))[0], rl.stack([vjp(f, x)[1](rl.ones(3, dtype=rl.float64))[0] for x in xs]))
    assert not vmap(grad(loss), in_dims=(None, 0))(w, xs).requires_grad


def test_ensembles_and_gradients_per_sample():
    models = [nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    x = rl.randn(5, 3)
    together = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))(parameters, buffers)
    np.testing.assert_allclose(together.detach(), rl.stack([m(x) for m in models]).detach(), 1e-5, 1e-6)
    single = {k: p.detach() for k, p in models[0].named_parameters()}
    loss = lambda p, x, t: nn.functional.cross_entropy(functional_call(models[0], p, (x,)), t)  # noqa: E731
    targets = rl.tensor([0, 1, 1, 0, 1])
    rows = vmap(grad(loss), in_dims=(None, 0, 0))(single, x, targets)
    alone = grad(loss)(single, x[2], targets[2])
    for k in single:
        np.testing.assert_allclose(rows[k][2], alone[k], 1e-4, 1e-6)


def test_functionalize_gives_results_of_their_own():
    def doubled(x):
        flat = x.view(-1)
        flat.mul_(2)
        return flat, x, x.sum()

    x = rl.ones(2, 2)
    flat, same, total = rl.func.functionalize(doubled)(x)
    assert x.tolist() == same.tolist() == [[2, 2], [2, 2]] and total == 8
    same.zero_(), flat.zero_()
    assert x.sum() == 8
    calls = rl.func.functionalize(lambda x: x.clone().mul_(x), remove="mutations_and_views")
    assert rl.func.vmap(calls)(x).tolist() == [[4, 4], [4, 4]]
    assert rl.func.grad(lambda x: calls(x).sum())(x).tolist() == [[4, 4], [4, 4]]
    with pytest.raises(RuntimeError, match="received invalid argument for remove=views"):
        rl.func.functionalize(doubled, remove="views")


def test_randomness():
    x = rl.zeros(4, 3)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(lambda r: rl.rand(3))(x)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(rl.bernoulli)(x)
    for draw in (lambda r: rl.rand(3), lambda r: rl.rand_like(r), lambda r: nn.functional.dropout(r + 1, 0.5)):
        same_rows = vmap(draw, randomness="same")(x)
        assert (same_rows == same_rows[0]).all()
        rl.manual_seed(1)
        different = vmap(draw, randomness="different")(x)
        assert different.shape == (4, 3) and not (different == different[0]).all()
    rl.rand(2)  # outside again


def test_what_has_no_slices():
    x = rl.ones(3)
    for f, text in [
        (lambda r: r.item(), r"calling .item\(\) on a Tensor"),
        (lambda r: r if r > 0 else -r, "data-dependent control flow"),
        (lambda r: r.view(1).nonzero(), "dynamic shape. Attempted to vmap over aten::nonzero"),
    ]:
        with pytest.raises(RuntimeError, match=text):
            vmap(f)(x)
    same(vmap(lambda r: rl.fft.fft(r).abs())(rl.ones(2, 4)), rl.fft.fft(rl.ones(2, 4)).abs())  # through NumPy


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: vmap(lambda x: x)(3), "We cannot vmap over non-Tensor arguments"),
        (lambda x: vmap(lambda x: 3)(x), "must only return Tensors, got type <class 'int'>"),
        (lambda x: vmap(lambda x: x, in_dims=3)(x), "expected in_dim to satisfy -1 <= in_dim < 1"),
        (lambda x: vmap(lambda x: x, in_dims=(0, 0))(x), "in_dims is not compatible with the structure of `inputs`"),
        (lambda x: vmap(lambda x: x, out_dims=None)(x), "can not return a BatchedTensor when out_dim is None"),
        (lambda x: vmap(lambda x: x, out_dims=(0, 0))(x), "out_dims is not compatible with the structure of `outputs`"),
        (lambda x: vmap(lambda x, y: x)(x, rl.ones(3)), "Expected all tensors to have the same size in the mapped dimension"),
        (lambda x: vmap(lambda x: x, chunk_size=0)(x), "chunk_size should be None or greater than 0"),
        (lambda x: vmap(lambda x: x)(), "got no inputs"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call(rl.ones(2))
