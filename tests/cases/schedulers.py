"""Learning-rate schedulers and averaged models: the rates of 16 epochs, state_dict, resumption, wrong arguments, warnings."""

import importlib
import math
import warnings

from . import evaluated, plain

CASES = [
    "S.LambdaLR(o, lambda e: 0.95**e)", "S.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)])", "S.MultiplicativeLR(o, lambda e: 0.9)", "S.StepLR(o, 3, 0.5)", "S.MultiStepLR(o, [2, 5, 5, 9], 0.3)", "S.ConstantLR(o, 0.25, 4)", "S.LinearLR(o, 0.1, 0.8, 6)", "S.ExponentialLR(o, 0.8)", "S.CosineAnnealingLR(o, 5, 0.01)", "S.PolynomialLR(o, 8, 2.0)", "S.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)", "S.CosineAnnealingWarmRestarts(o, 4)",
    "S.CyclicLR(o, 0.01, 0.2, 3)", "S.CyclicLR(o, 0.01, 0.2, 2, 4, 'triangular2', cycle_momentum=False)", "S.CyclicLR(o, [0.01, 0.05], [0.2, 0.3], 3, mode='exp_range', gamma=0.9)", "S.CyclicLR(o, 0.01, 0.2, 3, scale_fn=lambda x: 1 / x, scale_mode='cycle')", "S.OneCycleLR(o, 0.3, 20)", "S.OneCycleLR(o, [0.3, 0.5], epochs=4, steps_per_epoch=5, anneal_strategy='linear', three_phase=True)", "S.OneCycleLR(o, 0.3, 18, pct_start=0.2, cycle_momentum=False, div_factor=5, final_div_factor=50)",
    "S.SequentialLR(o, [S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.9)], [4])", "S.SequentialLR(o, [S.LinearLR(o, 0.1, 1.0, 3), S.CosineAnnealingLR(o, 6), S.StepLR(o, 2, 0.5)], [3, 9])", "S.ChainedScheduler([S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.9)])", "S.ChainedScheduler([S.StepLR(o, 4, 0.5), S.LinearLR(o, 0.5, 1.0, 5)], optimizer=o)",
    "SWA.SWALR(o, 0.02, 5)", "SWA.SWALR(o, [0.02, 0.3], 4, 'linear')", "S.StepLR(o, 3, 0.5, last_epoch=-1)",
]  # fmt: skip

PLATEAU = ["", "'max', 0.5, 1", "patience=1, threshold=0.1, threshold_mode='abs'", "patience=0, cooldown=2, factor=0.3, min_lr=[0.01, 0.02]", "'max', patience=1, threshold_mode='rel', eps=0.01"]  # fmt: skip

WRONG = [
    "S.LambdaLR(o, [lambda e: 1])", "S.LambdaLR(o, 3)", "S.MultiplicativeLR(o, [lambda e: 1])", "S.StepLR(3, 1)", "S.StepLR(o, 3, last_epoch=4)", "S.ConstantLR(o, 2.0)", "S.ConstantLR(o, -1.0)", "S.LinearLR(o, 2.0)", "S.LinearLR(o, 0.0)", "S.LinearLR(o, 0.5, 2.0)", "S.CosineAnnealingWarmRestarts(o, 0)", "S.CosineAnnealingWarmRestarts(o, 3, 0)", "S.CosineAnnealingWarmRestarts(o, 1.5)", "S.CosineAnnealingWarmRestarts(o, 3).step(-1)", "S.CyclicLR(o, 0.1, 0.2, mode='x')", "S.CyclicLR(o, [0.1], 0.2)", "S.CyclicLR(adam, 0.1, 0.2).get_last_lr()", "S.CyclicLR(rprop, 0.1, 0.2)", "S.CyclicLR(plain_sgd, 0.1, 0.2).get_last_lr()",
    "S.OneCycleLR(o, 0.1)", "S.OneCycleLR(o, 0.1, 0)", "S.OneCycleLR(o, 0.1, 1.5)", "S.OneCycleLR(o, 0.1, epochs=0, steps_per_epoch=1)", "S.OneCycleLR(o, 0.1, epochs=1, steps_per_epoch=-1)", "S.OneCycleLR(o, 0.1, 10, pct_start=2.0)", "S.OneCycleLR(o, 0.1, 10, pct_start=3)", "S.OneCycleLR(o, 0.1, 10, anneal_strategy='x')", "S.OneCycleLR(o, [0.1], 10)", "S.OneCycleLR(rprop, 0.1, 10)", "run(S.OneCycleLR(o, 0.1, 2), 4)", "S.SequentialLR(o, [], [])", "S.SequentialLR(o, [S.StepLR(o, 1)], [1])", "S.SequentialLR(o, [S.StepLR(o, 1), S.StepLR(adam, 1)], [1])", "S.SequentialLR(o, [S.StepLR(o, 1), S.ReduceLROnPlateau(o)], [1])", "S.ChainedScheduler([])", "S.ChainedScheduler([S.StepLR(o, 1), S.StepLR(adam, 1)])", "S.ChainedScheduler([3])",
    "S.ReduceLROnPlateau(o, factor=1.0)", "S.ReduceLROnPlateau(3)", "S.ReduceLROnPlateau(o, min_lr=[0.1])", "S.ReduceLROnPlateau(o, 'x')", "S.ReduceLROnPlateau(o, threshold_mode='x')", "S.ReduceLROnPlateau(o).get_last_lr()", "SWA.SWALR(o, 0.1, anneal_strategy='x')", "SWA.SWALR(o, 0.1, anneal_epochs=-1)", "SWA.SWALR(o, [0.1])", "SWA.AveragedModel(net, avg_fn=3, multi_avg_fn=4)", "SWA.get_ema_multi_avg_fn(2.0)", "SWA.get_ema_avg_fn(-1.0)", "S.StepLR(o, 3).get_lr()", "S.LRScheduler(o)", "S.StepLR(o, 3, verbose=True)", "S.StepLR(o, 3).print_lr",
]  # fmt: skip


