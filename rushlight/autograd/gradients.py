"""backward() and grad(): arguments are brought into one form here; the pass itself runs in the C++ engine."""

import os
import warnings

from .. import _C

Tensor = _C.Tensor


def _tensors(given):
    """Tensors, out of tensors and GradientEdges, one or several of them."""
    if isinstance(given, Tensor):
        return (given,)
    if hasattr(given, "output_nr"):
        return (_C._tensor_at_edge(given.node, given.output_nr),)
    return tuple(_C._tensor_at_edge(x.node, x.output_nr) if hasattr(x, "output_nr") and not isinstance(x, Tensor)
                 else x for x in given)  # fmt: skip


_backward, _run_backward = _C._backward, _C._run_backward

# Errors name the user's line: frames of the package itself are passed over.
_C._set_package_prefix(os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep)

_CYCLE = (
    "Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient "
    "which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid this. If you "
    "have to use this function, make sure to reset the .grad fields of your parameters to None after use to break the "
    "cycle and avoid the leak."
)


def backward(
    tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None
):
    """Adds the gradients of tensors to the .grad of the leaves they were computed from.

    Args:
        tensors: one tensor (or GradientEdge) or several, whose gradients are added up.
        grad_tensors: gradient of each; None for a scalar stands for one.
        retain_graph: keep what a second pass needs (default: create_graph).
        create_graph: record the pass, so that the gradients can be differentiated again.
        inputs: add only to the .grad of these.

    >>> x = rl.tensor([1.0, 2.0], requires_grad=True)
    >>> rl.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. Please only "
                "use `grad_tensors`."
            )
        grad_tensors = grad_variables
    if create_graph:
        warnings.warn(_CYCLE, UserWarning, stacklevel=2)
    if retain_graph is None:
        retain_graph = create_graph
    if grad_tensors is None and inputs is None and isinstance(tensors, Tensor):
        _backward(tensors, bool(retain_graph), bool(create_graph))
        return
    tensors = _tensors(tensors)
    if inputs is not None:
        inputs = _tensors(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    grads = _gradients(grad_tensors, len(tensors))
    _run_backward(tensors, grads, retain_graph, create_graph, inputs, True, True)


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    only_inputs=True,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
):
    """Gradients of the sum of outputs with respect to inputs, without touching any .grad.

    Args:
        outputs, inputs: tensors, or GradientEdges in the place of some.
        grad_outputs: gradient of each output; None for a scalar stands for one.
        retain_graph: keep what a second pass needs (default: create_graph).
        create_graph: record the pass, so that the gradients can be differentiated again.
        allow_unused: None instead of an error for inputs that the outputs do not depend on.
        is_grads_batched: the first dimension of each of grad_outputs (and of the results) counts several gradients.
        materialize_grads: zeros instead of None for those.

    >>> x = rl.tensor(3.0, requires_grad=True)
    >>> (slope,) = rl.autograd.grad(x**3, x, create_graph=True)
    >>> rl.autograd.grad(slope, x)
    (tensor(18.),)
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if allow_unused is None:
        allow_unused = materialize_grads
    if retain_graph is None:
        retain_graph = create_graph
    keys = None
    if isinstance(inputs, dict):
        keys, inputs = tuple(inputs), tuple(inputs.values())
    inputs = _tensors(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for t in inputs:
        if not isinstance(t, Tensor):
            raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}")
    outputs = _tensors(outputs)
    grads = _gradients(grad_outputs, len(outputs))
    if is_grads_batched:
        results = _batched(outputs, grads, create_graph, inputs, allow_unused)
    else:
        results = _run_backward(outputs, grads, retain_graph, create_graph, inputs, False, allow_unused)
    if materialize_grads:
        from .. import zeros_like

        results = tuple(zeros_like(t, requires_grad=create_graph) if g is None else g for g, t in zip(results, inputs))
    return results if keys is None else dict(zip(keys, results))


def _batched(outputs, grads, create_graph, inputs, allow_unused):
    """Products of the Jacobian with a batch of gradients."""
    from ..func import vmap

    reached = []

    def product(*grads):
        found = _run_backward(outputs, grads, True, create_graph, inputs, False, allow_unused)
        reached[:] = [g is not None for g in found]
        return tuple(g for g in found if g is not None)

    found = iter(vmap(product)(*grads))
    return tuple(next(found) if yes else None for yes in reached)


def _gradients(given, n):
    """The gradients of n outputs as a tuple of tensors and None."""
    if given is None:
        return (None,) * n
    given = (given,) if isinstance(given, Tensor) else tuple(given)
    for g in given:
        if g is not None and not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    return given
