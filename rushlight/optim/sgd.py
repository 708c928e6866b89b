"""Stochastic gradient descent, with momentum, Nesterov momentum and weight decay."""

from .._C import _fused_sgd_
from .optimizer import Optimizer, add_weight_decay, as_float, check_fused, check_options


class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        momentum: share of the last update that is kept: buf = momentum * buf + (1 - dampening) * grad.
        nesterov: look ahead along the momentum.
        weight_decay: L2 term added to the gradient.
        maximize: go up instead of down.
        foreach, differentiable, fused: accepted as in PyTorch; there is one implementation. With differentiable the
            step is recorded.

    >>> w = rl.tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        check_options(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_fused(self, fused, foreach, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    step = Optimizer._step_by_groups

    def _keeps_state(self, group):
        return group["momentum"] != 0

    def _refuse_sparse(self):
        """The update rule is one for sparse gradients too."""

    def _update_group(self, group, params, grads, states):
        momentum = group["momentum"]
        buffers = [state.get("momentum_buffer") for state in states]
        _update(
            params,
            grads,
            buffers,
            lr=as_float(group["lr"]),
            momentum=momentum,
            dampening=group["dampening"],
            weight_decay=as_float(group["weight_decay"]),
            nesterov=group["nesterov"],
        )
        for state, buffer in zip(states, buffers):
            state["momentum_buffer"] = buffer


def _update(params, grads, buffers, *, lr, momentum, dampening, weight_decay, nesterov):
    """One step on lists of tensors. Missing buffers (None) are filled in.

    The kernel does the same operations in one pass; what it does not take is left to the tensors below.
    """
    new = [b for b in buffers if b is None]  # not `None in`, which would ask tensors whether they equal it
    if not new and _fused_sgd_(
        params, grads, buffers, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
        nesterov=nesterov, maximize=False,
    ):  # fmt: skip
        return
    grads = add_weight_decay(params, grads, weight_decay)
    for i, (p, grad) in enumerate(zip(params, grads)):
        if momentum != 0:
            if buffers[i] is None:
                buffers[i] = grad.detach().clone()
            else:
                buffers[i].mul_(momentum).add_(grad, alpha=1 - dampening)
            grad = grad.add(buffers[i], alpha=momentum) if nesterov else buffers[i]
        p.add_(grad, alpha=-lr)