def optimizer(torch):
    ps = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
    return torch.optim.SGD([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.4}], lr=0.1, momentum=0.9)


def names_of(torch):
    schedulers = importlib.import_module(torch.__name__ + ".optim.lr_scheduler")
    swa = importlib.import_module(torch.__name__ + ".optim.swa_utils")
    return {"torch": torch, "S": schedulers, "SWA": swa, "o": optimizer(torch)}


def run(scheduler, epochs=16):
    """The rates (and momenta) of the groups before each epoch."""
    trace = []
    for _ in range(epochs):
        groups = (
            scheduler.optimizer.param_groups
            if hasattr(scheduler, "optimizer")
            else scheduler._optimizer.param_groups
        )
        trace.append([[float(g["lr"]), g["momentum"]] for g in groups])
        for group in groups:
            group["params"][0].grad = None
        (getattr(scheduler, "optimizer", None) or scheduler._optimizer).step()
        scheduler.step()
    return [*trace, scheduler.get_last_lr()]


def whole(torch, make):
    names = names_of(torch)
    scheduler = eval(make, names)
    rates = run(scheduler, 7)
    saved = scheduler.state_dict()
    others = names_of(torch)
    again = eval(make, others)
    again.load_state_dict(saved)
    others["o"].load_state_dict(names["o"].state_dict())
    keys = {
        k: v for k, v in saved.items() if not callable(v) and "lambdas" not in k and "schedulers" not in k
    }
    for key in ("_scale_fn_ref", "_scale_fn_custom", "anneal_func", "_anneal_func_type"):
        keys.pop(key, None)
    return {"rates": rates, "state": plain(keys), "rest": run(scheduler, 9), "resumed": run(again, 9)}


def plateau(torch, arguments):
    names = names_of(torch)
    scheduler = eval(f"S.ReduceLROnPlateau(o, {arguments})", names)
    trace = []
    for epoch in range(16):
        scheduler.step(1.0 + math.sin(epoch * 1.7) / (1 + epoch))
        trace.append([g["lr"] for g in names["o"].param_groups])
    saved = {k: v for k, v in scheduler.state_dict().items() if not callable(v)}
    return trace, saved, scheduler.get_last_lr()


def warned(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [f"{w.category.__name__}: {str(w.message)[:100]}" for w in found]


def warnings_of(torch):
    names = names_of(torch)
    schedulers = names["S"]

    def too_early():
        schedulers.StepLR(optimizer(torch), 2).step()

    def with_epoch():
        o = optimizer(torch)
        scheduler = schedulers.StepLR(o, 2)
        o.step()
        scheduler.step(3)

    def get_lr():
        schedulers.StepLR(optimizer(torch), 2).get_lr()

    def replaced():
        o = optimizer(torch)
        scheduler = schedulers.StepLR(o, 2)
        o.step = lambda: None
        scheduler.step()

    def chained():
        o = optimizer(torch)
        schedulers.SequentialLR(o, [schedulers.ConstantLR(o), schedulers.StepLR(o, 2)], [2]).step()

    return {f.__name__: warned(f) for f in (too_early, with_epoch, get_lr, replaced, chained)}


def averaged(torch, how):
    swa = importlib.import_module(torch.__name__ + ".optim.swa_utils")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    average = eval(how, {"SWA": swa, "net": net, "torch": torch})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(5):
        optimizer.zero_grad()
        (net(torch.ones(2, 3) * step + torch.eye(2, 3)) ** 2 * torch.arange(4.0)).sum().backward()
        optimizer.step()
        average.update_parameters(net)
    swa.update_bn([torch.eye(3), torch.ones(2, 3)], average)
    copied = eval(how, {"SWA": swa, "net": net, "torch": torch})
    copied.load_state_dict(average.state_dict())
    return average.state_dict(), average(torch.eye(3)), repr(average).split("\n"), copied.n_averaged


AVERAGES = ["SWA.AveragedModel(net)", "SWA.AveragedModel(net, multi_avg_fn=SWA.get_ema_multi_avg_fn(0.9))", "SWA.AveragedModel(net, avg_fn=SWA.get_ema_avg_fn(0.9), use_buffers=True)", "SWA.AveragedModel(net, multi_avg_fn=SWA.get_swa_multi_avg_fn())", "SWA.AveragedModel(net, avg_fn=lambda a, b, n: a + 0.5 * (b - a), device='cpu')"]  # fmt: skip


def answers(torch):
    for make in CASES:
        yield make, evaluated(lambda make=make: whole(torch, make))
    for arguments in PLATEAU:
        yield (
            f"ReduceLROnPlateau({arguments})",
            evaluated(lambda arguments=arguments: plateau(torch, arguments)),
        )
    for text in WRONG:
        names = names_of(torch)
        ps = [torch.nn.Parameter(torch.ones(2))]
        names |= {"adam": torch.optim.Adam(ps), "rprop": torch.optim.Rprop(ps), "run": run}
        names |= {"plain_sgd": torch.optim.SGD(ps), "net": torch.nn.Linear(2, 2)}
        yield text, evaluated(lambda text=text, names=names: describe_scheduler(eval(text, names)))
    yield "warnings", evaluated(lambda: warnings_of(torch))
    for how in AVERAGES:
        yield how, evaluated(lambda how=how: averaged(torch, how))


def describe_scheduler(value):
    return type(value).__name__ if hasattr(value, "step") or hasattr(value, "update_parameters") else value
