"""Selective checkpoints: which operators keep their outputs, what policies see, and that gradients stay the same."""

from functools import partial

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

F = nn.functional
aten = torch.ops.aten


def run(f, *args, policy, **options):
    contexts = partial(create_selective_checkpoint_contexts, policy, **options)
    return checkpoint(f, *args, use_reentrant=False, context_fn=contexts)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 2, 3), nn.Linear(8, 4)

    def forward(self, x):
        x = F.dropout(self.conv(x).relu().flatten(1), 0.5, True)
        x = self.linear(x)
        return F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]).softmax(-1).sin()


def gradients(wrap):
    torch.manual_seed(0)
    net = Net()
    x = torch.randn(3, 1, 4, 4, requires_grad=True)
    wrap(net, x).sum().backward()
    return [p.grad.numpy() for p in (x, *net.parameters())]


MATRIX = [aten.convolution.default, aten.addmm.default, aten.mm.default]
EVERYTHING = lambda ctx, op, *args, **kwargs: CheckpointPolicy.MUST_SAVE  # noqa: E731
NOTHING = lambda ctx, op, *args, **kwargs: False  # noqa: E731


@pytest.mark.parametrize("policy", [MATRIX, EVERYTHING, NOTHING], ids=["matrix", "everything", "nothing"])
def test_gradients_are_the_same(policy):
    expected = gradients(lambda net, x: net(x))
    for found, wanted in zip(gradients(lambda net, x: run(net, x, policy=policy)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_a_policy_sees():
    seen = []

    def policy(ctx, op, *args, **kwargs):
        assert not ctx.is_recompute and isinstance(ctx.op_output, torch.Tensor)
        seen.append(str(op))
        return CheckpointPolicy.PREFER_RECOMPUTE

    x = torch.randn(2, 3, 4, requires_grad=True)
    w = torch.randn(4, 5)

    def f(x):
        x = (x @ w).relu() + 1
        x = F.linear(x[0], torch.ones(3, 5), torch.ones(3))
        return F.linear(x, torch.ones(2, 3)).exp().sum()

    run(f, x, policy=policy).backward()
    seen = [op for op in seen if "view" not in op]
    assert seen == ["aten.mm.default", "aten.relu.default", "aten.add.Tensor", "aten.addmm.default", "aten.mm.default",
                    "aten.exp.default", "aten.sum.default"]  # fmt: skip


def test_what_is_kept_is_not_computed_again():
    def f(x):
        return x.exp().sin().sum()

    def spoil(policy):
        kept = []

        def watch(ctx, op, *args, **kwargs):
            keep = policy(op)
            if op is aten.exp.default:
                kept.append(ctx.op_output)
            return keep

        x = torch.zeros(2, requires_grad=True)
        out = run(f, x, policy=watch, allow_cache_entry_mutation=True)
        with torch.no_grad():
            kept[0].fill_(0.0)
        out.backward()
        return x.grad[0].item()

    right = np.cos(1.0)
    assert spoil(lambda op: False) == pytest.approx(right)
    assert spoil(lambda op: op is aten.exp.default) == pytest.approx(0.0)  # exp's output as it was left


def test_a_changed_output_is_an_error():
    outputs = []

    def f(x):
        outputs.append(x.exp())
        return outputs[0].sin().sum()

    out = run(f, torch.zeros(2, requires_grad=True), policy=[aten.exp.default])
    with torch.no_grad():
        outputs[0].add_(1)
    with pytest.raises(
        RuntimeError, match="Tensor cached during selective activation checkpoint has been mutated"
    ):
        out.backward()


def test_backward_twice():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    out = run(lambda x: x.exp().sin().sum(), x, policy=[aten.exp.default])
    out.backward(retain_graph=True)
    first = x.grad.clone()
    out.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * first.numpy())


def test_arguments():
    with pytest.raises(TypeError, match="either a function or a list of ops"):
        create_selective_checkpoint_contexts(3)
    with pytest.raises(ValueError, match="update the OpOverloadPacket to a specific OpOverload"):
        create_selective_checkpoint_contexts([aten.mm])
