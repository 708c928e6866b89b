"""gradcheck and gradgradcheck: derivatives against central differences, element by element.

Complex numbers count as pairs of real ones: the Jacobian compared is always real."""

import warnings
from typing import NamedTuple

import numpy as np

from .. import _C
from . import forward_ad
from .gradients import grad

Tensor = _C.Tensor


class GradcheckError(RuntimeError):
    """A derivative and its numerical estimate differ."""


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
):
    """Compares the gradient of func at inputs with central differences; True where they agree.

    Args:
        func: function of tensors that returns a tensor or a tuple of tensors.
        inputs: its arguments; those that require a gradient are varied and should be float64 or complex128.
        eps: half the width of a difference.
        atol, rtol: tolerances of the comparison.
        raise_exception: raise GradcheckError instead of returning False.
        nondet_tol: how far two runs of backward may differ.
        check_undefined_grad: also differentiate each output with the others unused.
        check_grad_dtypes: gradients must have the dtypes of the inputs.
        check_batched_grad, check_batched_forward_grad: also under vmap.
        check_forward_ad: also forward mode.
        check_backward_ad: backward mode.
        fast_mode: compare one random product with the Jacobian on either side instead of all its elements.
        masked: accepted; it matters for sparse inputs alone.

    >>> x = rl.tensor([0.5, 1.5], dtype=rl.float64, requires_grad=True)
    >>> rl.autograd.gradcheck(rl.sin, (x,))
    True
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    limits = _Limits(eps, atol, rtol, nondet_tol, check_grad_dtypes)
    try:
        inputs = _check_inputs(inputs)
        _check(func, inputs, limits, fast_mode, check_backward_ad, check_forward_ad)
        if check_batched_forward_grad:
            _check_batched_forward(func, inputs)
        if check_backward_ad:
            if check_batched_grad:
                _check_batched(func, inputs)
            _check_multiplied(func, inputs)
            if check_undefined_grad:
                _check_undefined(func, inputs)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


class _Limits(NamedTuple):
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    check_dtypes: bool


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
):
    """gradcheck of the gradient of func: second derivatives.

    Args:
        grad_outputs: gradients of the outputs at which to check; random ones by default.
        gen_non_contig_grad_outputs: make those non-contiguous.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    inputs = _tuple(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*inputs))
        generator = np.random.default_rng(0)
        grad_outputs = tuple(_random_like(o, generator, gen_non_contig_grad_outputs) for o in outputs)
    else:
        grad_outputs = _tuple(grad_outputs)
    n = len(grad_outputs)

    def gradient(*args):
        args, gradients = args[:-n], args[-n:]
        varied = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
        outputs = _differentiable(func(*args))
        return grad(outputs, varied, gradients, create_graph=True, allow_unused=True)

    def gradient_without_none(*args):
        return tuple(g for g in gradient(*args) if g is not None)

    return gradcheck(
        gradient_without_none,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad and check_rev_over_rev,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad and check_rev_over_rev,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _tuple(x):
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _differentiable(outputs):
    return tuple(o for o in _tuple(outputs) if isinstance(o, Tensor) and o.requires_grad)


def _random_like(t, generator, strided):
    from .. import from_numpy

    shape = (*t.shape, 2) if strided else tuple(t.shape)
    values = generator.standard_normal(shape)
    if t.is_complex():
        values = values + 1j * generator.standard_normal(shape)
    made = from_numpy(np.asarray(values)).to(t.dtype)
    return (made[..., 0] if strided else made).detach().requires_grad_()


def _check_inputs(inputs):
    inputs = _tuple(inputs)
    any_varied = False
    for i, t in enumerate(inputs):
        if not isinstance(t, Tensor) or not t.requires_grad:
            continue
        any_varied = True
        if t.dtype not in (_C.float64, _C.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if t.numel() and any(stride == 0 and size > 1 for stride, size in zip(t.stride(), t.shape)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                ".contiguous on the input before passing it to gradcheck."
            )
        t.retain_grad()
    if not any_varied:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have "
            "requires_grad=True."
        )
    return inputs


def _real_vector(t):
    """All elements as one NumPy vector of real numbers."""
    values = t.detach().to_dense().numpy(force=True)
    if np.iscomplexobj(values):
        values = np.stack([values.real, values.imag], -1)
    return values.astype(np.float64).reshape(-1)


def _perturbations(inputs):
    """Directions in which the inputs are moved, input by input: every real component alone."""
    for i, t in enumerate(inputs):
        for index in range(t.numel()):
            for unit in (1, 1j) if t.is_complex() else (1,):
                v = _zeros(t)
                v.view(-1)[index] = unit
                yield i, v


def _random_direction(t, generator):
    values = generator.standard_normal(tuple(t.shape))
    if t.is_complex():
        values = values + 1j * generator.standard_normal(tuple(t.shape))
    from .. import from_numpy

    return from_numpy(np.asarray(values)).to(t.dtype)


def _zeros(t):
    return _C.zeros(t.shape, dtype=t.dtype)


def _difference(func, inputs, t, direction, eps):
    """Derivative of every output along a direction of one input, as real vectors."""
    memory = t.detach().numpy()  # shares the tensor's memory
    before, step = memory.copy(), eps * direction.numpy()
    ends = []
    for at in (before + step, before - step):
        memory[...] = at
        # copies: an output may be a view of the input
        ends.append([_real_vector(o).copy() for o in _tuple(func(*inputs)) if isinstance(o, Tensor)])
    memory[...] = before
    return [(high - low) / (2 * eps) for high, low in zip(*ends)]


def _forward(func, inputs, t, direction, limits):
    """The same in forward mode."""
    with forward_ad.dual_level():
        # it still requires grad: func may itself be a gradient
        duals = [forward_ad.make_dual(x.detach().requires_grad_(), direction) if x is t else x for x in inputs]
        results = []
        for o in _tuple(func(*duals)):
            if not isinstance(o, Tensor):
                continue
            tangent = forward_ad.unpack_dual(o).tangent
            if tangent is None:
                tangent = _zeros(o)
            elif limits.check_dtypes and tangent.dtype != o.dtype:
                raise GradcheckError("Forward AD gradient has dtype mismatch.")
            results.append(_real_vector(tangent))
    return results


def _backward(output, varied, v, limits, k):
    """Gradients of one output as real vectors, zeros where there is none."""
    grads = grad(output, varied, v, retain_graph=True, allow_unused=True)
    again = grad(output, varied, v, retain_graph=True, allow_unused=True)
    rows = []
    for i, (g, g2, t) in enumerate(zip(grads, again, varied)):
        if g is None:
            rows.append(np.zeros(t.numel() * (2 if t.is_complex() else 1)))
            continue
        if limits.check_dtypes and g.dtype != t.dtype:
            raise GradcheckError("Gradient has dtype mismatch")
        if g.shape != t.shape:
            raise GradcheckError("Analytical gradient has incorrect size")
        rows.append(_real_vector(g))
        if np.any(np.abs(rows[-1] - _real_vector(g2)) > limits.nondet_tol):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
                "different values, although analytical gradient matches numerical gradient."
                f"The tolerance for nondeterminism was {limits.nondet_tol}. (output {k}, input {i})"
            )
    return rows


