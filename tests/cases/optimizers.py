"""Optimizers: 20 steps on a small problem, what the state and the groups hold, wrong arguments, hooks."""

import importlib

from . import evaluated, plain

# constructors; ps are two parameters
CASES = [
    *[f"optim.SGD(ps, lr=0.1{a})" for a in ("", ", momentum=0.9", ", momentum=0.9, nesterov=True", ", momentum=0.9, dampening=0.3, weight_decay=0.05", ", maximize=True", ", momentum=0.5, foreach=True", ", momentum=0.9, weight_decay=0.1, fused=True", ", momentum=0.9, nesterov=True, differentiable=False, foreach=False")],
    *[f"optim.Adam(ps, lr=0.05{a})" for a in ("", ", betas=(0.8, 0.9), eps=1e-4", ", weight_decay=0.1", ", amsgrad=True", ", maximize=True", ", foreach=True, amsgrad=True", ", fused=True, weight_decay=0.1", ", decoupled_weight_decay=True, weight_decay=0.1", ", capturable=False, differentiable=False")],
    *[f"optim.AdamW(ps, lr=0.05{a})" for a in ("", ", weight_decay=0.2, amsgrad=True", ", maximize=True, foreach=True", ", fused=True")],
    *[f"optim.Adamax(ps, lr=0.05{a})" for a in ("", ", weight_decay=0.1, betas=(0.5, 0.8)", ", maximize=True, foreach=True", ", eps=0.1")],
    *[f"optim.NAdam(ps, lr=0.05{a})" for a in ("", ", weight_decay=0.1, momentum_decay=0.01", ", decoupled_weight_decay=True, weight_decay=0.1", ", maximize=True, foreach=True")],
    *[f"optim.RAdam(ps, lr=0.05{a})" for a in ("", ", weight_decay=0.1", ", decoupled_weight_decay=True, weight_decay=0.1", ", maximize=True, foreach=True, betas=(0.9, 0.99)")],
    *[f"optim.Adagrad(ps, lr=0.3{a})" for a in ("", ", lr_decay=0.1, weight_decay=0.05", ", initial_accumulator_value=0.5, eps=0.01", ", maximize=True, foreach=True", ", fused=True")],
    *[f"optim.Adadelta(ps, lr=1.0{a})" for a in ("", ", rho=0.5, eps=1e-3, weight_decay=0.1", ", maximize=True, foreach=True")],
    *[f"optim.RMSprop(ps, lr=0.02{a})" for a in ("", ", alpha=0.8, eps=1e-4", ", momentum=0.7", ", centered=True, weight_decay=0.1", ", momentum=0.5, centered=True, maximize=True, foreach=True")],
    *[f"optim.Rprop(ps, lr=0.02{a})" for a in ("", ", etas=(0.3, 1.5), step_sizes=(1e-3, 0.1)", ", maximize=True, foreach=True")],
    *[f"optim.ASGD(ps, lr=0.05{a})" for a in ("", ", lambd=0.01, alpha=0.5, t0=5", ", weight_decay=0.1, maximize=True, foreach=True")],
    *[f"optim.Adafactor(ps, lr=0.1{a})" for a in ("", ", beta2_decay=-0.7, eps=(1e-3, 1e-2), d=1.5, weight_decay=0.01", ", weight_decay=0.1, maximize=True", ", foreach=True")],
    *[f"optim.Muon(ps[:1], lr=0.05{a})" for a in ("", ", nesterov=False, weight_decay=0.3", ", ns_steps=3, momentum=0.5", ", adjust_lr_fn='match_rms_adamw'", ", ns_coefficients=(3.0, -4.0, 2.0), eps=1e-3")],
    *[f"optim.LBFGS(ps, lr=0.5{a})" for a in ("", ", max_iter=3, history_size=2", ", line_search_fn='strong_wolfe', max_iter=4", ", tolerance_grad=0.1, tolerance_change=0.01")],
    "optim.Adam([{'params': ps[:1]}, {'params': ps[1:], 'lr': 0.3, 'weight_decay': 0.1}], lr=0.05, amsgrad=True)",
    "optim.SGD([('first', ps[0]), ('second', ps[1])], lr=0.1)",
    "optim.SGD([{'params': [('a', ps[0])]}, {'params': [('b', ps[1])], 'momentum': 0.3}], lr=0.1)",
    "optim.Adam(ps, lr=torch.tensor(0.05), foreach=False)", "optim.SGD(ps, lr=torch.tensor(0.05), foreach=False)", "optim.AdamW(ps, lr=torch.tensor(0.05), betas=(torch.tensor(0.9), torch.tensor(0.99)), foreach=False)",
]  # fmt: skip

