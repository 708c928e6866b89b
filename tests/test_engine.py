"""The backward engine: order, accumulation, long chains, release, several passes at once, hooks, what autograd.grad runs."""

import gc
import threading
import weakref

import pytest

import rushlight as torch


def leaf(*values, dtype=None):
    return torch.tensor(list(values), dtype=dtype or torch.float64, requires_grad=True)


SECOND_TIME = "Trying to backward through the graph a second time"


class TestLongChains:
    def test_million_operations_run_and_are_freed(self):
        x = leaf(1.0)
        y = x
        for _ in range(1_000_000):
            y = y + 1
        y.backward()
        assert x.grad.item() == 1
        last = weakref.ref(y)
        del y
        assert last() is None

    def test_chain_through_saved_tensors_is_freed(self):
        # each node saves its input, which owns the node before it
        x = leaf(1.0)
        y = x
        for _ in range(200_000):
            y = y * y
        del y
        y = x
        for _ in range(200_000):
            y = y.exp().log()
        y.backward()
        assert x.grad.item() == pytest.approx(1.0)

    def test_wide_sum(self):
        x = leaf(2.0)
        total = x * 0
        for k in range(10_000):
            total = total + x * k
        total.backward()
        assert x.grad.item() == sum(range(10_000))

    def test_diamond_runs_each_node_once(self):
        # 2**60 paths, 60 nodes
        x = leaf(1.0)
        y = x
        for _ in range(60):
            y = y + y
        y.backward()
        assert x.grad.item() == 2.0**60


class TestAccumulation:
    def test_several_uses_and_calls_add_up(self):
        x = leaf(3.0)
        (x * x + x * 2 + x / x).backward()
        assert x.grad.item() == 8
        (x * 2).backward()
        assert x.grad.item() == 10

    def test_identity_of_grad_is_kept(self):
        x = leaf(1.0, 2.0)
        x.sum().backward()
        first = x.grad
        x.sum().backward()
        assert x.grad is first and first.tolist() == [2, 2]

    def test_given_gradient_is_not_taken_over(self):
        x = leaf(1.0, 2.0)
        g = torch.ones(2, dtype=torch.float64)
        x.clone().backward(g)
        x.clone().backward(g)
        assert g.tolist() == [1, 1] and x.grad.tolist() == [2, 2]
        assert x.grad.data_ptr() != g.data_ptr()

    def test_two_leaves_do_not_share_a_gradient(self):
        a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
        (a + b).sum().backward()
        a.grad.add_(10)
        assert b.grad.tolist() == [1, 1]

    def test_gradient_has_the_layout_of_the_leaf(self):
        x = torch.arange(6.0).view(2, 3).t().requires_grad_()
        (x * 2).sum().backward()
        assert x.grad.stride() == x.stride()

    def test_expanded_gradient_is_written_out(self):
        x = torch.ones(3, 4, requires_grad=True)
        x.sum().backward()
        x.grad[0, 0] = 5
        assert x.grad.sum().item() == 16

    def test_create_graph_accumulates_out_of_place(self):
        x = leaf(2.0)
        with pytest.warns(UserWarning, match="create_graph=True will create a reference cycle"):
            (x**3).sum().backward(create_graph=True)
        first = x.grad
        assert first.requires_grad and first.tolist() == [12]
        (x**3).sum().backward()
        assert first.tolist() == [12] or x.grad is first
        x.grad = None

    def test_leaf_as_root(self):
        x = leaf(4.0)
        x.backward()
        x.sum().backward()
        assert x.grad.item() == 2

    def test_root_inside_another_root(self):
        x = leaf(2.0)
        y = x * 3
        z = y * y
        torch.autograd.backward([y, z])
        assert x.grad.item() == 3 + 2 * 6 * 3

    def test_same_root_twice(self):
        x = leaf(2.0)
        y = (x * 3).sum()
        torch.autograd.backward([y, y])
        assert x.grad.item() == 6


