"""The optimisers as functions on lists of tensors: one step of the update rule of the class of that name.

Parameters, state and steps are changed in place. foreach, fused, capturable, has_complex and has_sparse_grad are accepted:
there is one implementation, and it looks for itself. Each function is also found in the module of its class, as
optim.adam.adam; step() of the classes does not come by here.
"""

import sys

import rushlight as rl

from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam
from .adamax import Adamax
from .adamw import AdamW
from .asgd import ASGD
from .muon import Muon
from .nadam import NAdam
from .radam import RAdam
from .rmsprop import RMSprop
from .rprop import Rprop
from .sgd import SGD
from .sparse_adam import SparseAdam

__all__ = [
    "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "muon", "nadam", "radam", "rmsprop", "rprop",
    "sgd", "sparse_adam",
]  # fmt: skip


def _step(cls, params, grads, lists, options, differentiable=False, scaled=(None, None)):
    """One step of the rule of cls. lists: name of a state to its list, empty where the rule has none; returns the states."""
    if any(x is not None for x in scaled):
        raise NotImplementedError(f"{cls.__name__}: grad_scale and found_inf are not implemented; unscale the gradients first")
    states = [{name: values[i] for name, values in lists.items() if len(values)} for i in range(len(params))]
    grads = [-grad for grad in grads] if options.get("maximize") else list(grads)
    with rl.set_grad_enabled(differentiable):
        cls._update_group(None, options, list(params), grads, states)
    return states


def adam(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, foreach=None, capturable=False,
         differentiable=False, fused=None, grad_scale=None, found_inf=None, has_complex=False,
         decoupled_weight_decay=False, *, amsgrad, beta1, beta2, lr, weight_decay, eps, maximize):  # fmt: skip
    """One step of Adam."""
    _adam(Adam, params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, differentiable, (grad_scale, found_inf),
          lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize,
          decoupled_weight_decay=decoupled_weight_decay)  # fmt: skip


def adamw(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, foreach=None, capturable=False,
          differentiable=False, fused=None, grad_scale=None, found_inf=None, has_complex=False, *, amsgrad, beta1, beta2,
          lr, weight_decay, eps, maximize):  # fmt: skip
    """One step of AdamW."""
    _adam(AdamW, params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, differentiable, (grad_scale, found_inf),
          lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize,
          decoupled_weight_decay=True)  # fmt: skip


def _adam(cls, params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, differentiable, scaled, **options):
    lists = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "max_exp_avg_sq": max_exp_avg_sqs, "step": steps}
    _step(cls, params, grads, lists, options, differentiable, scaled)


def sgd(params, d_p_list, momentum_buffer_list, has_sparse_grad=False, foreach=None, fused=None, grad_scale=None,
        found_inf=None, *, weight_decay, momentum, lr, dampening, nesterov, maximize):  # fmt: skip
    """One step of SGD; buffers that are None are filled in."""
    options = {"weight_decay": weight_decay, "momentum": momentum, "lr": lr, "dampening": dampening, "nesterov": nesterov,
               "maximize": maximize}  # fmt: skip
    states = _step(SGD, params, d_p_list, {"momentum_buffer": momentum_buffer_list}, options, False, (grad_scale, found_inf))
    if momentum != 0:
        momentum_buffer_list[:] = [state["momentum_buffer"] for state in states]


def adamax(params, grads, exp_avgs, exp_infs, state_steps, foreach=None, maximize=False, differentiable=False,
           capturable=False, has_complex=False, *, eps, beta1, beta2, lr, weight_decay):  # fmt: skip
    """One step of Adamax."""
    options = {"eps": eps, "betas": (beta1, beta2), "lr": lr, "weight_decay": weight_decay, "maximize": maximize}
    lists = {"exp_avg": exp_avgs, "exp_inf": exp_infs, "step": state_steps}
    _step(Adamax, params, grads, lists, options, differentiable)


def nadam(params, grads, exp_avgs, exp_avg_sqs, mu_products, state_steps, decoupled_weight_decay=False, foreach=None,
          capturable=False, differentiable=False, has_complex=False, maximize=False, *, beta1, beta2, lr, weight_decay,
          momentum_decay, eps):  # fmt: skip
    """One step of NAdam."""
    options = {"betas": (beta1, beta2), "lr": lr, "weight_decay": weight_decay, "momentum_decay": momentum_decay, "eps": eps,
               "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}  # fmt: skip
    lists = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "mu_product": mu_products, "step": state_steps}
    _step(NAdam, params, grads, lists, options, differentiable)


