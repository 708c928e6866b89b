"""autograd beyond backward(): vectorized Jacobians, edges in place of tensors, mutation of what is saved, nested anomaly
reports, vmap rules of custom Functions."""

import warnings

import numpy as np
import pytest

import rushlight as torch
from rushlight.autograd import Function, backward, functional, grad, graph

X = [1.0, 2.0, 3.0]


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def sines(x):
    return x.sin() * x


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorized_jacobians(strategy):
    x = torch.tensor(X)
    close(functional.jacobian(sines, x, vectorize=True, strategy=strategy), functional.jacobian(sines, x))

    def several(a, b):
        return a * b, b.sum() * torch.ones(2), torch.ones(2)

    expected = functional.jacobian(several, (x, x.double()))
    found = functional.jacobian(several, (x, x.double()), vectorize=True, strategy=strategy)
    for row, wanted in zip(found, expected, strict=True):
        for a, b in zip(row, wanted, strict=True):
            assert a.shape == b.shape
            close(a, b)


def test_vectorized_jacobian_is_differentiable():
    x = torch.tensor(X, requires_grad=True)
    functional.jacobian(sines, x, vectorize=True, create_graph=True).sum().backward()
    found, x.grad = x.grad, None
    functional.jacobian(sines, x, create_graph=True).sum().backward()
    close(found, x.grad)


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorized_hessian(strategy):
    def f(x, y):
        return (x**3 * y).sum()

    x, y = torch.tensor(X), torch.tensor([0.5, 1.0, 2.0])
    found = functional.hessian(f, (x, y), vectorize=True, outer_jacobian_strategy=strategy)
    for row, wanted in zip(found, functional.hessian(f, (x, y)), strict=True):
        for a, b in zip(row, wanted, strict=True):
            close(a, b)


@pytest.mark.parametrize(
    "options, kind, text",
    [
        ({"strategy": "forward-mode"}, NotImplementedError, "for `vectorize=True`"),
        ({"strategy": "sideways"}, AssertionError, 'either "forward-mode" or "reverse-mode"'),
        ({"strategy": "forward-mode", "create_graph": True}, NotImplementedError, "`create_graph=True` and"),
        ({"strategy": "forward-mode", "strict": True}, RuntimeError, "`strict=True` and `strategy"),
        ({"vectorize": True, "strict": True}, RuntimeError, "`strict=True` and `vectorized=True`"),
    ],
)
def test_options_that_exclude_each_other(options, kind, text):
    with pytest.raises(kind, match=text):
        functional.jacobian(sines, torch.tensor(X), **options)


def test_edges_stand_for_tensors():
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = a * 2
    c = b**2
    edge, leaf, end = (graph.get_gradient_edge(t) for t in (b, a, c))
    (g,) = grad(c.sum(), edge, retain_graph=True)
    assert g.tolist() == [4.0, 8.0]
    (g,) = grad(c.sum(), leaf, retain_graph=True)
    assert g.tolist() == [8.0, 16.0]
    del c  # the edge keeps the graph
    (g,) = grad(end, a, torch.ones(2), retain_graph=True)
    assert g.tolist() == [8.0, 16.0]
    (g,) = grad([end, edge], [a], [torch.ones(2), torch.ones(2)], retain_graph=True)
    assert g.tolist() == [10.0, 18.0]
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        grad(end, a, retain_graph=True)
    with pytest.raises(RuntimeError, match="shape"):
        grad(end, a, torch.ones(3), retain_graph=True)
    backward(end, torch.ones(2), retain_graph=True, inputs=[leaf])
    assert a.grad.tolist() == [8.0, 16.0]
    backward(end, torch.ones(2))
    assert a.grad.tolist() == [16.0, 32.0]


def test_edges_of_several_outputs():
    x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    values, _ = x.sort()
    parts = values.split([1, 2])
    edge = graph.get_gradient_edge(parts[1])
    (g,) = grad((parts[1] * torch.tensor([5.0, 7.0])).sum(), edge)
    assert g.tolist() == [5.0, 7.0]


