"""RMSprop."""

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


class RMSprop(Optimizer):
    """RMSprop (Hinton, 2012): steps divided by the root of a running mean of squared gradients.

    Args:
        alpha: decay of the running mean.
        eps: added to the root.
        momentum: share of the last update that is kept.
        centered: divide by an estimate of the standard deviation instead.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        check_options(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        state["step"] = new_step()
        state["square_avg"] = zeros_of(p)
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_of(p)
        if group["centered"]:
            state["grad_avg"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        for state in states:
            state["step"] += 1
        nothing = [None] * len(params)
        _update(
            *real_views(
                params,
                grads,
                *columns(states, "square_avg"),
                columns(states, "momentum_buffer")[0] if group["momentum"] > 0 else nothing,
                columns(states, "grad_avg")[0] if group["centered"] else nothing,
            ),
            lr=as_float(group["lr"]),
            alpha=group["alpha"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
        )


def _update(params, grads, square_avgs, buffers, grad_avgs, *, lr, alpha, eps, weight_decay, momentum):
    """One step on lists of tensors. buffers and grad_avgs hold None where they are not used."""
    grads = add_weight_decay(params, grads, weight_decay)
    for p, grad, square_avg, buffer, grad_avg in zip(params, grads, square_avgs, buffers, grad_avgs):
        square_avg.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if grad_avg is None:
            root = square_avg.sqrt()
        else:
            grad_avg.lerp_(grad, 1 - alpha)
            root = square_avg.addcmul(grad_avg, grad_avg, value=-1).sqrt_()
        root = root.add_(eps)
        if buffer is None:
            p.addcdiv_(grad, root, value=-lr)
        else:
            buffer.mul_(momentum).addcdiv_(grad, root)
            p.add_(buffer, alpha=-lr)
