"""The autograd interface: leaves and flags, grad modes, anomaly mode, saved-tensor hooks, gradcheck, functional."""

import warnings

import numpy as np
import pytest
from test_autograd_function import Square, leaf, raises

import rushlight as torch
from rushlight.autograd import Function, gradcheck, gradgradcheck


class TestLeavesAndFlags:
    def test_is_leaf(self):
        x = leaf(1.0)
        plain = torch.ones(1)
        assert (x.is_leaf, (x * 2).is_leaf, x.detach().is_leaf, plain.is_leaf, (plain * 2).is_leaf) == (True, False, True, True, True)
        assert not x.detach().requires_grad and x.detach().grad_fn is None
        assert x.detach()._base is None and not x.detach()._is_view()

    def test_detach_shares_memory(self):
        x = leaf(1.0, 2.0)
        d = x.detach()
        d += 1
        assert d is not x and x.tolist() == [2, 3] and d.data_ptr() == x.data_ptr()

    def test_requires_grad(self):
        x = torch.ones(2)
        x.requires_grad = True
        assert x.requires_grad and x.requires_grad_(False) is x and not x.requires_grad
        change = (
            "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph "
            "that doesn't require differentiation use var_no_grad = var.detach()."
        )
        y = leaf(1.0) * 2
        raises(RuntimeError, lambda: setattr(y, "requires_grad", False), change)
        raises(RuntimeError, lambda: y.requires_grad_(False), change)
        assert y.requires_grad_() is y
        integers = torch.ones(2, dtype=torch.int64)
        message = "only Tensors of floating point and complex dtype can require gradients"
        raises(RuntimeError, lambda: setattr(integers, "requires_grad", True), message)
        raises(RuntimeError, lambda: integers.requires_grad_(), "only Tensors of floating point dtype can require gradients")
        raises(RuntimeError, lambda: setattr(x, "requires_grad", 1.5), "requires_grad must be a bool")
        raises(
            TypeError, lambda: x.requires_grad_(1), "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not int"
        )

    def test_integers_never_require_a_gradient(self):
        x = leaf(1.5)
        assert not (x > 1).requires_grad and not x.long().requires_grad
        raises(
            RuntimeError,
            lambda: x.long().sum().backward(),
            "element 0 of tensors does not require grad and does not have a grad_fn",
        )

    def test_grad_of_a_non_leaf_warns(self):
        y = leaf(1.0) * 2
        with pytest.warns(UserWarning, match="The .grad attribute of a Tensor that is not a leaf Tensor is being accessed"):
            assert y.grad is None
        y.retain_grad()
        assert y.retains_grad
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert y.grad is None and leaf(1.0).grad is None

    def test_assigning_grad(self):
        x = torch.ones(2, requires_grad=True)
        g = torch.ones(2)
        x.grad = g
        assert x.grad is g
        x.grad = None
        assert x.grad is None
        x.grad = g
        del x.grad
        assert x.grad is None
        raises(
            RuntimeError,
            lambda: setattr(x, "grad", torch.ones(3)),
            "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'. Please ensure that the gradient and the "
            "tensor are the same size",
        )
        raises(TypeError, lambda: setattr(x, "grad", 1), "assigned grad expected to be a Tensor or None but got grad of type int")
        raises(RuntimeError, lambda: setattr(x, "grad", x), "can't assign Variable as its own grad")
        with pytest.raises(RuntimeError, match="gradient with dtype 'double' to a tensor with grad_dtype 'Float'"):
            x.grad = torch.ones(2, dtype=torch.float64)

    def test_output_number(self):
        a, b = leaf(1.0, 2.0).unbind()
        assert (a.output_nr, b.output_nr) == (0, 1) and a.grad_fn is b.grad_fn

    def test_views_know_their_base(self):
        x = leaf(1.0, 2.0, 3.0, 4.0)
        y = x.view(2, 2)
        assert y._base is x and y[0]._base is x and y._is_view() and not x._is_view()