def test_what_is_saved_may_change():
    with graph.allow_mutation_on_saved_tensors():
        a = torch.ones(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum()
        b.sin_()
        out.backward()
        assert (a.grad == 2.0).all()
        with pytest.raises(RuntimeError, match="nested"), graph.allow_mutation_on_saved_tensors():
            pass
        late = (a.clone() ** 2).sum()
    with pytest.raises(AssertionError, match="outside of the 'allow_mutation_on_saved_tensors' context"):
        late.backward()


def test_anomalies_name_the_chain_of_derivatives():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.autograd.set_detect_anomaly(True)
    try:
        x = torch.tensor(0.0, requires_grad=True)
        y = x**1.5
        (g,) = grad(y, x, create_graph=True)  # g's nodes are made while y's are evaluated
        with pytest.warns(UserWarning) as seen, pytest.raises(RuntimeError, match="nan values"):
            grad(g * 0, x)
    finally:
        torch.autograd.set_detect_anomaly(False)
    first, second = (str(w.message) for w in seen)
    assert first.startswith("Error detected in PowBackward0. Traceback of forward call that caused the error:\n")
    assert "(g,) = grad(y, x, create_graph=True)" in first
    assert second.startswith("\n\nPrevious calculation was induced by PowBackward0. Traceback of forward call that induced")
    assert "y = x**1.5" in second


class WithRule(Function):
    calls = []

    @staticmethod
    def forward(x, k):
        return x * k

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.k = inputs[1]

    @staticmethod
    def backward(ctx, g):
        return g * ctx.k, None

    @staticmethod
    def vmap(info, in_dims, x, k):
        WithRule.calls.append((info.batch_size, info.randomness, in_dims))
        return WithRule.apply(x, k), in_dims[0]


def test_a_function_brings_its_own_rule_for_vmap():
    WithRule.calls.clear()
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.vmap(WithRule.apply, in_dims=(0, None))(x, 2).tolist() == (x * 2).tolist()
    assert torch.vmap(lambda x: WithRule.apply(x, 2), in_dims=1, out_dims=1)(x).tolist() == (x * 2).tolist()
    assert WithRule.calls == [(2, "error", (0, None)), (3, "error", (0, None))]
    slopes = torch.vmap(torch.func.grad(lambda x: (WithRule.apply(x, 3) ** 2).sum()))(x)
    close(slopes, 18 * x)
    leaf = x.clone().requires_grad_()
    torch.vmap(lambda x: WithRule.apply(x, 5))(leaf).sum().backward()
    assert (leaf.grad == 5.0).all()
    nested = torch.vmap(torch.vmap(lambda x: WithRule.apply(x, 2)))(x)
    assert nested.tolist() == (x * 2).tolist()


def test_a_generated_rule_and_one_of_its_own_exclude_each_other():
    class Both(WithRule):
        generate_vmap_rule = True

    with pytest.raises(RuntimeError, match="has both generate_vmap_rule=True and an overridden vmap"):
        torch.vmap(lambda x: Both.apply(x, 2))(torch.ones(2, 3))

    class OldStyle(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def vmap(info, in_dims, x):
            return x, in_dims[0]

    with pytest.raises(RuntimeError, match="must override the setup_context staticmethod"):
        torch.vmap(OldStyle.apply)(torch.ones(2, 3))


def test_switches_without_an_effect():
    with torch.autograd.set_multithreading_enabled(False), torch.autograd.enforce_grad_layout_policy(False):
        x = torch.ones(2, requires_grad=True)
        (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]

    @torch.autograd.set_multithreading_enabled(True)
    def f():
        return 1

    assert f() == 1
    with pytest.raises(NotImplementedError):
        torch.autograd.NestedIOFunction().forward_extended()


def test_a_look_inside_batched_tensors():
    x = torch.arange(6.0).reshape(2, 3)
    seen = []

    def f(row):
        seen.append(torch.func.debug_unwrap(row))
        return torch.vmap(inner)(row)

    def inner(element):
        seen.append((torch.func.debug_unwrap(element), torch.func.debug_unwrap(element, recurse=False).shape))
        return element

    torch.vmap(f)(x)
    assert torch.equal(seen[0], x) and torch.equal(seen[1][0], x) and seen[1][1] == (3,)
    assert torch.func.debug_unwrap(x) is x
