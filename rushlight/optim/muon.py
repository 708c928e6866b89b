"""Muon."""

import math

from .optimizer import Optimizer, as_float, zeros_of


class Muon(Optimizer):
    """Muon (Jordan et al., 2024), for the weight matrices of hidden layers: the momentum is replaced by the nearest
    orthogonal matrix, found by a Newton-Schulz iteration in bfloat16.

    Args:
        weight_decay: decoupled.
        ns_coefficients, ns_steps: polynomial and number of steps of the iteration.
        eps: smallest norm that is divided by.
        adjust_lr_fn: "original" (the default) or "match_rms_adamw": scaling of lr with the shape.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        if not 0.0 <= lr:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not 0.0 <= momentum:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}"
                    )

    step = Optimizer._step_by_groups

    def _init_state(self, group, p, state):
        if p.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        state["momentum_buffer"] = zeros_of(p)

    def _update_group(self, group, params, grads, states):
        _update(
            params,
            grads,
            [state["momentum_buffer"] for state in states],
            lr=as_float(group["lr"]),
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            nesterov=group["nesterov"],
            ns_coefficients=group["ns_coefficients"],
            ns_steps=group["ns_steps"],
            eps=group["eps"],
            match_adamw=group["adjust_lr_fn"] == "match_rms_adamw",
        )


def _update(
    params,
    grads,
    buffers,
    *,
    lr,
    weight_decay,
    momentum,
    nesterov,
    ns_coefficients,
    ns_steps,
    eps,
    match_adamw,
):
    """One step on lists of matrices."""
    for p, grad, buffer in zip(params, grads, buffers):
        buffer.lerp_(grad, 1 - momentum)
        update = _orthogonalise(
            grad.lerp(buffer, momentum) if nesterov else buffer, ns_coefficients, ns_steps, eps
        )
        rows, columns = p.shape
        scale = 0.2 * math.sqrt(max(rows, columns)) if match_adamw else math.sqrt(max(1, rows / columns))
        p.mul_(1 - lr * weight_decay)
        p.add_(update, alpha=-lr * scale)


def _orthogonalise(matrix, coefficients, steps, eps):
    """An approximation of U V^T for matrix = U S V^T, in bfloat16: the singular values end near 1."""
    a, b, c = coefficients
    x = matrix.bfloat16()
    tall = matrix.size(0) > matrix.size(1)
    if tall:
        x = x.T
    x = x.div(x.norm().clamp(min=eps))
    for _ in range(steps):
        gram = x @ x.T
        x = x.addmm(gram.addmm(gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
