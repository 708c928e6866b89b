"""gradcheck and gradgradcheck: derivatives against central differences, element by element.

Complex numbers count as pairs of real ones: the Jacobian compared is always real."""

import itertools
import warnings

import numpy as np

from .. import _C
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

    >>> x = rl.tensor([0.5, 1.5], dtype=rl.float64, requires_grad=True)
    >>> rl.autograd.gradcheck(rl.sin, (x,))
    True
    """
    if check_batched_grad or check_batched_forward_grad or check_forward_ad:
        raise NotImplementedError("gradcheck of batched gradients and of forward mode")
    try:
        inputs = _check_inputs(inputs)
        if check_backward_ad:
            _check(func, inputs, eps, atol, rtol, nondet_tol, check_grad_dtypes)
            if check_undefined_grad:
                _check_undefined(func, inputs)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


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
    if check_fwd_over_rev:
        raise NotImplementedError("gradgradcheck in forward mode")
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
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
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


def _numerical(func, inputs, varied, eps):
    """columns[i][j]: derivatives of every output with respect to real parameter j of input i."""
    columns = []
    for t in varied:
        memory = t.detach().numpy()  # shares the tensor's memory
        steps = (eps, 1j * eps) if np.iscomplexobj(memory) else (eps,)
        mine = []
        for index in itertools.product(*map(range, memory.shape)):
            for step in steps:
                before = memory[index]
                ends = []
                for at in (before + step, before - step):
                    memory[index] = at
                    # copies: an output may be a view of the input
                    ends.append([_real_vector(o).copy() for o in _tuple(func(*inputs)) if isinstance(o, Tensor)])
                memory[index] = before
                mine.append([(high - low) / (2 * eps) for high, low in zip(*ends)])
        columns.append(mine)
    return columns


def _unit_vectors(output):
    """One gradient per real component of the output."""
    from .. import zeros_like

    for i in range(output.numel()):
        for unit in (1, 1j) if output.is_complex() else (1,):
            v = zeros_like(output).detach().contiguous()
            v.view(-1)[i] = unit
            yield v


def _check(func, inputs, eps, atol, rtol, nondet_tol, check_dtypes):
    varied = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    outputs = [o for o in _tuple(func(*inputs)) if isinstance(o, Tensor)]
    columns = _numerical(func, inputs, varied, eps)
    if not any(o.requires_grad for o in outputs):
        for mine in columns:
            for column in mine:
                if any(np.any(np.abs(c) > atol) for c in column):
                    raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    for k, output in enumerate(outputs):
        if not output.requires_grad:
            continue
        rows = [[] for _ in varied]
        for v in _unit_vectors(output):
            grads = grad(output, varied, v, retain_graph=True, allow_unused=True)
            again = grad(output, varied, v, retain_graph=True, allow_unused=True)
            for i, (g, g2, t) in enumerate(zip(grads, again, varied)):
                if g is None:
                    rows[i].append(np.zeros(t.numel() * (2 if t.is_complex() else 1)))
                    continue
                if g.shape != t.shape:
                    sizes = f"{tuple(g.shape)} instead of {tuple(t.shape)}"
                    raise GradcheckError(f"grad is not of the input's size: {sizes}")
                if check_dtypes and g.dtype != t.dtype:
                    raise GradcheckError("grad has another dtype than the input")
                rows[i].append(_real_vector(g))
                if np.any(np.abs(rows[i][-1] - _real_vector(g2)) > nondet_tol):
                    raise GradcheckError(
                        "Backward is not reentrant, i.e., running backward with same input and grad_output multiple "
                        f"times gives different values, although analytical gradient matches numerical gradient "
                        f"(output {k}, input {i}; tolerance {nondet_tol})"
                    )
        for i in range(len(varied)):
            if not columns[i] or not rows[i]:
                continue
            numerical = np.stack([column[k] for column in columns[i]])  # (input component, output component)
            analytical = np.stack(rows[i], 1)
            if not np.allclose(analytical, numerical, rtol, atol, equal_nan=True):
                raise GradcheckError(
                    f"Jacobian mismatch for output {k} with respect to input {i},\nnumerical:{numerical}\n"
                    f"analytical:{analytical}\n"
                )


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