def _compare(analytical, numerical, k, i, limits, mode, scale=1.0):
    if not np.allclose(analytical, numerical, limits.rtol, limits.atol * scale, equal_nan=True):
        how = "computed with forward mode " if mode == "forward" else ""
        raise GradcheckError(
            f"Jacobian {how}mismatch for output {k} with respect to input {i},\n"
            f"numerical:{numerical}\nanalytical:{analytical}\n"
        )


def _check(func, inputs, limits, fast, backward, forward):
    varied = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    outputs = [o for o in _tuple(func(*inputs)) if isinstance(o, Tensor)]
    generator = np.random.default_rng(0)
    if fast:
        directions = [(i, _random_direction(t, generator)) for i, t in enumerate(varied)]
    else:
        directions = list(_perturbations(varied))
    numerical = [_difference(func, inputs, varied[i], d, limits.eps) for i, d in directions]
    if backward and not any(o.requires_grad for o in outputs):
        if any(np.any(np.abs(c) > limits.atol) for columns in numerical for c in columns):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    places = [[n for n, (i, _) in enumerate(directions) if i == at] for at in range(len(varied))]
    live = [k for k, o in enumerate(outputs) if o.is_floating_point() or o.is_complex()]
    if forward:
        tangents = [_forward(func, inputs, varied[i], d, limits) for i, d in directions]
        for i, mine in enumerate(places):
            for k in live if mine else ():
                _compare(*(np.stack([c[n][k] for n in mine]) for c in (tangents, numerical)), k, i, limits, "forward")
    for k in live if backward else ():
        if not outputs[k].requires_grad:
            continue
        if fast:
            v = _random_direction(outputs[k], generator)
            rows = _backward(outputs[k], varied, v, limits, k)
            for (i, d), columns in zip(directions, numerical):
                # every element of the Jacobian may be off by the tolerance
                scale = max(float(np.abs(_real_vector(d)).sum() * np.abs(_real_vector(v)).sum()), 1.0)
                _compare(rows[i] @ _real_vector(d), columns[k] @ _real_vector(v), k, i, limits, "backward", scale)
            continue
        rows = [_backward(outputs[k], varied, v, limits, k) for v in _unit_vectors(outputs[k])]
        for i, mine in enumerate(places):
            if mine and rows:
                analytical = np.stack([row[i] for row in rows], 1)  # (input component, output component)
                _compare(analytical, np.stack([numerical[n][k] for n in mine]), k, i, limits, "backward")