def radam(params, grads, exp_avgs, exp_avg_sqs, state_steps, decoupled_weight_decay=False, foreach=None,
          differentiable=False, capturable=False, has_complex=False, maximize=False, *, beta1, beta2, lr, weight_decay,
          eps):  # fmt: skip
    """One step of RAdam."""
    options = {"betas": (beta1, beta2), "lr": lr, "weight_decay": weight_decay, "eps": eps, "maximize": maximize,
               "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
    lists = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "step": state_steps}
    _step(RAdam, params, grads, lists, options, differentiable)


def adagrad(params, grads, state_sums, state_steps, fused=None, grad_scale=None, found_inf=None, has_sparse_grad=False,
            foreach=None, differentiable=False, has_complex=False, *, lr, weight_decay, lr_decay, eps, maximize):  # fmt: skip
    """One step of Adagrad."""
    options = {"lr": lr, "weight_decay": weight_decay, "lr_decay": lr_decay, "eps": eps, "maximize": maximize}
    lists = {"sum": state_sums, "step": state_steps}
    _step(Adagrad, params, grads, lists, options, differentiable, (grad_scale, found_inf))


def adadelta(params, grads, square_avgs, acc_deltas, state_steps, capturable=False, foreach=None, differentiable=False,
             has_complex=False, *, lr, rho, eps, weight_decay, maximize):  # fmt: skip
    """One step of Adadelta."""
    options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
    lists = {"square_avg": square_avgs, "acc_delta": acc_deltas, "step": state_steps}
    _step(Adadelta, params, grads, lists, options, differentiable)


def rmsprop(params, grads, square_avgs, grad_avgs, momentum_buffer_list, state_steps, foreach=None, maximize=False,
            differentiable=False, capturable=False, has_complex=False, *, lr, alpha, eps, weight_decay, momentum,
            centered):  # fmt: skip
    """One step of RMSprop."""
    options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered,
               "maximize": maximize}  # fmt: skip
    lists = {"square_avg": square_avgs, "grad_avg": grad_avgs, "momentum_buffer": momentum_buffer_list, "step": state_steps}
    _step(RMSprop, params, grads, lists, options, differentiable)


def rprop(params, grads, prevs, step_sizes, state_steps, foreach=None, capturable=False, maximize=False,
          differentiable=False, has_complex=False, *, step_size_min, step_size_max, etaminus, etaplus):  # fmt: skip
    """One step of Rprop."""
    options = {"etas": (etaminus, etaplus), "step_sizes": (step_size_min, step_size_max), "maximize": maximize}
    _step(Rprop, params, grads, {"prev": prevs, "step_size": step_sizes, "step": state_steps}, options, differentiable)


def asgd(params, grads, axs, mus, etas, state_steps, foreach=None, maximize=False, differentiable=False, capturable=False,
         has_complex=False, *, lambd, lr, t0, alpha, weight_decay):  # fmt: skip
    """One step of ASGD."""
    options = {"lambd": lambd, "lr": lr, "t0": t0, "alpha": alpha, "weight_decay": weight_decay, "maximize": maximize}
    _step(ASGD, params, grads, {"ax": axs, "mu": mus, "eta": etas, "step": state_steps}, options, differentiable)


def adafactor(params, grads, row_vars, col_vars, variances, state_steps, foreach=None, grad_scale=None, found_inf=None,
              has_complex=False, *, d, lr, beta2_decay, weight_decay, eps1, eps2, maximize):  # fmt: skip
    """One step of Adafactor; the lists of variances hold None where a parameter has another kind."""
    options = {"d": d, "lr": lr, "beta2_decay": beta2_decay, "weight_decay": weight_decay, "eps": (eps1, eps2),
               "maximize": maximize}  # fmt: skip
    lists = {"row_var": row_vars, "col_var": col_vars, "variance": variances, "step": state_steps}
    _step(Adafactor, params, grads, lists, options, False, (grad_scale, found_inf))


def muon(params, grads, muon_momentum_bufs, *, foreach=None, lr, weight_decay, momentum, nesterov, ns_coefficients, ns_steps,
         eps, adjust_lr_fn, has_complex):  # fmt: skip
    """One step of Muon."""
    options = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "eps": eps,
               "ns_coefficients": ns_coefficients, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn}  # fmt: skip
    _step(Muon, params, grads, {"momentum_buffer": muon_momentum_bufs}, options)


def sparse_adam(params, grads, exp_avgs, exp_avg_sqs, state_steps, *, eps, beta1, beta2, lr, maximize):
    """One step of SparseAdam; state_steps holds numbers, that of this step, and stays as it is."""
    options = {"eps": eps, "betas": (beta1, beta2), "lr": lr, "maximize": maximize}
    lists = {"exp_avg": exp_avgs, "exp_avg_sq": exp_avg_sqs, "step": [step - 1 for step in state_steps]}
    _step(SparseAdam, params, grads, lists, options)


for _name in __all__:
    setattr(sys.modules[f"{__package__}.{_name}"], _name, globals()[_name])
