"""RAdam."""

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


class RAdam(Optimizer):
    """RAdam (Liu et al., 2020): Adam that leaves out the second moment while its estimate is too uncertain.

    Args:
        decoupled_weight_decay: shrink the parameters themselves instead of adding an L2 term.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        state["step"] = new_step()
        state["exp_avg"] = zeros_of(p)
        state["exp_avg_sq"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        steps, exp_avgs, exp_avg_sqs = columns(states, "step", "exp_avg", "exp_avg_sq")
        beta1, beta2 = group["betas"]
        _update(
            *real_views(params, grads, exp_avgs, exp_avg_sqs),
            steps,
            lr=as_float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
        )


def _update(params, grads, exp_avgs, exp_avg_sqs, steps, *, lr, beta1, beta2, eps, weight_decay, decoupled):
    """One step on lists of tensors."""
    if not decoupled:
        grads = add_weight_decay(params, grads, weight_decay)
    rho_inf = 2 / (1 - beta2) - 1  # longest length of the approximated moving average
    for p, grad, exp_avg, exp_avg_sq, step in zip(params, grads, exp_avgs, exp_avg_sqs, count(steps)):
        if decoupled and weight_decay != 0:
            p.mul_(1 - lr * weight_decay)
        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        correction2 = 1 - beta2**step
        direction = exp_avg / (1 - beta1**step)
        rho = rho_inf - 2 * step * (beta2**step) / correction2
        if rho > 5.0:
            rectification = ((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)) ** 0.5
            scale = (correction2**0.5) / exp_avg_sq.sqrt().add_(eps)
            p.add_(direction * lr * scale * rectification, alpha=-1.0)
        else:
            p.add_(direction * lr, alpha=-1.0)
