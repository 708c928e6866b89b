"""autograd.Function: forward and backward, what is saved, written in place or not differentiable, and its errors."""

import gc
import weakref

import numpy as np
import pytest

import rushlight as torch
from rushlight.autograd import Function, gradcheck, gradgradcheck
from rushlight.autograd.function import once_differentiable


def leaf(*values):
    return torch.tensor(list(values), dtype=torch.float64, requires_grad=True)


def raises(kind, call, first_line):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).splitlines()[0] == first_line


class Square(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


class Both(Function):
    @staticmethod
    def forward(a, b, scale=2.0):
        return a * b * scale, a + b

    @staticmethod
    def setup_context(ctx, inputs, output):
        a, b, ctx.scale = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx, product, total):
        a, b = ctx.saved_tensors
        return product * b * ctx.scale + total, product * a * ctx.scale + total, None


class TestFunction:
    def test_value_and_gradient(self):
        x = leaf(2.0, 3.0)
        y = Square.apply(x)
        assert type(y.grad_fn).__name__ == "SquareBackward" and y.grad_fn.name() == "SquareBackward"
        assert "grad_fn=<SquareBackward>" in repr(y)
        y.sum().backward()
        assert x.grad.tolist() == [4, 6]
        assert gradcheck(Square.apply, (x,)) and gradgradcheck(Square.apply, (x,))

    def test_setup_context_and_defaults(self):
        a, b = leaf(2.0), leaf(3.0)
        product, total = Both.apply(a, b)
        assert product.item() == 12 and product.grad_fn is total.grad_fn and product.grad_fn.scale == 2
        (product + total).sum().backward()
        assert (a.grad.item(), b.grad.item()) == (7, 5)
        assert Both.apply(a, b, 3.0)[0].item() == Both.apply(a, b, scale=3.0)[0].item() == 18
        assert gradcheck(lambda a, b: Both.apply(a, b), (a, b))

    def test_not_recorded(self):
        assert not Square.apply(torch.ones(1)).requires_grad
        with torch.no_grad():
            assert Square.apply(leaf(1.0)).grad_fn is None

    def test_context_is_the_node(self):
        x = leaf(2.0)
        y = Square.apply(x)
        assert y.grad_fn is y.grad_fn
        (edge,) = y.grad_fn.next_functions
        assert edge[0].variable is x
        assert isinstance(y.grad_fn, torch.autograd.graph.Node)
        assert y.grad_fn.saved_tensors[0] is x and y.grad_fn.needs_input_grad == (True,)
        y.sum().backward()
        with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
            y.grad_fn.saved_tensors
        with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
            y.sum().backward()

    def test_needs_input_grad_and_none(self):
        seen = []

        class F(Function):
            @staticmethod
            def forward(ctx, a, number, b, word):
                return a * number + b

            @staticmethod
            def backward(ctx, grad):
                seen.append(ctx.needs_input_grad)
                return grad * 5, None, None, None

        a = leaf(1.0)
        F.apply(a, 5, torch.ones(1), "word").sum().backward()
        assert seen == [(True, False, False, False)] and a.grad.item() == 5

    def test_saved_output(self):
        class Exp(Function):
            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(y)
                return y

            @staticmethod
            def backward(ctx, grad):
                (y,) = ctx.saved_tensors
                return grad * y

        x = leaf(0.5, 1.0)
        assert gradcheck(Exp.apply, (x,)) and gradgradcheck(Exp.apply, (x,))
        y = Exp.apply(x)
        gone = weakref.ref(y)
        del y
        assert gone() is None  # no cycle between node and output
        y = Exp.apply(x)
        y.mul_(2)
        with pytest.raises(RuntimeError, match="output 0 of Exp, is at version 1; expected version 0"):
            y.sum().backward()

    def test_cycle_through_the_context_is_collected(self):
        class Keep(Square):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                ctx.mine = []
                return x * x

        y = Keep.apply(leaf(1.0))
        y.grad_fn.mine.append(y)
        gone = weakref.ref(y)
        del y
        gc.collect()
        assert gone() is None

    def test_materialized_and_undefined_gradients(self):
        seen = []

        class F(Function):
            @staticmethod
            def forward(ctx, materialize, a, b):
                ctx.set_materialize_grads(materialize)
                return a * 1, b * 2, 3

            @staticmethod
            def backward(ctx, g, h, number):
                seen.append((g.tolist(), h if h is None else h.tolist(), number))
                return None, g, h

        a, b = leaf(1.0), leaf(1.0)
        for materialize in (True, False):
            first, _, number = F.apply(materialize, a, b)
            assert number == 3
            first.sum().backward()
        assert seen == [([1.0], [0.0], None), ([1.0], None, None)]

    def test_non_differentiable_output(self):
        class Sort(Function):
            @staticmethod
            def forward(ctx, x):
                values, index = x.sort()
                ctx.save_for_backward(index)
                rank = index.to(x.dtype)
                ctx.mark_non_differentiable(rank)
                return values, rank

            @staticmethod
            def backward(ctx, grad, _):
                (index,) = ctx.saved_tensors
                out = torch.zeros_like(grad)
                out[index] = grad
                return out

        x = leaf(3.0, 1.0, 2.0)
        values, rank = Sort.apply(x)
        assert not rank.requires_grad and values.requires_grad
        (values * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        assert x.grad.tolist() == [3, 1, 2]

    def test_dirty_input(self):
        class Double(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.mark_dirty(x)
                return x.mul_(2)

            @staticmethod
            def backward(ctx, grad):
                return grad * 2

        x = leaf(1.0, 1.0)
        y = x * 1
        z = Double.apply(y)
        assert z is y and type(y.grad_fn).__name__ == "DoubleBackward"
        z.sum().backward()
        assert x.grad.tolist() == [2, 2]
        raises(
            RuntimeError, lambda: Double.apply(leaf(1.0)), "a leaf Variable that requires grad has been used in an in-place operation."
        )
        x.grad = None
        y = x * 1
        Double.apply(y[:1])
        assert type(y.grad_fn).__name__ == "CopySlices"
        y.sum().backward()
        assert x.grad.tolist() == [2, 1]

    def test_input_returned_as_it_is(self):
        class Same(Function):
            @staticmethod
            def forward(ctx, x):
                return x

            @staticmethod
            def backward(ctx, grad):
                return grad * 10

        x = leaf(1.0)
        y = Same.apply(x)
        assert y is not x and y.data_ptr() == x.data_ptr() and x.is_leaf
        with pytest.raises(RuntimeError, match="This view was created inside a custom Function"):
            y.add_(1)
        y.sum().backward()
        assert x.grad.item() == 10
        p = torch.ones(1)
        assert Same.apply(p) is not p and not Same.apply(p).requires_grad

    @pytest.mark.parametrize(
        "answer, kind, message",
        [
            (lambda g: torch.ones(3), RuntimeError,
             "Function FBackward returned an invalid gradient at index 0 - got [3] but expected shape compatible with [2]"),
            (lambda g: 1, RuntimeError, "expected Variable or None (got int)"),
            (lambda g: (g, g), RuntimeError, "function FBackward returned an incorrect number of gradients (expected 1, got 2)"),
        ],
    )  # fmt: skip
    def test_wrong_gradients(self, answer, kind, message):
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return answer(g)

        raises(kind, lambda: F.apply(leaf(1.0, 1.0)).sum().backward(), message)

    def test_trailing_none_is_accepted(self):
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                return g * 2, None, None

        x = leaf(1.0)
        F.apply(x).sum().backward()
        assert x.grad.item() == 2

    def test_gradient_of_a_non_tensor(self):
        class F(Function):
            @staticmethod
            def forward(ctx, x, n):
                return x * n

            @staticmethod
            def backward(ctx, g):
                return g, 1

        raises(
            RuntimeError,
            lambda: F.apply(leaf(1.0), 3).sum().backward(),
            "function FBackward returned a gradient different than None at position 2, but the corresponding forward input was "
            "not a Variable",
        )

    def test_errors(self):
        raises(
            NotImplementedError,
            lambda: Function.apply(torch.ones(1)),
            "You must implement the forward function for custom autograd.Function.",
        )

        class NoBackward(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

        raises(
            NotImplementedError,
            lambda: NoBackward.apply(leaf(1.0)).sum().backward(),
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward "
            "mode AD.",
        )

        class SavesNumber(NoBackward):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(1)
                return x * 2

        raises(
            TypeError,
            lambda: SavesNumber.apply(leaf(1.0)),
            "save_for_backward can only save variables, but argument 0 is of type int",
        )

    def test_exception_in_forward_and_backward(self):
        class F(Function):
            @staticmethod
            def forward(ctx, x, bad):
                if bad:
                    raise ValueError("forward")
                return x * 2

            @staticmethod
            def backward(ctx, g):
                raise KeyError("backward")

        x = leaf(1.0)
        with pytest.raises(ValueError, match="forward"):
            F.apply(x, True)
        with pytest.raises(KeyError, match="backward"):
            F.apply(x, False).sum().backward()
        assert torch.is_grad_enabled()

    def test_once_differentiable(self):
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x.exp()

            @staticmethod
            @once_differentiable
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return g * x.exp()

        x = leaf(1.0)
        y = F.apply(x) ** 2
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="trying to differentiate twice a function that was marked"):
            g.sum().backward()
        assert torch.autograd.grad((F.apply(x) ** 2).sum(), x)[0].item() == pytest.approx(2 * np.exp(2))
