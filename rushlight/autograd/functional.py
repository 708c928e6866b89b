"""Jacobians, Hessians and their products with vectors, as functions of a function. All use backward passes; jvp and hvp
differentiate a backward pass once more. With vectorize=True the rows (or, in forward mode, the columns) of a Jacobian are
computed together by vmap."""

from .. import _C
from .grad_mode import enable_grad
from .gradients import grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensor = _C.Tensor


def _as_tuple(x, what, function):
    if isinstance(x, Tensor):
        return False, (x,)
    if not isinstance(x, (tuple, list)):
        given = "the outputs of the user-provided function" if what == "outputs" else f"the {what}"
        if what == "outputs":
            raise TypeError(
                f"The outputs of the user-provided function given to {function} must be either a Tensor or a tuple of "
                f"Tensors but the given outputs of the user-provided function has type {type(x)}."
            )
        raise TypeError(
            f"{given[0].upper()}{given[1:]} given to {function} must be a Tensor or a tuple of Tensors but has type "
            f"{type(x)}."
        )
    for i, t in enumerate(x):
        if not isinstance(t, Tensor):
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but the value at "
                f"index {i} of the given {what} has type {type(t)}."
            )
    return True, tuple(x)


def _inputs(inputs, create_graph):
    """Fresh leaves with the inputs' values; views of the inputs where the result has to be differentiable."""
    return tuple(
        t.view_as(t) if create_graph and t.requires_grad else t.detach().requires_grad_() for t in inputs
    )


def _like(gradients, tensors, strict, message):
    from .. import zeros_like

    if strict and any(g is None for g in gradients):
        raise RuntimeError(message)
    return tuple(zeros_like(t) if g is None else g for g, t in zip(gradients, tensors))


def _result(tensors, create_graph):
    return tensors if create_graph else tuple(t.detach() for t in tensors)


def _vector(v, tensors, function, what="v"):
    from .. import ones_like

    if v is None:
        if len(tensors) != 1 or tensors[0].numel() != 1:
            raise RuntimeError(
                f"The vector {what} can only be None if the "
                + ("user-provided function returns a single Tensor with a single element."
                   if function in ("vjp", "jvp") else "input is a single Tensor with a single element.")
            )  # fmt: skip
        return (ones_like(tensors[0]),)
    _, v = _as_tuple(v, what, function)
    if len(v) != len(tensors):
        raise RuntimeError(f"{what} has invalid length: should be {len(tensors)} but got {len(v)}.")
    for i, (a, t) in enumerate(zip(v, tensors)):
        if a.shape != t.shape:
            raise RuntimeError(f"Entry {i} in {what} has invalid size: should be {t.shape} but got {a.shape}.")
    return v


