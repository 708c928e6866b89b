"""Adamax."""

import rushlight as rl

from .optimizer import (
    Optimizer,
    add_weight_decay,
    as_float,
    check_options,
    columns,
    count,
    new_step,
    real_views,
    zeros_of,
)


class Adamax(Optimizer):
    """Adamax (Kingma and Ba, 2015): Adam with a decaying maximum in place of the mean of squares.

    Args:
        betas: decay of the mean and of the maximum.
        eps: added to the absolute gradient.
    """

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        state["step"] = new_step()
        state["exp_avg"] = zeros_of(p)
        state["exp_inf"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        steps, exp_avgs, exp_infs = columns(states, "step", "exp_avg", "exp_inf")
        beta1, beta2 = group["betas"]
        _update(
            *real_views(params, grads, exp_avgs, exp_infs),
            steps,
            lr=as_float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
        )


def _update(params, grads, exp_avgs, exp_infs, steps, *, lr, beta1, beta2, eps, weight_decay):
    """One step on lists of tensors."""
    grads = add_weight_decay(params, grads, weight_decay)
    for p, grad, exp_avg, exp_inf, step in zip(params, grads, exp_avgs, exp_infs, count(steps)):
        exp_avg.lerp_(grad, 1 - beta1)
        exp_inf.copy_(rl.maximum(exp_inf.mul_(beta2), grad.abs().add_(eps)))
        p.addcdiv_(exp_avg, exp_inf, value=-lr / (1 - beta1**step))