# parameters of other dtypes
OTHER = ["optim.SGD(ps, lr=0.1, momentum=0.9)", "optim.Adam(ps, lr=0.05, amsgrad=True)", "optim.AdamW(ps, lr=0.05)", "optim.Adamax(ps, lr=0.05)", "optim.NAdam(ps, lr=0.05)", "optim.RAdam(ps, lr=0.05)", "optim.Adagrad(ps, lr=0.3)", "optim.Adadelta(ps)", "optim.RMSprop(ps, lr=0.02, centered=True, momentum=0.5)", "optim.Rprop(ps, lr=0.02)", "optim.ASGD(ps, lr=0.05)", "optim.LBFGS(ps, lr=0.5, max_iter=3)", "optim.Adafactor(ps)"]  # fmt: skip

WRONG = [
    "optim.SGD([], lr=0.1)", "optim.SGD(ps[0], lr=0.1)", "optim.SGD([1], lr=0.1)", "optim.SGD(ps, lr=-1)", "optim.SGD(ps, momentum=-1)", "optim.SGD(ps, weight_decay=-1)", "optim.SGD(ps, nesterov=True)", "optim.SGD(ps, nesterov=True, momentum=0.9, dampening=0.1)", "optim.SGD(ps, lr=torch.tensor([0.1, 0.2]))", "optim.SGD(ps, lr=torch.tensor(0.1), foreach=True)", "optim.SGD(ps, fused=True, foreach=True)", "optim.SGD(ps, fused=True, differentiable=True)", "optim.SGD([ps[0] * 2], lr=0.1)", "optim.SGD([{'params': {ps[0]}}], lr=0.1)", "optim.SGD({ps[0]}, lr=0.1)", "optim.SGD([ps[0], ps[0]], lr=0.1).param_groups[0]['lr']", "optim.SGD([{'params': ps[0]}, {'params': ps[0]}], lr=0.1)", "optim.SGD([('a', ps[0]), ps[1]], lr=0.1)", "optim.SGD([('a', ps[0]), ('a', ps[1])], lr=0.1)", "optim.SGD([{'lr': 0.1}], lr=0.1)", "optim.SGD(ps, foo=1)", "optim.SGD(3, lr=0.1)",
    "optim.Adam(ps, lr=-1)", "optim.Adam(ps, eps=-1)", "optim.Adam(ps, betas=(1.0, 0.9))", "optim.Adam(ps, betas=(0.9, 1.0))", "optim.Adam(ps, weight_decay=-1)", "optim.Adam(ps, lr=torch.tensor(0.1), foreach=True)", "optim.Adam(ps, lr=torch.tensor([0.1, 0.1]))", "optim.Adam(ps, betas=(0.9, torch.tensor(0.9)), foreach=True)", "optim.Adam(ps, betas=(torch.tensor(0.9), 0.9))", "optim.Adam(ps, fused=True, foreach=True)", "optim.Adam(ps, fused=True, differentiable=True)", "optim.AdamW(ps, lr=-1)", "optim.AdamW(ps, weight_decay=-0.1)",
    "optim.Adamax(ps, lr=-1)", "optim.Adamax(ps, betas=(-0.1, 0.9))", "optim.Adamax(ps, eps=-1)", "optim.Adamax(ps, weight_decay=-1)", "optim.Adamax(ps, lr=torch.tensor([1.0, 2.0]))", "optim.NAdam(ps, lr=-1)", "optim.NAdam(ps, momentum_decay=-1)", "optim.NAdam(ps, betas=(2, 0.9))", "optim.RAdam(ps, lr=-1)", "optim.RAdam(ps, betas=(0.9, 2))", "optim.Adagrad(ps, lr=-1)", "optim.Adagrad(ps, lr_decay=-1)", "optim.Adagrad(ps, initial_accumulator_value=-1)", "optim.Adagrad(ps, eps=-1)", "optim.Adagrad(ps, fused=True, differentiable=True)", "optim.Adadelta(ps, rho=2)", "optim.Adadelta(ps, eps=-1)", "optim.Adadelta(ps, lr=-1)", "optim.RMSprop(ps, lr=-1)", "optim.RMSprop(ps, alpha=-1)", "optim.RMSprop(ps, momentum=-1)", "optim.RMSprop(ps, eps=-1)", "optim.Rprop(ps, lr=-1)", "optim.Rprop(ps, etas=(1.5, 1.2))", "optim.ASGD(ps, lr=-1)", "optim.ASGD(ps, weight_decay=-1)", "optim.ASGD(ps, foreach=True, lr=torch.tensor(0.1))",
    "optim.Adafactor(ps, lr=-1)", "optim.Adafactor(ps, beta2_decay=1)", "optim.Adafactor(ps, eps=(-1, 1e-3))", "optim.Adafactor(ps, eps=(None, -1))", "optim.Adafactor(ps, d=0.5)", "optim.Adafactor(ps, d=-1)", "optim.Adafactor(ps, weight_decay=-1)", "optim.Muon(ps)", "optim.Muon(ps[:1], lr=-1)", "optim.Muon(ps[:1], momentum=-1)", "optim.Muon(ps[:1], weight_decay=-1)", "optim.Muon(ps[:1], adjust_lr_fn='x')", "optim.Muon(ps[:1], ns_steps=100)", "optim.Muon(ps[:1], ns_steps=100).step()", "optim.Muon(ps[:1], ns_coefficients=(1, 2)).step()", "optim.LBFGS([{'params': ps[:1]}, {'params': ps[1:]}])", "optim.LBFGS(ps).step()", "optim.LBFGS(ps, lr=-1)", "optim.LBFGS(ps, line_search_fn='x').step(lambda: loss(ps))", "optim.SparseAdam(ps, lr=-1)", "optim.SparseAdam(ps, eps=0)", "optim.SparseAdam(ps, betas=(2, 0.9))", "optim.SparseAdam(ps, maximize=True)", "optim.SparseAdam([{'params': ps}])", "dense(optim.SparseAdam(ps)).step()",
    "optim.SGD(ps, lr=0.1).add_param_group(3)", "optim.SGD(ps[:1], lr=0.1).add_param_group({'params': [ps[0]]})", "optim.SGD(ps[:1], lr=0.1).add_param_group({'params': ps[1]})", "optim.SGD(ps, lr=0.1).load_state_dict({'state': {}, 'param_groups': []})", "optim.SGD(ps, lr=0.1).load_state_dict(optim.SGD(ps[:1], lr=0.1).state_dict())", "optim.Optimizer(ps, {}).step()", "optim.Optimizer(ps, {'lr': 1})", "optim.SGD(ps, lr=0.1).zero_grad(False)", "optim.SGD(ps[:1], lr=0.1).register_step_pre_hook(lambda o, a, k: 3)", "bad_hook(optim.SGD(ps, lr=0.1))",
]  # fmt: skip


