"""Adafactor."""

import rushlight as rl

from .optimizer import Optimizer, as_float, count, new_step


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern, 2018): the mean of squared gradients of a matrix is kept as the product of a row
    and a column only; steps are relative to the size of the parameters.

    Args:
        beta2_decay: the mean decays with 1 - step ** beta2_decay.
        eps: (smallest root of a variance (by default that of the dtype), smallest size of a parameter).
        d: limit for the root mean square of an update.
        weight_decay: decoupled.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        beta2_decay=-0.8,
        eps=(None, 1e-3),
        d=1.0,
        weight_decay=0.0,
        *,
        foreach=None,
        maximize=False,
    ):
        if not 0.0 <= lr:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not 0.0 <= eps[0]:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not 0.0 <= eps[1]:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state["step"] = new_step()
        if p.dim() > 1:
            state["row_var"] = p.grad.new_zeros((*p.shape[:-1], 1))
            state["col_var"] = p.grad.new_zeros((*p.shape[:-2], 1, p.shape[-1]))
        else:
            state["variance"] = rl.zeros_like(p.grad, memory_format=rl.preserve_format)

    def _update_group(self, group, params, grads, states):
        _update(
            params,
            grads,
            [state.get("row_var") for state in states],
            [state.get("col_var") for state in states],
            [state.get("variance") for state in states],
            [state["step"] for state in states],
            lr=as_float(group["lr"]),
            beta2_decay=group["beta2_decay"],
            eps=group["eps"],
            d=group["d"],
            weight_decay=group["weight_decay"],
        )


def _mean_square(grad, dim):
    return grad.norm(dim=dim, keepdim=True).square_().div_(grad.size(dim))


def _update(params, grads, row_vars, col_vars, variances, steps, *, lr, beta2_decay, eps, d, weight_decay):
    """One step on lists of tensors. Matrices have row_vars and col_vars, others variances."""
    rows = zip(params, grads, row_vars, col_vars, variances, count(steps))
    for p, grad, row_var, col_var, variance, step in rows:
        eps1 = rl.finfo(p.dtype).eps if eps[0] is None else eps[0]
        new_share = step**beta2_decay
        relative = min(lr, 1 / (step**0.5))
        size = max(eps[1], p.norm(2).item() / (p.numel() ** 0.5)) * relative
        if weight_decay != 0:
            p.mul_(1 - lr * weight_decay)
        if grad.dim() > 1:
            row_var.lerp_(_mean_square(grad, -1), new_share)
            col_var.lerp_(_mean_square(grad, -2), new_share)
            estimate = row_var @ col_var
            estimate.div_(row_var.mean(dim=-2, keepdim=True).clamp_(min=eps1))
        else:
            variance.lerp_(grad * grad, new_share)
            estimate = variance.clone()
        update = estimate.clamp_(min=eps1 * eps1).rsqrt_().mul_(grad)
        excess = max(1.0, update.norm(2).item() / ((update.numel() ** 0.5) * d))
        p.add_(update, alpha=-size / excess)
