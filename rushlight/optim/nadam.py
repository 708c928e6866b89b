"""NAdam."""

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


class NAdam(Optimizer):
    """NAdam (Dozat, 2016): Adam with Nesterov momentum.

    Args:
        momentum_decay: how fast the momentum rises to its full value.
        decoupled_weight_decay: shrink the parameters themselves instead of adding an L2 term.
    """

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        check_options(lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, momentum_decay=momentum_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        state["step"] = new_step()
        state["mu_product"] = rl.ones_like(new_step())
        state["exp_avg"] = zeros_of(p)
        state["exp_avg_sq"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        steps, mu_products, exp_avgs, exp_avg_sqs = columns(
            states, "step", "mu_product", "exp_avg", "exp_avg_sq"
        )
        beta1, beta2 = group["betas"]
        _update(
            *real_views(params, grads, exp_avgs, exp_avg_sqs),
            mu_products,
            steps,
            lr=as_float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            momentum_decay=group["momentum_decay"],
            decoupled=group["decoupled_weight_decay"],
        )


def _update(
    params, grads, exp_avgs, exp_avg_sqs, mu_products, steps, *, lr, beta1, beta2, eps, weight_decay, momentum_decay,
    decoupled,
):  # fmt: skip
    """One step on lists of tensors."""
    if not decoupled:
        grads = add_weight_decay(params, grads, weight_decay)
    rows = zip(params, grads, exp_avgs, exp_avg_sqs, mu_products, count(steps))
    for p, grad, exp_avg, exp_avg_sq, mu_product, step in rows:
        if decoupled and weight_decay != 0:
            p.mul_(1 - lr * weight_decay)
        mu = beta1 * (1.0 - 0.5 * (0.96 ** (step * momentum_decay)))
        mu_next = beta1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * momentum_decay)))
        mu_product *= mu
        product = mu_product.item()
        exp_avg.lerp_(grad, 1 - beta1)
        exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = exp_avg_sq.div(1 - beta2**step).sqrt().add_(eps)
        p.addcdiv_(grad, denominator, value=-lr * (1.0 - mu) / (1.0 - product))
        p.addcdiv_(exp_avg, denominator, value=-lr * mu_next / (1.0 - product * mu_next))