def parameters(torch, dtype=None):
    first = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3], [0.1, 0.9, -2.0], [1.0, -0.5, 0.7]])
    second = torch.tensor([0.3, -0.7, 1.1, 2.0, -1.5])
    if dtype is not None and dtype.is_complex:
        first, second = torch.complex(first, first * 0.5 - 0.2), torch.complex(second, 1 - second)
    return [torch.nn.Parameter(t if dtype is None else t.to(dtype)) for t in (first, second)]


def loss_of(ps):
    """A smooth function with a minimum, coupling the parameters."""
    total = 0
    for k, p in enumerate(ps):
        size = (p.real * p.real + 0.5 * p.imag * p.imag) if p.is_complex() else p * p
        total = total + (size * (0.5 + k)).sum() + ((p.real if p.is_complex() else p) * 1.3).sin().sum()
    return total


def trained(torch, make, dtype=None, steps=20):
    ps = parameters(torch, dtype)
    names = {"torch": torch, "optim": torch.optim, "ps": ps}
    optimizer = eval(make, names)
    used = [p for group in optimizer.param_groups for p in group["params"]]

    def closure():
        optimizer.zero_grad()
        value = loss_of(used)
        value.backward()
        return value

    trace = []
    for step in range(steps):
        if isinstance(optimizer, torch.optim.LBFGS):
            value = optimizer.step(closure)
        else:
            value = closure()
            optimizer.step()
        if step in (0, 4, steps - 1):
            trace.append([plain(value), plain(used)])
    return optimizer, trace


def continued(torch, make, dtype, state, values, steps=3):
    """The parameters after further steps, from the state and the parameters of another optimizer."""
    ps = parameters(torch, dtype)
    optimizer = eval(make, {"torch": torch, "optim": torch.optim, "ps": ps})
    used = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.load_state_dict(state)
    with torch.no_grad():
        for p, value in zip(used, values):
            p.copy_(value)

    def closure():
        optimizer.zero_grad()
        value = loss_of(used)
        value.backward()
        return value

    for _ in range(steps):
        optimizer.step(closure)
    return plain(used)


def groups_of(optimizer):
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def whole(torch, make):
    dtype = torch.float64 if "LBFGS" in make else None  # its last steps magnify rounding
    optimizer, trace = trained(torch, make, dtype)
    saved = optimizer.state_dict()
    answer = {"steps": trace, "repr": repr(optimizer).split("\n"), "groups": plain(groups_of(optimizer))}
    answer["state"] = plain({k: v for k, v in saved["state"].items()})
    answer["saved_groups"] = plain(saved["param_groups"])
    again, _ = trained(torch, make, dtype, steps=1)
    again.load_state_dict(saved)
    answer["loaded"] = plain(again.state_dict()["state"])
    return answer


