"""Adam, and the update rule that AdamW shares."""

import rushlight as rl

from .._C import _fused_adam_
from .optimizer import (
    Optimizer,
    add_weight_decay,
    as_float,
    check_fused,
    check_options,
    columns,
    count,
    new_step,
    real_views,
    zeros_of,
)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running means of the gradient and of its square.

    Args:
        betas: decay of the two running means.
        eps: added to the root of the second one.
        amsgrad: use the largest second mean seen so far.
        decoupled_weight_decay: shrink the parameters themselves (AdamW) instead of adding an L2 term.
        maximize: go up instead of down.
        foreach, capturable, differentiable, fused: accepted as in PyTorch; there is one implementation.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        check_options(lr=lr)
        _check_tensors(lr, betas, capturable, foreach)
        check_options(eps=eps, betas=betas, weight_decay=weight_decay)
        check_fused(self, fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    step = Optimizer._step_by_groups

    def _refuse_sparse(self):
        raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")

    def _init_state(self, group, p, state):
        state["step"] = new_step()
        state["exp_avg"] = zeros_of(p)
        state["exp_avg_sq"] = zeros_of(p)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        steps, exp_avgs, exp_avg_sqs = columns(states, "step", "exp_avg", "exp_avg_sq")
        max_exp_avg_sqs = columns(states, "max_exp_avg_sq")[0] if group["amsgrad"] else [None] * len(params)
        beta1, beta2 = group["betas"]
        _update(
            *real_views(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs),
            steps,
            lr=as_float(group["lr"]),
            beta1=as_float(beta1),
            beta2=as_float(beta2),
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
        )


def _check_tensors(lr, betas, capturable, foreach):
    """lr and betas may be tensors, with PyTorch's restrictions."""
    if isinstance(lr, rl.Tensor) and foreach and not capturable:
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    if not any(all(isinstance(beta, kind) for beta in betas) for kind in (float, rl.Tensor)):
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if isinstance(beta, rl.Tensor) and foreach and not capturable:
            raise ValueError(
                f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
            )
        if isinstance(beta, rl.Tensor) and beta.numel() != 1:
            raise ValueError(f"Tensor betas[{i}] must be 1-element")


def _update(
    params,
    grads,
    exp_avgs,
    exp_avg_sqs,
    max_exp_avg_sqs,
    steps,
    *,
    lr,
    beta1,
    beta2,
    eps,
    weight_decay,
    decoupled,
):
    """One step on lists of tensors. max_exp_avg_sqs holds None where amsgrad is off.

    The kernel does the same operations in one pass; what it does not take is left to the tensors below.
    """
    amsgrad = max_exp_avg_sqs[0] is not None
    if _fused_adam_(
        params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, lr=lr, beta1=beta1, beta2=beta2,
        weight_decay=weight_decay, eps=eps, amsgrad=amsgrad, maximize=False, decoupled=decoupled,
    ):  # fmt: skip
        return
    if not decoupled:
        grads = add_weight_decay(params, grads, weight_decay)
    rows = zip(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, count(steps))
    for p, grad, exp_avg, exp_avg_sq, max_exp_avg_sq, step in rows:
        if decoupled and weight_decay != 0:
            p.mul_(1 - lr * weight_decay)
        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        step_size = lr / (1 - beta1**step)
        second = exp_avg_sq
        if max_exp_avg_sq is not None:
            max_exp_avg_sq.copy_(rl.maximum(max_exp_avg_sq, exp_avg_sq))
            second = max_exp_avg_sq
        denominator = (second.sqrt() / (1 - beta2**step) ** 0.5).add_(eps)
        p.addcdiv_(exp_avg, denominator, value=-step_size)