class TestModes:
    def test_no_grad(self):
        x = leaf(1.0)
        with torch.no_grad():
            assert not torch.is_grad_enabled()
            y = x * 2
            assert torch.ones(1, requires_grad=True).requires_grad
        assert torch.is_grad_enabled() and not y.requires_grad and y.grad_fn is None

    def test_nested(self):
        states = []
        with torch.no_grad():
            with torch.enable_grad():
                states.append(torch.is_grad_enabled())
                with torch.set_grad_enabled(False):
                    states.append(torch.is_grad_enabled())
                states.append(torch.is_grad_enabled())
            states.append(torch.is_grad_enabled())
        assert states == [True, False, True, False] and torch.is_grad_enabled()

    def test_left_by_an_exception(self):
        with pytest.raises(KeyError), torch.no_grad():
            raise KeyError("inside")
        assert torch.is_grad_enabled()

    def test_set_grad_enabled_acts_at_once(self):
        torch.set_grad_enabled(False)
        assert not torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        assert torch.is_grad_enabled()

    @pytest.mark.parametrize(
        "decorator, inside",
        [(torch.no_grad(), False), (torch.no_grad, False), (torch.enable_grad(), True), (lambda f: torch.set_grad_enabled(False)(f), False),
         (torch.inference_mode(), False), (torch.inference_mode, False), (torch.inference_mode(False), True)],
    )  # fmt: skip
    def test_decorators(self, decorator, inside):
        @decorator
        def state(a, b=2):
            """text"""
            return a, b, torch.is_grad_enabled()

        assert state(1, b=3) == (1, 3, inside)
        assert torch.is_grad_enabled() and state.__name__ == "state" and state.__doc__ == "text"

    def test_decorated_generator(self):
        @torch.no_grad()
        def states():
            got = yield torch.is_grad_enabled()
            try:
                yield got, torch.is_grad_enabled()
            except ValueError:
                yield "caught", torch.is_grad_enabled()
            return "end"

        g = states()
        assert next(g) is False and torch.is_grad_enabled()
        assert g.send(5) == (5, False) and torch.is_grad_enabled()
        assert g.throw(ValueError()) == ("caught", False)
        with pytest.raises(StopIteration) as end:
            next(g)
        assert end.value.value == "end"

    def test_recursive_decorated_function(self):
        @torch.no_grad()
        def f(n):
            inner = f(n - 1) if n else []
            return [*inner, torch.is_grad_enabled()]

        assert f(3) == [False] * 4 and torch.is_grad_enabled()

    def test_inference_mode(self):
        x = leaf(1.0)
        with torch.inference_mode():
            assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
            y = x * 3
            assert y.is_inference() and not x.view(1).is_inference()
        assert not torch.is_inference_mode_enabled() and not y.requires_grad
        raises(
            RuntimeError,
            lambda: y.requires_grad_(),
            "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.",
        )
        assert not (y * 2).is_inference()


class TestAnomaly:
    def test_nan_names_the_forward_line(self):
        x = torch.ones(2, requires_grad=True)
        with pytest.warns(UserWarning) as warned, pytest.raises(RuntimeError) as error:
            with torch.autograd.detect_anomaly():
                (x * float("nan")).log().sum().backward()  # the guilty line
        assert str(error.value) == "Function 'LogBackward0' returned nan values in its 0th output."
        assert "the guilty line" in "".join(error.value.__notes__)
        texts = [str(w.message) for w in warned]
        assert texts[0] == (
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging."
        )
        assert texts[1].startswith("Error detected in LogBackward0. Traceback of forward call that caused the error:")
        assert "the guilty line" in texts[1]

    def test_without_forward_information(self):
        x = torch.zeros(1, requires_grad=True)
        y = (x * float("nan")).log()
        with pytest.warns(UserWarning, match="No forward pass information available"), pytest.raises(RuntimeError):
            with torch.autograd.set_detect_anomaly(True):
                y.sum().backward()

    def test_check_nan_off(self):
        x = torch.ones(1, requires_grad=True)
        with torch.autograd.set_detect_anomaly(True, check_nan=False):
            assert torch.is_anomaly_enabled()
            (x * float("nan")).log().sum().backward()
        assert np.isnan(x.grad.item())

    def test_error_of_a_custom_function(self):
        class F(Function):
            @staticmethod
            def forward(ctx, x):
                return x * 2

            @staticmethod
            def backward(ctx, g):
                raise ValueError("broken")

        x = leaf(1.0)
        with pytest.warns(UserWarning, match="Error detected in FBackward"), pytest.raises(ValueError, match="broken"):
            with torch.autograd.set_detect_anomaly(True):
                F.apply(x).sum().backward()


class TestSavedTensorHooks:
    def test_pack_and_unpack(self):
        log = []

        def pack(t):
            log.append("pack")
            return t.numpy(force=True).copy()

        def unpack(a):
            log.append("unpack")
            return torch.from_numpy(a)

        x = leaf(1.0, 2.0)
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = x * x
        assert log == ["pack", "pack"]
        y.exp().sum().backward()
        assert log == ["pack", "pack", "unpack", "unpack"]
        assert torch.allclose(x.grad, 2 * x.detach() * (x.detach() ** 2).exp())

    def test_second_derivative_through_hooks(self):
        x = leaf(1.0, 2.0)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            y = (x * x).exp()
            (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), x)
        v = x.detach()
        assert torch.allclose(h, (2 + 4 * v**2) * (v**2).exp())

    def test_nested_and_disabled(self):
        x = leaf(1.0)
        outer, inner = [], []
        hooks = torch.autograd.graph.saved_tensors_hooks
        with hooks(lambda t: outer.append(1) or t, lambda t: t):
            with hooks(lambda t: inner.append(1) or t, lambda t: t):
                x.exp()
            x.exp()
        assert (outer, inner) == ([1], [1])
        with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
            with pytest.raises(RuntimeError, match="not here"):
                with hooks(lambda t: t, lambda t: t):
                    pass

    def test_wrong_unpack(self):
        x = leaf(1.0)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: 5, lambda n: n):
            y = x.exp()
        with pytest.raises(TypeError, match="Output of saved tensor unpack_hook expected to be a Tensor but got result of type int"):
            y.sum().backward()