class TestBroadcasting:
    @pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 3), (2, 3), (1, 2, 3), (4, 1, 1)])
    def test_gradient_has_the_shape_of_the_input(self, shape):
        x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
        y = torch.rand(4, 2, 3, dtype=torch.float64, requires_grad=True)
        (x * y).sum().backward()
        assert x.grad.shape == x.shape
        full = torch.autograd.grad((x.expand(4, 2, 3).contiguous() * y).sum(), x)[0]
        assert torch.allclose(x.grad, full)

    def test_dtype_of_the_input(self):
        x = torch.ones(2, dtype=torch.float32, requires_grad=True)
        y = torch.ones(2, dtype=torch.float64, requires_grad=True)
        (x * y).sum().backward()
        assert x.grad.dtype == torch.float32 and y.grad.dtype == torch.float64

    def test_real_input_of_complex_operation(self):
        x = torch.tensor([2.0, 3.0], requires_grad=True)
        (x * (1 + 2j)).abs().sum().backward()
        assert x.grad.dtype == torch.float32
        assert torch.allclose(x.grad, torch.full((2,), 5**0.5))


class TestRelease:
    def test_second_pass_raises(self):
        x = leaf(1.0)
        y = x.exp()
        y.backward()
        with pytest.raises(RuntimeError, match=SECOND_TIME):
            y.backward()

    def test_retain_graph(self):
        x = leaf(1.0)
        y = x * x
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.item() == 4
        with pytest.raises(RuntimeError, match=SECOND_TIME):
            y.backward()

    def test_a_number_counts_as_saved(self):
        x = leaf(1.0)
        y = (x * 2).sum()
        y.backward()
        with pytest.raises(RuntimeError, match=SECOND_TIME):
            y.backward()

    def test_graphs_that_save_nothing_run_again(self):
        x = leaf(1.0, 2.0)
        y = (x + 1).view(2).sum()
        y.backward()
        y.backward()
        assert x.grad.tolist() == [2, 2]

    def test_failed_pass_leaves_no_gradients_behind(self):
        x = leaf(1.0)
        y = x * 2
        z = y * y

        def fail(grad):
            raise ValueError("stop")

        handle = y.register_hook(fail)
        with pytest.raises(ValueError, match="stop"):
            z.backward(retain_graph=True)
        handle.remove()
        z.backward()
        assert x.grad.item() == 8

    def test_saved_output_makes_no_cycle(self):
        x = leaf(1.0)
        y = x.exp()
        seen = weakref.ref(y)
        gc.disable()
        try:
            del y
            assert seen() is None
        finally:
            gc.enable()

    def test_cycle_through_a_hook_is_collected(self):
        x = leaf(1.0)
        x.register_hook(lambda g, x=x: None)
        seen = weakref.ref(x)
        del x
        gc.collect()
        assert seen() is None


