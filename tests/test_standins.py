"""What libraries import beside tensors and modules: jit, fx, compiler, distributed, library, ops, pytree. Each does what it
says, runs eagerly, or raises NotImplementedError."""

from collections import OrderedDict, namedtuple
from typing import get_args

import numpy as np
import pytest

import rushlight as torch
from rushlight.utils import _pytree as pytree


def test_jit_gives_back_what_it_is_given():
    def f(x):
        return 2 * x

    net = torch.nn.Linear(2, 2)
    assert torch.jit.script(f) is f and torch.jit.trace(f, torch.ones(2)) is f and torch.jit.script(net) is net
    assert torch.jit.ignore(f) is f and torch.jit.ignore(drop=True)(f) is f and torch.jit.export(f) is f
    assert torch.jit.unused(f) is f and torch.jit.freeze(net.eval()) is net
    assert not torch.jit.is_scripting() and not torch.jit.is_tracing()
    assert not isinstance(net, torch.jit.ScriptModule)
    assert torch.jit.isinstance([1], list[int])
    for missing in (lambda: torch.jit.save(net, "x"), lambda: torch.jit.load("x")):
        with pytest.raises(NotImplementedError, match="no TorchScript"):
            missing()
    with pytest.raises(RuntimeError, match="eval mode"):
        torch.jit.freeze(net.train())


def test_nothing_is_compiled_traced_or_distributed():
    @torch.compiler.disable
    def f(x):
        return x + 1

    assert f(1) == 2 and torch.compiler.disable()(f) is f and torch.compiler.disable(recursive=False)(f) is f
    assert not torch.compiler.is_compiling() and not torch._dynamo.is_compiling()
    assert not torch.distributed.is_available() and not torch.distributed.is_initialized()
    assert not hasattr(torch.distributed, "init_process_group")
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
    assert torch.fx.wrap(f) is f and not isinstance(1, torch.fx.Proxy)
    with pytest.raises(NotImplementedError, match="symbolic tracing"):
        torch.fx.symbolic_trace(f)
    with pytest.raises(NotImplementedError, match="ONNX"):
        torch.onnx.export(f)
    assert not torch.accelerator.is_available() and torch.accelerator.current_accelerator() is None


def test_legacy_types_in_annotations():
    assert get_args(torch.LongTensor | None) == (torch.LongTensor, type(None))
    assert get_args(None | torch.FloatTensor) == (type(None), torch.FloatTensor)


def test_custom_operators():
    @torch.library.custom_op("standins::scaled", mutates_args=())
    def scaled(x: torch.Tensor, by: float = 2.0) -> torch.Tensor:
        return torch.from_numpy(x.numpy() * by)

    @scaled.register_fake
    def _(x, by=2.0):
        return torch.empty_like(x)

    scaled.register_autograd(
        lambda ctx, g: (g * ctx.by, None),
        setup_context=lambda ctx, inputs, output: setattr(ctx, "by", inputs[1]),
    )
    op = torch.ops.standins.scaled
    assert op is torch.ops.standins.scaled and op.default is op.default
    with torch.no_grad():
        assert op.default(torch.ones(3), 4.0).tolist() == [4.0] * 3
    out = op(torch.ones(2, device="meta"), 2.0)
    assert out.is_meta
    with pytest.raises(ValueError, match="namespace::name"):
        torch.library.custom_op("scaled", scaled)


def test_custom_operators_are_differentiated():
    @torch.library.custom_op("standins::cube", mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.detach().numpy() ** 3)

    def setup(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    torch.library.register_autograd(
        "standins::cube", lambda ctx, g: g * 3 * ctx.saved_tensors[0] ** 2, setup_context=setup
    )
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(torch.ops.standins.cube, (x,))


def test_a_library_by_hand():
    library = torch.library.Library("standins2", "DEF")
    library.define("plus_one(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="standins2::plus_one"):
        torch.ops.standins2.plus_one(torch.ones(1))
    library.impl("plus_one", lambda x: x + 1, "CPU")
    assert torch.ops.standins2.plus_one(torch.ones(1)).item() == 2.0
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        torch.ops.standins2.nothing  # noqa: B018
    with pytest.raises(OSError, match="cannot be loaded"):
        torch.ops.load_library("x.so")


def test_operators_by_name():
    mm = torch.ops.aten.mm.default
    assert mm is torch.ops.aten.mm.default and str(mm) == "aten.mm.default" and mm.name() == "aten::mm"
    assert mm(torch.eye(2), torch.ones(2, 2)).tolist() == [[1, 1], [1, 1]]
    assert torch.ops.aten.sum.dim_IntList.name() == "aten::sum.dim_IntList"
    with pytest.raises(AttributeError):
        torch.ops.aten.no_such_operator  # noqa: B018


def test_pytrees():
    Point = namedtuple("Point", "x y")
    tree = {"a": [1, (2, 3)], "b": Point(4, OrderedDict(c=5))}
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, 5] and spec.num_leaves == 5
    assert pytree.tree_unflatten(leaves, spec) == tree
    assert pytree.tree_map(lambda a, b: a * b, tree, tree)["b"] == Point(16, OrderedDict(c=25))
    assert pytree.tree_map_only(int, str, [1, "x"]) == ["1", "x"]
    assert pytree.tree_leaves([1, [2, 3]], is_leaf=lambda x: x == [2, 3]) == [1, [2, 3]]
    with pytest.raises(ValueError, match="holds 5 items"):
        spec.unflatten([1])

    class Box:
        def __init__(self, inside):
            self.inside = inside

    pytree.register_pytree_node(Box, lambda b: ([b.inside], None), lambda c, _: Box(c[0]))
    assert pytree.tree_map(lambda v: v + 1, [Box(1)])[0].inside == 2
    with pytest.raises(ValueError, match="already registered"):
        pytree.register_pytree_node(Box, None, None)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(n, reverse):
    from rushlight._higher_order_ops import associative_scan

    a, b = torch.rand(n, 2), torch.rand(n, 2)

    def affine(left, right):
        return left[0] * right[0], left[1] * right[0] + right[1]

    _, result = associative_scan(affine, (a, b), 0, reverse=reverse)
    order = range(n)[::-1] if reverse else range(n)
    state = np.zeros(2, np.float32)
    for i in order:
        state = state * a[i].numpy() + b[i].numpy()
        np.testing.assert_allclose(result[i].numpy(), state, rtol=1e-5)
