"""SparseAdam: Adam for sparse gradients, as large embedding tables have them."""

from .optimizer import Optimizer, as_float, check_options, zeros_of


class SparseAdam(Optimizer):
    """Adam whose running means change only in the rows that the sparse gradient contains.

    Args:
        betas, eps: as in Adam.
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_options(betas=betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        for i, group in enumerate(self.param_groups):
            sparse = [(i, j) for j, p in enumerate(group["params"]) if p.is_sparse]
            if sparse:
                raise ValueError(
                    f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
                )

    step = Optimizer._step_by_groups

    def _refuse_sparse(self):
        """Sparse gradients are what this optimiser is for."""

    def _init_state(self, group, p, state):
        state["step"] = 0
        state["exp_avg"] = zeros_of(p)
        state["exp_avg_sq"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        if not all(grad.is_sparse for grad in grads):
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        for state in states:
            state["step"] += 1
        beta1, beta2 = group["betas"]
        _update(
            params,
            grads,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["step"] for state in states],
            lr=as_float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
        )


def _update(params, grads, exp_avgs, exp_avg_sqs, steps, *, lr, beta1, beta2, eps):
    """One step on lists of tensors."""
    for p, grad, exp_avg, exp_avg_sq, step in zip(params, grads, exp_avgs, exp_avg_sqs, steps):
        grad = grad.coalesce()
        where, values = tuple(grad.indices()), grad.values()
        if values.numel() == 0:
            continue
        old, old_sq = exp_avg[where], exp_avg_sq[where]
        first = values.sub(old).mul_(1 - beta1)
        second = values.pow(2).sub_(old_sq).mul_(1 - beta2)
        exp_avg[where] = first.add_(old)
        exp_avg_sq[where] = second.add_(old_sq)
        step_size = lr * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
        p[where] += -step_size * first.div(second.sqrt().add_(eps))
