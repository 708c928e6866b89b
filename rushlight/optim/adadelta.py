"""Adadelta."""

from .optimizer import (
    Optimizer,
    add_weight_decay,
    as_float,
    check_options,
    columns,
    new_step,
    real_views,
    zeros_of,
)


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012): the size of steps follows the running means of squared gradients and of squared
    steps.

    Args:
        rho: decay of both means.
        eps: added to both before the root.
        lr: factor on the resulting step.
    """

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        check_options(lr=lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_options(eps=eps, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        state["step"] = new_step()
        state["square_avg"] = zeros_of(p)
        state["acc_delta"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        for state in states:
            state["step"] += 1
        _update(
            *real_views(params, grads, *columns(states, "square_avg", "acc_delta")),
            lr=as_float(group["lr"]),
            rho=group["rho"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
        )


def _update(params, grads, square_avgs, acc_deltas, *, lr, rho, eps, weight_decay):
    """One step on lists of tensors."""
    grads = add_weight_decay(params, grads, weight_decay)
    for p, grad, square_avg, acc_delta in zip(params, grads, square_avgs, acc_deltas):
        square_avg.mul_(rho).addcmul_(grad, grad, value=1 - rho)
        root = square_avg.add(eps).sqrt_()
        delta = acc_delta.add(eps).sqrt_().div_(root).mul_(grad)
        acc_delta.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        p.add_(delta, alpha=-lr)
