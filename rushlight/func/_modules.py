"""Modules as functions of their parameters, and functions without in-place operations."""

import functools

from .. import _C
from ..nn.utils.stateless import _functional_call
from ..utils._pytree import tree_leaves, tree_map


def functional_call(
    module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call module with the tensors of a dictionary (or several) in place of its parameters and buffers.

    >>> linear = rl.nn.Linear(1, 1)
    >>> rl.func.functional_call(linear, {"weight": rl.ones(1, 1), "bias": rl.zeros(1)}, rl.tensor([3.0])).item()
    3.0
    """
    return _functional_call(
        module, parameter_and_buffer_dicts, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def stack_module_state(models):
    """(parameters, buffers) of models of one architecture, stacked by name, for vmap over models."""
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or not any(m.training for m in models)):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(dicts):
        return {
            k: _C.stack([d[k].detach() for d in dicts]).requires_grad_(dicts[0][k].requires_grad)
            for k in dicts[0]
        }

    return stacked([dict(m.named_parameters()) for m in models]), stacked(
        [dict(m.named_buffers()) for m in models]
    )


def replace_all_batch_norm_modules_(root):
    """Make the batch norms in root use the statistics of the batch only, without running averages."""
    for module in root.modules():
        if isinstance(module, _batch_norm_base()):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def _batch_norm_base():
    from ..nn.modules.batchnorm import _BatchNorm

    return _BatchNorm


def functionalize(func, *, remove="mutations"):
    """func as it would be without in-place operations: its results share no memory with the arguments. What func writes to
    its arguments arrives there, as in PyTorch, and nothing records the operators in between.

    Args:
        remove: "mutations" or "mutations_and_views".
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are:\n"
            "     remove='mutations': in-place operators and out= are replaced.\n"
            "     remove='mutations_and_views': views are replaced by copies, too."
        )

    def own(out, given):
        shares = isinstance(out, _C.Tensor) and (out._is_view() or any(out is a for a in given))
        return out.clone() if shares else out

    @functools.wraps(func)
    def call(*args, **kwargs):
        given = tree_leaves((args, kwargs))
        return tree_map(lambda out: own(out, given), func(*args, **kwargs))

    return call