class TestSeveralPasses:
    def test_backward_inside_a_hook(self):
        x, w = leaf(2.0), leaf(5.0)

        def hook(grad):
            with torch.enable_grad():  # hooks run with grad mode as create_graph says
                (w * w).sum().backward()

        y = x * 3
        y.register_hook(hook)
        (y * y).sum().backward()
        assert w.grad.item() == 10 and x.grad.item() == 2 * 6 * 3

    def test_backward_over_the_same_graph_inside_a_hook(self):
        x = leaf(2.0)
        y = x * 3
        inner = []

        def hook(grad):
            if not inner:
                inner.append(True)
                inner.append(torch.autograd.grad(z, x, retain_graph=True)[0].item())

        y.register_hook(hook)
        z = (y * y).sum()
        z.backward(retain_graph=True)
        assert inner == [True, 36.0] and x.grad.item() == 36

    def test_recursive_checkpoint(self):
        class Checkpoint(torch.autograd.Function):
            @staticmethod
            def forward(ctx, depth, x):
                ctx.depth = depth
                ctx.save_for_backward(x)
                return run(depth - 1, x.detach()) if depth else x * 2

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                with torch.enable_grad():
                    x = x.detach().requires_grad_()
                    y = run(ctx.depth - 1, x) if ctx.depth else x * 2
                y.backward(grad)
                return None, x.grad

        def run(depth, x):
            return Checkpoint.apply(depth, x * 1.5)

        x = leaf(1.0)
        run(6, x).backward()
        assert x.grad.item() == pytest.approx(1.5**7 * 2)

    def test_threads(self):
        shared = leaf(1.0)
        errors = []

        def work():
            try:
                for _ in range(50):
                    x = leaf(2.0, 3.0)
                    y = x
                    for _ in range(20):
                        y = y * 1.01
                    (y * shared).sum().backward()
                    assert abs(x.grad[0].item() - 1.01**20) < 1e-12
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not errors
        assert shared.grad.item() == pytest.approx(4 * 50 * 5 * 1.01**20)

    def test_grad_mode_is_per_thread(self):
        seen = []
        with torch.no_grad():
            t = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
            t.start()
            t.join()
        assert seen == [True]

    def test_callback_at_the_end(self):
        log = []
        x = leaf(1.0)
        engine = torch.autograd.Variable._execution_engine

        def hook(grad):
            engine.queue_callback(lambda: log.append(("end", x.grad.item())))
            log.append("hook")

        x.register_hook(hook)
        (x * 2).sum().backward()
        assert log == ["hook", ("end", 2.0)]
        with pytest.raises(RuntimeError, match="during backward pass"):
            engine.queue_callback(print)


class TestOrder:
    def test_later_nodes_run_first(self):
        log = []
        x = leaf(1.0)
        a = x * 1
        b = a * 2
        c = a * 3
        for name, t in (("a", a), ("b", b), ("c", c)):
            t.register_hook(lambda g, name=name: log.append(name))
        (b + c).backward()
        assert log == ["c", "b", "a"]

    def test_leaves_come_as_early_as_possible(self):
        log = []
        x, w = leaf(1.0), leaf(2.0)
        y = x * 2
        z = y * w
        w.register_post_accumulate_grad_hook(lambda p: log.append("w"))
        y.register_hook(lambda g: log.append("y"))
        z.backward()
        assert log == ["w", "y"]


