"""utils.checkpoint: gradients, what is run again and when, random numbers, nesting, errors."""

import contextlib

import pytest

import rushlight as rl
from rushlight import nn
from rushlight.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)

BOTH = pytest.mark.parametrize("use_reentrant", [False, True])


def net():
    rl.manual_seed(0)
    return nn.Sequential(*[m for _ in range(4) for m in (nn.Linear(5, 5), nn.Tanh(), nn.Dropout(0.3))])


def gradients(use_reentrant, run):
    model, x = net(), rl.randn(3, 5).requires_grad_()
    rl.manual_seed(1)
    y = run(model, x)
    y.sum().backward()
    after = rl.rand(1)
    return [y.detach(), x.grad, after, *(p.grad for p in model.parameters())]


@BOTH
def test_gradients_are_the_same_bits(use_reentrant):
    plain = gradients(use_reentrant, lambda model, x: model(x))
    kept = gradients(use_reentrant, lambda model, x: checkpoint(model, x, use_reentrant=use_reentrant))
    parts = gradients(use_reentrant, lambda model, x: checkpoint_sequential(model, 3, x, use_reentrant=use_reentrant))
    for a, b, c in zip(plain, kept, parts):
        assert rl.equal(a, b) and rl.equal(a, c)


def test_nothing_is_kept_and_the_second_run_stops_early():
    calls = []

    def f(x):
        calls.append("start")
        y = x.exp()
        z = y.sin()
        calls.append("end")
        return z

    x = rl.ones(3, requires_grad=True)
    checkpoint(f, x, use_reentrant=False).sum().backward()
    assert calls == ["start", "end", "start"]
    calls.clear()
    with set_checkpoint_early_stop(False):
        checkpoint(f, x, use_reentrant=False).sum().backward()
    assert calls == ["start", "end", "start", "end"]
    calls.clear()
    with rl.no_grad():
        checkpoint(f, x, use_reentrant=False)
    assert calls == ["start", "end"]
    y = checkpoint(f, x, use_reentrant=False).sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_nested_and_differentiated_twice():
    x = rl.tensor([0.3, 0.7], dtype=rl.float64, requires_grad=True)

    def inner(x):
        return x.sin().exp()

    def outer(x):
        return checkpoint(inner, x * x, use_reentrant=False).cos()

    assert rl.autograd.gradcheck(lambda x: checkpoint(outer, x, use_reentrant=False), (x,))
    assert rl.autograd.gradgradcheck(lambda x: checkpoint(outer, x, use_reentrant=False), (x,))


def test_contexts_and_keywords():
    seen = []

    @contextlib.contextmanager
    def noted(name):
        seen.append(name)
        yield

    x = rl.ones(2, requires_grad=True)
    y = checkpoint(lambda x, scale: x.exp() * scale, x, scale=3, use_reentrant=False,
                   context_fn=lambda: (noted("first"), noted("second")))  # fmt: skip
    y.sum().backward()
    assert seen == ["first", "second"] and rl.allclose(x.grad, 3 * rl.ones(2).exp())


def changing(first, second):
    calls = []

    def f(x):
        calls.append(1)
        return (first if len(calls) == 1 else second)(x)

    return f


def test_errors():
    x = rl.ones(2, requires_grad=True)
    short, long = (lambda x: x.sin().cos()), (lambda x: x.sin().cos().exp())
    with pytest.raises(CheckpointError, match="A different number of tensors was saved during the original forward"):
        checkpoint(changing(long, short), x, use_reentrant=False).sum().backward()
    wide = changing(lambda x: x.exp(), lambda x: (x * rl.ones(2, 2)).exp())
    with pytest.raises(CheckpointError, match="have different metadata than during the forward pass"):
        checkpoint(wide, x, use_reentrant=False).sum().backward()
    with set_checkpoint_debug_enabled(True), pytest.raises(CheckpointError, match="aten::exp.*\n.*aten::cos"):
        checkpoint(changing(long, short), x, use_reentrant=False).sum().backward()
    with pytest.raises(RuntimeError, match=r"incompatible with .grad\(\)"):
        rl.autograd.grad(checkpoint(short, x, use_reentrant=True).sum(), x)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: foo"):
        checkpoint(short, x, use_reentrant=True, foo=1)
    with pytest.raises(ValueError, match="determinism_check should be one of"):
        checkpoint(short, x, use_reentrant=False, determinism_check="x")
    with pytest.warns(UserWarning, match="the use_reentrant parameter should be passed explicitly"):
        checkpoint(short, x)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(short, x.detach(), use_reentrant=True)
    changed = rl.ones(2)
    y = checkpoint(lambda w: w * x.exp(), changed, use_reentrant=False)
    changed.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
