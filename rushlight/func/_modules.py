"""Modules as functions of their parameters."""

from .. import _C
from ..nn.utils.stateless import _functional_call


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
    """Rewriting of in-place operations away: there is no such tracer."""
    raise NotImplementedError("func.functionalize is not implemented")