class TestHooks:
    def test_tensor_hooks_chain(self):
        log = []
        x = leaf(1.0, 1.0)
        x.register_hook(lambda g: log.append("h1"))
        x.register_hook(lambda g: (log.append("h2"), g * 10)[1])
        x.register_post_accumulate_grad_hook(lambda p: log.append(("post", p.grad.tolist())))
        x.sum().backward()
        assert log == ["h1", "h2", ("post", [10.0, 10.0])]

    def test_order_at_a_non_leaf(self):
        log = []
        x = leaf(1.0, 1.0)
        y = x * 2
        y.retain_grad()
        y.register_hook(lambda g: (log.append("tensor"), g + 1)[1])
        y.grad_fn.register_prehook(lambda g: log.append("node pre"))
        y.grad_fn.register_hook(lambda gi, go: log.append("node post"))
        y.sum().backward()
        assert log == ["tensor", "node pre", "node post"]
        assert y.grad.tolist() == [2, 2] and x.grad.tolist() == [4, 4]

    def test_node_hooks_see_and_replace(self):
        x = leaf(1.0, 1.0)
        y = x * 2
        seen = []
        y.grad_fn.register_hook(lambda gi, go: (seen.append((gi, go)), (gi[0] * 5, None))[1])
        y.grad_fn.register_prehook(lambda go: (go[0] * 3,))
        y.sum().backward()
        (inputs, outputs) = seen[0]
        assert inputs[0].tolist() == [6, 6] and inputs[1] is None and outputs[0].tolist() == [3, 3]
        assert x.grad.tolist() == [30, 30]

    def test_wrong_answers(self):
        x = leaf(1.0, 1.0)
        handle = x.register_hook(lambda g: torch.ones(3))
        with pytest.raises(RuntimeError, match="hook '<lambda>' has changed the size of value"):
            x.sum().backward()
        handle.remove()
        handle = x.register_hook(lambda g: 1)
        with pytest.raises(TypeError, match="expected Variable, but hook returned 'int'"):
            x.sum().backward()
        handle.remove()
        y = x * 2
        y.grad_fn.register_hook(lambda gi, go: 1)
        with pytest.raises(TypeError, match="expected tuple, but hook returned 'int'"):
            y.sum().backward()

    def test_remove_and_with(self):
        x = leaf(1.0)
        with x.register_hook(lambda g: g * 2):
            x.sum().backward()
        x.sum().backward()
        assert x.grad.item() == 3

    def test_hook_may_remove_itself(self):
        x = leaf(1.0)
        handle = x.register_hook(lambda g: handle.remove())
        x.sum().backward()
        x.sum().backward()
        assert x.grad.item() == 2

    def test_hooks_stay_with_the_value_before_an_in_place_write(self):
        log = []
        x = leaf(1.0)
        y = x * 1
        y.register_hook(lambda g: log.append(("old", g.item())))
        y.mul_(2)
        y.register_hook(lambda g: log.append(("new", g.item())))
        y.sum().backward()
        assert log == [("new", 1.0), ("old", 2.0)]

    def test_retain_grad_moves_on_with_an_in_place_write(self):
        x = leaf(1.0)
        y = x * 2
        y.retain_grad()
        y.mul_(3)
        y.sum().backward()
        assert y.grad.item() == 1 and x.grad.item() == 6

    def test_refusals(self):
        with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
            torch.ones(2).register_hook(print)
        with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
            torch.ones(2).retain_grad()
        with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
            (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)

    def test_leaf_node_hooks(self):
        log = []
        x = leaf(1.0)
        node = (x * 2).grad_fn.next_functions[0][0]
        node.register_prehook(lambda go: log.append(("pre", go[0].item(), x.grad)))
        node.register_hook(lambda gi, go: log.append(("post", gi, x.grad.item())))
        (x * 3).sum().backward()
        assert log == [("pre", 3.0, None), ("post", (), 3.0)]

    def test_multi_grad_hook(self):
        seen = []
        a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
        handle = torch.autograd.graph.register_multi_grad_hook(
            (a, b, c), lambda grads: seen.append([None if g is None else g.item() for g in grads])
        )
        (a * b * c).sum().backward()
        assert seen == [[6.0, 3.0, 2.0]]
        handle.remove()
        (a * b * c).sum().backward()
        assert len(seen) == 1