def _unpack(many, values):
    return values if many else values[0]


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), product of the vector v with the Jacobian of func)."""
    with enable_grad():
        many_in, inputs = _as_tuple(inputs, "inputs", "vjp")
        inputs = _inputs(inputs, create_graph)
        many_out, outputs = _as_tuple(func(*inputs), "outputs", "vjp")
        v = _vector(v, outputs, "vjp")
        rows = _gradients(outputs, inputs, v, create_graph)
        rows = _like(rows, inputs, strict, "The output of the user-provided function is independent of an input.")
    return _unpack(many_out, _result(outputs, create_graph)), _unpack(many_in, _result(rows, create_graph))


def _gradients(outputs, inputs, v, create_graph):
    """grad() that takes outputs without history for constants."""
    live = [(o, a) for o, a in zip(outputs, v) if o.requires_grad]
    if not live:
        return (None,) * len(inputs)
    return grad([o for o, _ in live], inputs, [a for _, a in live], create_graph=create_graph, allow_unused=True)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), product of the Jacobian of func with the vector v)."""
    from .. import zeros_like

    with enable_grad():
        many_in, inputs = _as_tuple(inputs, "inputs", "jvp")
        inputs = _inputs(inputs, create_graph)
        v = _vector(v, inputs, "jvp")
        many_out, outputs = _as_tuple(func(*inputs), "outputs", "jvp")
        # u -> u J is linear in u: its derivative in the direction v is J v
        u = tuple(zeros_like(o).requires_grad_() for o in outputs)
        rows = _gradients(outputs, inputs, u, True)
        used = [(r, a) for r, a in zip(rows, v) if r is not None and r.requires_grad]
        if strict and not used:
            raise RuntimeError("The output of the user-provided function is independent of the input.")
        columns = (None,) * len(u)
        if used:
            columns = grad([r for r, _ in used], u, [a for _, a in used], create_graph=create_graph, allow_unused=True)
        message = "The output of the user-provided function is independent of the input."
        columns = _like(columns, outputs, strict, message)
    return _unpack(many_out, _result(outputs, create_graph)), _unpack(many_out, _result(columns, create_graph))


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """Jacobian of func: shape (*output.shape, *input.shape), nested in tuples for several outputs or inputs.

    Args:
        create_graph: the result can be differentiated.
        strict: an error where an output does not depend on an input, instead of zeros.
        vectorize: all rows at once, by vmap, instead of one backward pass for each.
        strategy: "reverse-mode", or "forward-mode", which is quicker where there are more outputs than inputs; the
            latter only with vectorize.

    >>> rl.autograd.functional.jacobian(lambda x: x**2, rl.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    from .. import stack, zeros, zeros_like

    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than '
            'inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    if vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please "
            "either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        many_in, inputs = _as_tuple(inputs, "inputs", "jacobian")
        inputs = _inputs(inputs, create_graph)
        many_out, outputs = _as_tuple(func(*inputs), "outputs", "jacobian")
        result = []
        for output in outputs:
            if vectorize and output.numel():
                result.append(_all_rows(output, inputs, create_graph))
                continue
            rows = [[] for _ in inputs]
            for k in range(output.numel()):
                v = zeros_like(output).detach().contiguous()
                v.view(-1)[k] = 1
                grads = (None,) * len(inputs)
                if output.requires_grad:
                    grads = grad(output, inputs, v, retain_graph=True, create_graph=create_graph, allow_unused=True)
                grads = _like(grads, inputs, strict, "Output of the user-provided function is independent of an input.")
                for mine, g in zip(rows, grads):
                    mine.append(g)
            result.append(
                tuple(
                    stack(mine).view(*output.shape, *t.shape)
                    if mine
                    else zeros((*output.shape, *t.shape), dtype=t.dtype)
                    for mine, t in zip(rows, inputs)
                )
            )
        result = tuple(_result(r, create_graph) for r in result)
    if not many_in:
        result = tuple(r[0] for r in result)
    return result if many_out else result[0]


def _all_rows(output, inputs, create_graph):
    """The Jacobian of one output with respect to each input, by one batched backward pass."""
    from .. import eye, zeros

    shapes = [(*output.shape, *t.shape) for t in inputs]
    if not output.requires_grad:
        return tuple(zeros(shape, dtype=t.dtype) for shape, t in zip(shapes, inputs))
    n = output.numel()
    rows = grad(
        output,
        inputs,
        eye(n, dtype=output.dtype).view(n, *output.shape),
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        is_grads_batched=True,
    )
    return tuple(zeros(shape, dtype=t.dtype) if r is None else r.reshape(shape)
                 for r, shape, t in zip(rows, shapes, inputs))  # fmt: skip


def _forward_jacobian(func, inputs, create_graph, strict, vectorize):
    for given, name in ((create_graph, "create_graph=True"), (strict, "strict=True")):
        if given:
            flag = name.partition("=")[0]
            kind = NotImplementedError if flag == "create_graph" else RuntimeError
            raise kind(
                f'torch.autograd.functional.jacobian: `{name}` and `strategy="forward-mode"` are not supported together '
                f'(yet). Please either set `{flag}=False` or `strategy="reverse-mode"`.'
            )
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian isonly implemented for `vectorize=True`."
        )
    from ..func import jacfwd

    many_in, inputs = _as_tuple(inputs, "inputs", "jacobian")

    def checked(*args):
        return _as_tuple(func(*args), "outputs", "jacobian")[1]

    many_out = isinstance(func(*inputs), (tuple, list))
    result = jacfwd(checked, argnums=tuple(range(len(inputs))))(*inputs)
    if not many_in:
        result = tuple(r[0] for r in result)
    return result if many_out else result[0]


def _scalar(outputs, function):
    _, outputs = _as_tuple(outputs, "outputs", function)
    if len(outputs) != 1 or outputs[0].numel() != 1:
        raise RuntimeError(
            f"The function given to {function} should return a single Tensor with a single element."
            if len(outputs) == 1
            else f"The function given to {function} should return a single Tensor"
        )
    return outputs[0].view(()) if outputs[0].dim() else outputs[0]


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """Second derivatives of a scalar function: the Jacobian of its gradient.

    Args:
        outer_jacobian_strategy: of that Jacobian; "forward-mode" only with vectorize.
    """
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    many, inputs = _as_tuple(inputs, "inputs", "hessian")

    if outer_jacobian_strategy == "forward-mode":
        from ..func import grad as gradient_of

        slope = gradient_of(lambda *args: _scalar(func(*args), "hessian"), argnums=tuple(range(len(inputs))))
        rows = _forward_jacobian(slope, inputs, create_graph, strict, vectorize)
        return rows if many else rows[0][0]

    def gradient(*args):
        value = _scalar(func(*args), "hessian")
        grads = grad(value, args, create_graph=True, allow_unused=True) if value.requires_grad else (None,) * len(args)
        return _like(grads, args, strict, "The output of the user-provided function is independent of an input.")

    rows = jacobian(
        gradient,
        inputs,
        create_graph=create_graph,
        strict=strict,
        vectorize=vectorize,
        strategy=outer_jacobian_strategy,
    )
    return rows if many else rows[0][0]


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), product of the vector v with the Hessian of the scalar function func)."""
    with enable_grad():
        many, inputs = _as_tuple(inputs, "inputs", "vhp")
        inputs = _inputs(inputs, create_graph)
        v = _vector(v, inputs, "vhp")
        value = _scalar(func(*inputs), "vhp")
        slopes = _gradients((value,), inputs, (None,), True) if value.requires_grad else (None,) * len(inputs)
        slopes = _like(slopes, inputs, strict, "The output of the user-provided function is independent of an input.")
        products = _gradients(slopes, inputs, v, create_graph)
        products = _like(products, inputs, strict, "The gradient of the function is independent of an input.")
    return _result((value,), create_graph)[0], _unpack(many, _result(products, create_graph))


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), product of the Hessian of the scalar function func with the vector v)."""
    # A Hessian of continuous second derivatives is symmetric: both products are the same.
    many, tensors = _as_tuple(inputs, "inputs", "hvp")
    value, products = vhp(func, tensors, v if v is None or many else (v,), create_graph, strict)
    return value, _unpack(many, products)
