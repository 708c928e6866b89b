"""Adagrad."""

import rushlight as rl

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
)


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011): steps divided by the root of the sum of all squared gradients.

    Args:
        lr_decay: lr is divided by 1 + (step - 1) * lr_decay.
        initial_accumulator_value: where the sum starts.
        eps: added to the root.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        check_options(
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )
        check_fused(self, fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        # here the state exists before the first step
        for group in self.param_groups:
            for p in group["params"]:
                self._init_state(group, p, self.state[p])

    step = Optimizer._step_by_groups

    def _refuse_sparse(self):
        """Sums change only in the rows that a sparse gradient contains."""

    def share_memory(self):
        """Moves the sums to memory that other processes can share."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()

    def _init_state(self, group, p, state):
        start = group["initial_accumulator_value"]
        state["step"] = new_step()
        state["sum"] = rl.full_like(
            p, complex(start, start) if p.is_complex() else start, memory_format=rl.preserve_format
        )

    def _update_group(self, group, params, grads, states):
        steps, sums = columns(states, "step", "sum")
        _update(
            *real_views(params, grads, sums),
            steps,
            lr=as_float(group["lr"]),
            lr_decay=group["lr_decay"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
        )


def _update(params, grads, sums, steps, *, lr, lr_decay, weight_decay, eps):
    """One step on lists of tensors."""
    if weight_decay != 0 and any(grad.is_sparse for grad in grads):
        raise RuntimeError("weight_decay option is not compatible with sparse gradients")
    grads = add_weight_decay(params, grads, weight_decay)
    for p, grad, total, step in zip(params, grads, sums, count(steps)):
        step_size = lr / (1 + (step - 1) * lr_decay)
        if grad.is_sparse:
            grad = grad.coalesce()
            where, values = tuple(grad.indices()), grad.values()
            total[where] += values.pow(2)
            p[where] += -step_size * values / total[where].sqrt().add_(eps)
            continue
        total.addcmul_(grad, grad, value=1)
        p.addcdiv_(grad, total.sqrt().add_(eps), value=-step_size)