def bad_hook(optimizer):
    optimizer.register_step_pre_hook(lambda *a: 3)
    optimizer.step()


def dense(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = p.detach().clone()
    return optimizer


def hooks(torch):
    base = importlib.import_module(torch.__name__ + ".optim.optimizer")
    seen = []
    ps = parameters(torch)
    optimizer = torch.optim.SGD(ps, lr=0.1)
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(["pre", len(args), kwargs])),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(["post", len(args), kwargs])),
        base.register_optimizer_step_pre_hook(lambda o, a, k: seen.append("all pre")),
        base.register_optimizer_step_post_hook(lambda o, a, k: seen.append("all post")),
        optimizer.register_state_dict_pre_hook(lambda o: seen.append("state_dict pre")),
        optimizer.register_state_dict_post_hook(lambda o, d: seen.append(["state_dict post", sorted(d)])),
        optimizer.register_load_state_dict_pre_hook(lambda o, d: seen.append(["load pre", sorted(d)])),
        optimizer.register_load_state_dict_post_hook(lambda o: seen.append("load post")),
    ]
    loss_of(ps).backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    for handle in handles:
        handle.remove()
    optimizer.step()
    return seen


def replaced_by_hooks(torch):
    optimizer = torch.optim.SGD(parameters(torch), lr=0.1)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "extra": 1})
    saved = optimizer.state_dict()
    optimizer.register_load_state_dict_pre_hook(lambda o, d: {k: v for k, v in d.items() if k != "extra"})
    optimizer.load_state_dict(saved)
    return sorted(saved)


def differentiable(torch, make):
    """The gradient of a loss after three differentiable steps with respect to the start."""
    start = [p.detach().clone().requires_grad_() for p in parameters(torch)]
    ps = [p.clone() for p in start]
    scale = start[0].sum()
    optimizer = eval(make, {"torch": torch, "optim": torch.optim, "ps": ps})
    for _ in range(3):
        for p in ps:
            p.grad = scale * p.numel() * 0.1 + scale.cos()
        optimizer.step()
    total = sum((p * p).sum() for p in ps)
    return torch.autograd.grad(total, start)


def swapped(torch):
    """A step on other parameters and another state, which then have changed while the optimizer's own have not."""
    ps = parameters(torch)
    optimizer = torch.optim.Adam(ps, lr=0.1)
    loss_of(ps).backward()
    optimizer.step()
    saved = optimizer.state_dict()
    others = {str(k): torch.nn.Parameter(p.detach() + 1) for k, p in enumerate(ps)}
    for p in others.values():
        p.grad = torch.ones_like(p)
    state = {k: {n: v.clone() for n, v in values.items()} for k, values in saved["state"].items()}
    swap = torch.optim.swap_in_optimizer_params_and_state
    with swap(optimizer, others, {"state": state, "param_groups": saved["param_groups"]}):
        optimizer.step()
    return ps, list(others.values()), state, optimizer.state_dict()["state"]


DIFFERENTIABLE = [f"optim.{name}(ps, lr=0.1{rest}, differentiable=True)" for name, rest in (("SGD", ", momentum=0.9"), ("Adam", ""), ("AdamW", ", amsgrad=True"), ("Adamax", ""), ("NAdam", ""), ("RAdam", ""), ("Adagrad", ""), ("Adadelta", ""), ("RMSprop", ", momentum=0.5"), ("ASGD", ""))]  # fmt: skip


def answers(torch):
    for make in CASES:
        yield make, evaluated(lambda make=make: whole(torch, make))
    for make in OTHER:
        for dtype in ("float64", "bfloat16", "complex64"):
            run = lambda make=make, dtype=dtype: trained(torch, make, getattr(torch, dtype))[1]
            yield f"{make} {dtype}", evaluated(run)
    ps = parameters(torch)
    names = {
        "torch": torch,
        "optim": torch.optim,
        "ps": ps,
        "bad_hook": bad_hook,
        "dense": dense,
        "loss": loss_of,
    }
    for text in WRONG:
        yield text, evaluated(lambda text=text: eval(text, names))
    for make in DIFFERENTIABLE:
        yield make, evaluated(lambda make=make: differentiable(torch, make))
    yield "hooks", evaluated(lambda: hooks(torch))
    yield "swapped", evaluated(lambda: swapped(torch))
    yield "replaced_by_hooks", evaluated(lambda: replaced_by_hooks(torch))
