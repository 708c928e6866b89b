"""Selective checkpoints: a policy says which operators of a checkpointed function keep their outputs instead of being
computed again. checkpoint.py has checkpoint() itself."""

import enum

from .. import _C, ops

Tensor = _C.Tensor
aten = ops.aten


class CheckpointPolicy(enum.Enum):
    """What a policy answers for an operator. PREFER leaves the choice to a compiler; without one it is as MUST. Outputs
    that should go to the CPU are kept: here they are on it."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


_KEEP = {CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_SAVE, CheckpointPolicy.MUST_CPU_OFFLOAD,
         CheckpointPolicy.PREFER_CPU_OFFLOAD}  # fmt: skip


class SelectiveCheckpointContext:
    """What a policy is told beside the operator and its arguments.

    Args:
        is_recompute: whether this is the second run. (Decisions are made in the first one.)
        op_output: the output, or the tuple of outputs.
    """

    def __init__(self, *, is_recompute, op_output=None):
        self.is_recompute, self.op_output = is_recompute, op_output


SAC_IGNORED_OPS = {aten.detach.default}

# PyTorch's operators that do the work of ours
_OVERLOADS = {"add": "Tensor", "sub": "Tensor", "mul": "Tensor", "div": "Tensor", "eq": "Tensor", "ne": "Tensor",
              "lt": "Tensor", "le": "Tensor", "gt": "Tensor", "ge": "Tensor", "where": "self"}  # fmt: skip
_NAMES = {"softmax": "_softmax", "log_softmax": "_log_softmax", "layer_norm": "native_layer_norm",
          "group_norm": "native_group_norm", "batch_norm": "native_batch_norm", "to_dtype": "_to_copy",
          "conv1d": "convolution", "conv2d": "convolution", "conv3d": "convolution", "_convolution": "convolution",
          "conv_transpose1d": "convolution", "conv_transpose2d": "convolution", "conv_transpose3d": "convolution",
          "nll_loss": "nll_loss_forward",
          "scaled_dot_product_attention": "_scaled_dot_product_flash_attention_for_cpu",
          "_scaled_dot_product_attention": "_scaled_dot_product_flash_attention_for_cpu"}  # fmt: skip


def _overload(name, args):
    """PyTorch's overload that a call of ours stands for. A linear layer is aten.addmm or aten.mm there, a matrix product
    aten.mm, bmm, mv or dot by the dimensions."""
    name, _, overload = name.partition(".")
    if name == "linear":
        name = "mm" if len(args) < 3 or args[2] is None else "addmm"
    elif name == "matmul":
        a, b = args[0].dim(), args[1].dim()
        name = "dot" if a == b == 1 else "mv" if b == 1 and a == 2 else "mm" if a <= 2 or b <= 2 else "bmm"
    name = _NAMES.get(name, name)
    overload = overload or _OVERLOADS.get(name, "default")
    return getattr(getattr(aten, name, None) or ops.OpOverloadPacket("aten", name, None), overload)


class _Kept:
    """Outputs as they were, or None for an operator that is computed again."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.versions = [t if t is None else t._version for t in outputs]


class _operators:  # noqa: N801
    """Context in which every operator asks before() for its outputs and shows them to after(). It can be entered again."""

    def __init__(self, before, after, at_start=lambda: None):
        self.functions, self.at_start, self.outer = (before, after), at_start, []

    def __enter__(self):
        self.at_start()
        self.outer.append(_C._select_operators(*self.functions))

    def __exit__(self, *exception):
        _C._select_operators(*self.outer.pop())
        return False


def create_selective_checkpoint_contexts(policy_fn_or_list, allow_cache_entry_mutation=False):
    """The two contexts for checkpoint(context_fn=...) that keep the outputs of chosen operators.

    Args:
        policy_fn_or_list: function(ctx, op, *args) -> CheckpointPolicy (or bool: keep), or a list of operators
            (`rushlight.ops.aten.mm.default`) to keep.
        allow_cache_entry_mutation: no error where something kept was changed in place meanwhile.

    >>> from functools import partial
    >>> def policy(ctx, op, *args, **kwargs):
    ...     return CheckpointPolicy.MUST_SAVE if op is rl.ops.aten.mm.default else CheckpointPolicy.PREFER_RECOMPUTE
    >>> contexts = partial(create_selective_checkpoint_contexts, policy)
    >>> x = rl.ones(2, 2, requires_grad=True)
    >>> y = rl.utils.checkpoint.checkpoint(lambda x: (x @ x).sin(), x, use_reentrant=False, context_fn=contexts)
    """
    if isinstance(policy_fn_or_list, list):
        for op in policy_fn_or_list:
            if not isinstance(op, ops.OpOverload):
                raise ValueError(
                    f"Expected op in `op_list` to be an OpOverload but got: {op} of type {type(op)}. "
                    + ("Please update the OpOverloadPacket to a specific OpOverload."
                       if isinstance(op, ops.OpOverloadPacket) else "")
                )  # fmt: skip
        chosen = set(policy_fn_or_list)

        def policy(ctx, op, *args, **kwargs):
            return CheckpointPolicy.MUST_SAVE if op in chosen else CheckpointPolicy.PREFER_RECOMPUTE

    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError("policy_fn_or_list must be either a function or a list of ops.")
    kept = {}  # name of the operator -> one entry per call, in order

    def after(name, args, outputs):
        op = _overload(name, args)
        if op in SAC_IGNORED_OPS:
            return
        output = outputs[0] if len(outputs) == 1 else outputs
        answer = policy(SelectiveCheckpointContext(is_recompute=False, op_output=output), op, *args)
        keep = answer if isinstance(answer, bool) else answer in _KEEP
        entry = _Kept([t if t is None else t.detach() for t in outputs]) if keep else None
        kept.setdefault(name, []).append(entry)

    counts = {}

    def before(name, args):
        entries = kept.get(name, ())
        at = counts[name] = counts.get(name, -1) + 1
        entry = entries[at] if at < len(entries) else None
        if entry is None:
            return None
        if not allow_cache_entry_mutation:
            if any(t is not None and t._version != v for t, v in zip(entry.outputs, entry.versions)):
                raise RuntimeError("Tensor cached during selective activation checkpoint has been mutated")
        return tuple(entry.outputs)

    return _operators(None, after), _operators(before, None, at_start=counts.clear)