class TestGradcheck:
    def test_agrees(self):
        a = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
        b = torch.rand(3, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda a, b: ((a * b).sin().sum(1), a / (b + 1)), (a, b))
        assert gradgradcheck(lambda a, b: (a * b).sin() / (b + 1), (a, b))

    def test_finds_a_wrong_derivative(self):
        class Wrong(Square):
            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return x * grad

        x = leaf(1.0, 2.0)
        with pytest.raises(torch.autograd.GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
            gradcheck(Wrong.apply, (x,))
        assert gradcheck(Wrong.apply, (x,), raise_exception=False) is False

    def test_finds_a_wrong_second_derivative(self):
        class Constant(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return 3 * x.detach() ** 2 * grad

        x = leaf(1.0, 2.0)
        assert gradcheck(Constant.apply, (x,))
        with pytest.raises(torch.autograd.GradcheckError):
            gradgradcheck(Constant.apply, (x,))

    def test_complex(self):
        z = torch.tensor([1 + 2j, 0.5 - 1j], dtype=torch.complex128, requires_grad=True)
        assert gradcheck(lambda z: z * z, (z,))
        assert gradcheck(lambda z: z.abs(), (z,))

    def test_inputs(self):
        with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
            gradcheck(torch.sin, (torch.ones(1),))
        with pytest.warns(UserWarning, match="is not a double precision floating point"):
            gradcheck(torch.sin, (torch.ones(1, requires_grad=True),), raise_exception=False)


class TestFunctional:
    def test_jacobian(self):
        J = torch.autograd.functional.jacobian
        x = torch.tensor([1.0, 2.0, 3.0])
        assert torch.equal(J(lambda x: x**2, x), torch.tensor([[2.0, 0, 0], [0, 4.0, 0], [0, 0, 6.0]]))
        y = torch.ones(2)
        wrt_x, wrt_y = J(lambda x, y: x.sum() * y, (x, y))
        assert wrt_x.shape == (2, 3) and torch.equal(wrt_y, torch.tensor([[6.0, 0.0], [0.0, 6.0]]))
        assert not wrt_x.requires_grad
        raises(
            TypeError,
            lambda: J(lambda x: 1, torch.ones(2)),
            "The outputs of the user-provided function given to jacobian must be either a Tensor or a tuple of Tensors but the "
            "given outputs of the user-provided function has type <class 'int'>.",
        )

    def test_hessian(self):
        x = torch.tensor([1.0, 2.0])
        h = torch.autograd.functional.hessian(lambda x: (x**3).sum() + x[0] * x[1], x)
        assert torch.equal(h, torch.tensor([[6.0, 1.0], [1.0, 12.0]]))

    def test_products(self):
        F = torch.autograd.functional
        x = torch.tensor([1.0, 2.0])
        v = torch.tensor([3.0, 5.0])
        value, product = F.vjp(lambda x: x**2, x, v)
        assert value.tolist() == [1, 4] and product.tolist() == [6, 20]
        value, product = F.jvp(lambda x: x.sum() * x, x, v)  # J = sum * I + x 1^T
        assert value.tolist() == [3, 6] and product.tolist() == [3 * 3 + 8, 3 * 5 + 16]
        f = lambda x: (x**3).sum() + x[0] * x[1]
        assert F.hvp(f, x, v)[1].tolist() == F.vhp(f, x, v)[1].tolist() == [6 * 3 + 5, 3 + 12 * 5]

    def test_create_graph(self):
        x = leaf(1.0, 2.0)
        j = torch.autograd.functional.jacobian(lambda x: x**3, x, create_graph=True)
        j.sum().backward()
        assert x.grad.tolist() == [6, 12]


def test_variable_alias():
    V = torch.autograd.Variable
    x = V(torch.ones(2), requires_grad=True)
    assert isinstance(x, V) and isinstance(x, torch.Tensor) and x.requires_grad and not isinstance(1, V)


def test_backward_twice_from_one_forward_of_a_view():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    y = x.view(2, 2).t()
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [2, 2, 2, 2]