def _unit_vectors(output):
    """One gradient per real component of the output."""
    for _, v in _perturbations([output]):
        yield v


def _check_batched(func, inputs):
    """vmap over backward against one backward after the other."""
    from .. import allclose, stack

    varied = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    generator = np.random.default_rng(0)
    for output in _differentiable(func(*inputs)):
        vectors = [_random_direction(output, generator) for _ in range(2)]

        def product(v, batched=False, output=output):
            return grad(output, varied, v, retain_graph=True, allow_unused=True, is_grads_batched=batched)

        single = [product(v) for v in vectors]
        try:
            together = product(stack(vectors), True)
        except RuntimeError as error:
            raise GradcheckError(f"While computing batched gradients, got: {error}\n\n{_BATCHED}") from error
        for i, (b, *alone) in enumerate(zip(together, *single)):
            if b is not None and not allclose(b, stack(alone)):
                raise GradcheckError(f"For input {i}:\ngot:\n{b}\n\nexpected:\n{stack(alone)}\n\n{_BATCHED}")


def _check_batched_forward(func, inputs):
    from .. import allclose, stack
    from ..func import vmap

    varied = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    generator = np.random.default_rng(0)
    for i, t in enumerate(varied):
        vectors = [_random_direction(t, generator) for _ in range(2)]

        def product(v, t=t):
            with forward_ad.dual_level():
                duals = [forward_ad.make_dual(x.detach(), v) if x is t else x for x in inputs]
                outputs = [o for o in _tuple(func(*duals)) if isinstance(o, Tensor)]
                tangents = [forward_ad.unpack_dual(o).tangent for o in outputs]
                return tuple(_zeros(o) if d is None else d.detach() for d, o in zip(tangents, outputs))

        single = [product(v) for v in vectors]
        try:
            together = vmap(product)(stack(vectors))
        except RuntimeError as error:
            raise GradcheckError(f"While computing batched gradients, got: {error}\n\n{_BATCHED}") from error
        for b, *alone in zip(together, *single):
            if not allclose(b, stack(alone)):
                raise GradcheckError(f"For input {i}:\ngot:\n{b}\n\nexpected:\n{stack(alone)}\n\n{_BATCHED}")


_BATCHED = "gradcheck or gradgradcheck failed while testing batched gradient computation."


def _check_multiplied(func, inputs):
    """A gradient is linear in that of the output: zero gives zero."""
    varied = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    outputs = _differentiable(func(*inputs))
    if not outputs:
        return
    for g, t in zip(grad(outputs, varied, [_zeros(o) for o in outputs], allow_unused=True), varied):
        if g is None:
            continue
        if np.any(_real_vector(g)):
            raise GradcheckError("backward not multiplied by grad_output")
        if g.shape != t.shape:
            raise GradcheckError("grad is incorrect size")


def _check_undefined(func, inputs):
    """Each output alone: backward formulas see no gradient for the others."""
    varied = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    outputs = _differentiable(func(*inputs))
    if len(outputs) < 2:
        return
    from .. import ones_like, zeros_like

    for k, output in enumerate(outputs):
        alone = grad(output, varied, ones_like(output), retain_graph=True, allow_unused=True)
        rest = [ones_like(o) if j == k else zeros_like(o) for j, o in enumerate(outputs)]  # one tensor may appear twice
        together = grad(outputs, varied, rest, retain_graph=True, allow_unused=True)
        for a, b in zip(alone, together):
            a = 0.0 if a is None else _real_vector(a)
            b = 0.0 if b is None else _real_vector(b)
            if not np.allclose(a, b, equal_nan=True):
                raise GradcheckError(f"an undefined gradient of the outputs other than {k} is not treated as zero")