class TestGrad:
    def test_does_not_touch_grad_fields(self):
        x, w = leaf(2.0), leaf(3.0)
        (g,) = torch.autograd.grad((x * w).sum(), x)
        assert g.item() == 3 and x.grad is None and w.grad is None

    def test_non_leaf_input(self):
        x = leaf(2.0)
        y = x * 3
        z = y * y
        gy, gx = torch.autograd.grad(z, [y, x])
        assert gy.item() == 12 and gx.item() == 36

    def test_input_is_an_output(self):
        x = leaf(2.0)
        y = x * 3
        assert torch.autograd.grad(y, y)[0].item() == 1
        assert torch.autograd.grad(x, x)[0].item() == 1

    def test_same_input_twice(self):
        x = leaf(2.0)
        a, b = torch.autograd.grad(x * x, [x, x])
        assert a.item() == b.item() == 4

    def test_only_needed_nodes_run(self):
        ran = []
        x, w = leaf(2.0), leaf(3.0)
        y = x * 2
        y.grad_fn.register_hook(lambda gi, go: ran.append("y"))
        v = w * 2
        v.grad_fn.register_hook(lambda gi, go: ran.append("v"))
        torch.autograd.grad((y * v).sum(), w)
        assert ran == ["v"]

    def test_unused(self):
        x, z = leaf(1.0, 1.0), leaf(1.0, 1.0)
        with pytest.raises(RuntimeError, match="The differentiated Tensor at index 1 appears to not have been used in the graph"):
            torch.autograd.grad((x * 2).sum(), [x, z])
        assert torch.autograd.grad((x * 2).sum(), [x, z], allow_unused=True)[1] is None
        assert torch.autograd.grad((x * 2).sum(), [x, z], materialize_grads=True)[1].tolist() == [0, 0]

    def test_leaf_hooks_apply(self):
        x = leaf(1.0)
        x.register_hook(lambda g: g * 7)
        assert torch.autograd.grad((x * 2).sum(), x)[0].item() == 14

    def test_higher_derivatives(self):
        x = leaf(2.0)
        y = x**5
        expected = [80.0, 160.0, 240.0, 240.0, 120.0]
        for value in expected:
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            assert y.item() == pytest.approx(value)

    def test_backward_with_inputs(self):
        x, w = leaf(2.0), leaf(3.0)
        y = x * w
        (y * y).sum().backward(inputs=[w])
        assert x.grad is None and w.grad.item() == 24
        y = x * 3
        (y * y).sum().backward(inputs=[y])
        assert y.grad.item() == 12 and x.grad is None

    @pytest.mark.parametrize(
        "call, kind, message",
        [
            (lambda x: torch.autograd.grad([], []), RuntimeError, "`inputs` argument to `grad()` cannot be empty."),
            (lambda x: x.sum().backward(inputs=[]), RuntimeError, "`inputs` argument to `backward()` cannot be empty."),
            (
                lambda x: torch.autograd.grad(x.sum(), torch.ones(2)),
                RuntimeError,
                "One of the differentiated Tensors does not require grad",
            ),
            (
                lambda x: torch.autograd.grad(torch.ones(2).sum(), torch.ones(2)),
                RuntimeError,
                "element 0 of tensors does not require grad and does not have a grad_fn",
            ),
            (lambda x: x.backward(), RuntimeError, "grad can be implicitly created only for scalar outputs"),
            (
                lambda x: (x * 1j).sum().backward(),
                RuntimeError,
                "grad can be implicitly created only for real scalar outputs but got torch.complex128",
            ),
            (
                lambda x: (x * 2).backward(torch.ones(3)),
                RuntimeError,
                "Mismatch in shape: grad_output[0] has a shape of torch.Size([3]) and output[0] has a shape of torch.Size([2]).",
            ),
            (lambda x: (x * 2).sum().backward(1.0), TypeError, "'float' object is not iterable"),
        ],
    )
    def test_errors(self, call, kind, message):
        with pytest.raises(kind) as error:
            call(leaf(1.0, 1.0))
        assert str(error.value).splitlines()[0] == message


class TestNodes:
    def test_names_and_edges(self):
        x = leaf(1.0)
        y = x * 2
        f = y.grad_fn
        assert f is y.grad_fn
        assert f.name() == "MulBackward0" == type(f).__name__
        (first, nr), second = f.next_functions
        assert type(first).__name__ == "AccumulateGrad" and nr == 0 and first.variable is x
        assert second == (None, 0)
        assert isinstance(f, torch.autograd.graph.Node)
        assert repr(f).startswith("<MulBackward0 object at 0x")
        assert x.grad_fn is None

    def test_metadata_and_sequence(self):
        x = leaf(1.0)
        a = x * 2
        b = x * 2
        a.grad_fn.metadata["note"] = 5
        assert a.grad_fn.metadata == {"note": 5}
        assert b.grad_fn._sequence_nr() > a.grad_fn._sequence_nr()

    def test_node_outlives_its_tensor(self):
        x = leaf(1.0)
        f = (x.exp() * 2).grad_fn
        gc.collect()
        assert f.next_functions[0][0].name() == "ExpBackward0"

    def test_gradient_edge(self):
        x = leaf(1.0)
        y = x * 2
        edge = torch.autograd.graph.get_gradient_edge(y)
        assert edge.node is y.grad_fn and edge.output_nr == 0
        with pytest.raises(RuntimeError, match="does not require gradients"):
            torch.autograd.graph.get_gradient_edge(torch.ones(1))
