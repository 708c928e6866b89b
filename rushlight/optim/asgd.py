"""Averaged stochastic gradient descent."""

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
)


class ASGD(Optimizer):
    """Averaged SGD (Polyak and Juditsky, 1992). The average is kept in the state as "ax".

    Args:
        lambd: decay of the parameters.
        alpha: power by which the step size falls.
        t0: step at which averaging begins.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        lambd=1e-4,
        alpha=0.75,
        t0=1e6,
        weight_decay=0,
        foreach=None,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        check_options(lr=lr, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
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
        state["eta"] = new_step() + as_float(group["lr"])
        state["mu"] = new_step() + 1
        state["ax"] = rl.zeros_like(p, memory_format=rl.preserve_format)

    def _update_group(self, group, params, grads, states):
        steps, averages, mus, etas = columns(states, "step", "ax", "mu", "eta")
        _update(
            *real_views(params, grads, averages),
            mus,
            etas,
            steps,
            lr=as_float(group["lr"]),
            lambd=group["lambd"],
            alpha=group["alpha"],
            t0=group["t0"],
            weight_decay=group["weight_decay"],
        )


def _update(params, grads, averages, mus, etas, steps, *, lr, lambd, alpha, t0, weight_decay):
    """One step on lists of tensors."""
    grads = add_weight_decay(params, grads, weight_decay)
    for p, grad, average, mu, eta, step in zip(params, grads, averages, mus, etas, count(steps)):
        size = eta.item()
        p.mul_(1 - lambd * size)
        p.add_(grad, alpha=-size)
        if mu.item() != 1:
            average.add_(p.sub(average).mul_(mu))
        else:
            average.copy_(p)
        eta.fill_(lr / (1 + lambd * lr * step) ** alpha)
        mu.fill_(1 / max(1, step - t0))
