"""Rprop."""

import rushlight as rl

from .optimizer import Optimizer, as_float, check_options, columns, new_step, real_views, zeros_of


class Rprop(Optimizer):
    """Resilient backpropagation: each element has a step size of its own, which grows while the sign of the gradient
    stays and shrinks when it changes.

    Args:
        etas: factors of shrinking and growing.
        step_sizes: smallest and largest step size.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        check_options(lr=lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        lr = as_float(group["lr"])
        state["step"] = new_step()
        state["prev"] = zeros_of(p)
        state["step_size"] = rl.full_like(p.grad, complex(lr, lr) if p.is_complex() else lr)

    def _update_group(self, group, params, grads, states):
        for state in states:
            state["step"] += 1
        _update(
            *real_views(params, grads, *columns(states, "prev", "step_size")),
            etas=group["etas"],
            step_sizes=group["step_sizes"],
        )


def _update(params, grads, previous, sizes, *, etas, step_sizes):
    """One step on lists of tensors."""
    shrink, grow = etas
    for p, grad, prev, size in zip(params, grads, previous, sizes):
        sign = grad.mul(prev).sign()
        same, changed = sign > 0, sign < 0
        factor = rl.ones_like(grad).masked_fill_(same, grow).masked_fill_(changed, shrink)
        size.mul_(factor).clamp_(*step_sizes)
        grad = grad.masked_fill(changed, 0.0)  # no step, and none remembered, where the sign changed
        p.addcmul_(grad.sign(), size, value=-1)
        prev.copy_(grad)
