"""Forward mode: dual levels, in-place writes and views, custom functions, nesting with itself and with backward.
That every operator moves tangents along is checked over the table in test_ops.py."""

import numpy as np
import pytest

import rushlight as rl
import rushlight.autograd.forward_ad as fwAD
from rushlight.autograd import Function, gradcheck, gradgradcheck
from rushlight.func import grad, hessian, jacfwd, jacrev, jvp, linearize


def close(a, b):
    np.testing.assert_allclose(np.asarray(a.detach()), np.asarray(b.detach()), 1e-5, 1e-6)


def tangent(t):
    return fwAD.unpack_dual(t).tangent


def vectors(n=3):
    return rl.arange(1.0, n + 1, dtype=rl.float64), rl.linspace(-1, 1, n, dtype=rl.float64)


def test_dual_numbers():
    x, v = vectors()
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, v)
        assert tangent(dual) is v
        close(tangent(dual.sin()), x.cos() * v)
        assert tangent(dual.detach()) is None and tangent(dual > 1) is None and tangent(dual.floor()) is None
        primal, same = fwAD.unpack_dual(dual)
        assert tangent(primal) is None and same is v
    assert tangent(dual) is None
    with fwAD.dual_level():
        assert tangent(dual) is None, "tangents belong to their level"


def test_views_and_in_place_writes_keep_tangents_in_step():
    x, v = vectors()
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, v.clone())
        whole = rl.zeros(2, 3, dtype=rl.float64)
        row, column = whole[0], whole[:, 1]  # made before there is any tangent
        row.copy_(dual)
        close(tangent(whole), rl.stack([v, rl.zeros_like(v)]))
        close(tangent(column), rl.stack([v[1], v[1] * 0]))
        whole.mul_(dual)
        close(tangent(row), 2 * x * v)
        column.zero_()
        close(tangent(whole)[0], 2 * x * v * rl.tensor([1.0, 0, 1]))
        copy = dual + 0
        copy.add_(1).mul_(2)
        close(tangent(copy), 2 * v)
        close(tangent(dual), v)  # what it was computed from is left alone


def test_backward_through_tangents():
    x, v = vectors()
    w = x.clone().requires_grad_()
    with fwAD.dual_level():
        slope = tangent((fwAD.make_dual(w, v) ** 3).sum())
    (curvature,) = rl.autograd.grad(slope, w)
    close(curvature, 6 * x * v)


def test_checks_of_second_derivatives_in_forward_mode():
    x = vectors()[0].requires_grad_()
    for f in (lambda x: x.tanh() * x.sum(), lambda x: rl.softmax(x, 0), lambda x: (x * 2).mul_(x).exp_()):
        assert gradcheck(f, (x,), check_forward_ad=True, fast_mode=True, check_batched_grad=True)
        assert gradcheck(f, (x,), check_forward_ad=True, check_batched_forward_grad=True)
        assert gradgradcheck(f, (x,), check_fwd_over_rev=True)


def test_nesting():
    x, v = vectors()
    close(jvp(lambda x: jvp(rl.sin, (x,), (v,))[1], (x,), (v,))[1], -x.sin() * v * v)
    close(jvp(grad(lambda x: x.exp().sum()), (x,), (v,))[1], x.exp() * v)
    close(grad(lambda x: jvp(rl.sin, (x,), (v,))[1].sum())(x), -x.sin() * v)
    # perturbations of different levels are not mixed up
    inner = jvp(lambda x: x * jvp(lambda y: x + y, (v,), (rl.ones_like(v),))[1], (x,), (rl.ones_like(v),))
    close(inner[1], rl.ones_like(v))

    def f(x):
        return (x.cumsum(0).sin() * x).sum()

    close(hessian(f)(x), jacrev(jacrev(f))(x))
    close(jacfwd(jacfwd(f))(x), jacrev(jacfwd(f))(x))
    assert not hessian(f)(x).requires_grad
    value, product = linearize(lambda x: x.sin().cumsum(0), x)
    close(product(v), (x.cos() * v).cumsum(0))


class Exp(Function):
    @staticmethod
    def forward(ctx, x, scale):
        y = x.exp() * scale
        ctx.save_for_backward(y)
        ctx.save_for_forward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0], None

    @staticmethod
    def jvp(ctx, t, scale):
        assert scale is None
        return t * ctx.saved_tensors[0]


def test_custom_functions():
    x, v = vectors()
    close(jvp(lambda x: Exp.apply(x, 2.0), (x,), (v,))[1], 2 * x.exp() * v)
    close(jvp(lambda x: jvp(lambda x: Exp.apply(x, 2.0), (x,), (v,))[1], (x,), (v,))[1], 2 * x.exp() * v * v)
    close(jvp(grad(lambda x: Exp.apply(x, 2.0).sum()), (x,), (v,))[1], 2 * x.exp() * v)
    close(jvp(lambda x: rl.fft.rfft(x).abs().sum(), (x,), (v,))[1],
          (grad(lambda x: rl.fft.rfft(x).abs().sum())(x) * v).sum())  # fmt: skip

    class Bad(Function):
        answer = None

        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def jvp(ctx, t):
            return Bad.answer(t)

    class Missing(Function):
        forward = staticmethod(lambda ctx, x: x * 2)

    with fwAD.dual_level():
        dual = fwAD.make_dual(x, v)
        Bad.answer = lambda t: (t, t)
        with pytest.raises(RuntimeError, match=r"invalid number of forward gradients \(expected 1 but got 2\)"):
            Bad.apply(dual)
        Bad.answer = lambda t: t[:2]
        with pytest.raises(RuntimeError, match="Trying to set a forward gradient that has a different size"):
            Bad.apply(dual)
        with pytest.raises(NotImplementedError, match="You must implement the jvp function"):
            Missing.apply(dual)


def test_errors():
    x, v = vectors()
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.make_dual(x, v)
    with pytest.raises(RuntimeError, match="Dual level must be a positive number."):
        fwAD.exit_dual_level()
    with fwAD.dual_level():
        with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
            fwAD.enter_dual_level()
        with pytest.raises(RuntimeError, match=r"Tensor is of size \[3\] while the given forward gradient is of size \[2\]"):
            fwAD.make_dual(x, v[:2])
        with pytest.raises(ValueError, match="Expected primal to be floating point or complex"):
            fwAD.make_dual(x.long(), v)
        dual = fwAD.make_dual(x, v)
        with pytest.raises(RuntimeError, match="already has a forward gradient at the same level 0"):
            fwAD.make_dual(dual, v)
        with pytest.raises(NotImplementedError, match="out= function"):
            rl.add(dual, 1, out=rl.empty(3, dtype=rl.float64))
    with pytest.raises(RuntimeError, match="Expected primals to be a tuple"):
        jvp(rl.sin, x, v)
    with pytest.raises(RuntimeError, match="same python structure"):
        jvp(rl.sin, (x,), (v, v))
    with pytest.raises(RuntimeError, match="return only tensors, got unsupported type <class 'int'>"):
        jvp(lambda x: 3, (x,), (v,))
    with pytest.raises(RuntimeError, match="argnums elements must be unique"):
        grad(lambda x: x.sum(), argnums=(0, 0))(x)
