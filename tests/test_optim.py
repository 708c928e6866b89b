"""Optimisers: their update rules against stored values of PyTorch 2.13 (and against PyTorch itself where it is
installed), parameter groups, saving and loading, hooks, errors."""

import copy
import pickle

import numpy as np
import pytest

import rushlight as rl
from rushlight import optim

# every optimiser with every option that changes its numbers
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.6), "amsgrad": True}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "centered": True, "alpha": 0.9, "maximize": True}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
    ("Adagrad", {"lr": 0.1}),
    (
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True},
    ),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.01}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "maximize": True}),
    ("NAdam", {"lr": 0.01}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "momentum_decay": 0.01, "maximize": True}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "maximize": True}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {"lr": 0.01}),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (0.01, 0.3), "maximize": True}),
    ("ASGD", {"lr": 0.1, "t0": 5}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {"lr": 0.1}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "d": 2.0, "eps": (1e-4, 1e-2), "maximize": True}),
    ("Muon", {"lr": 0.1}),
    ("Muon", {"lr": 0.1, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
]
# Newton-Schulz in bfloat16 and norms depend on the order of a matrix product's and a sum's additions
LOOSE = {"Muon": 0.05, "Adafactor": 1e-5}
STEPS = 20


def name_of(case):
    return case[0] + "".join(f"-{k}={v}" for k, v in case[1].items())


def run(torch, case, dtype="float32", steps=STEPS, **more):
    """Parameters after some steps with fixed gradients."""
    generator = np.random.default_rng(3)
    shapes = [(4, 3), (3, 5)] if case[0] == "Muon" else [(4, 3), (5,), ()]
    params = [
        torch.tensor(np.asarray(generator.normal(size=s), dtype=dtype), requires_grad=True) for s in shapes
    ]
    optimizer = getattr(torch.optim, case[0])(params, **case[1], **more)
    for _ in range(steps):
        for p in params:
            p.grad = torch.tensor(np.asarray(generator.normal(size=tuple(p.shape)), dtype=dtype))
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_to_pytorch(case, dtype):
    torch = pytest.importorskip("torch")
    mine, my_optimizer = run(rl, case, dtype)
    theirs, their_optimizer = run(torch, case, dtype)
    tolerance = LOOSE.get(case[0], 1e-6 if dtype == "float32" else 1e-13)
    for a, b in zip(mine, theirs):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)
    mine, theirs = my_optimizer.state_dict(), their_optimizer.state_dict()
    assert list(mine) == list(theirs) and mine["state"].keys() == theirs["state"].keys()
    for a, b in zip(mine["param_groups"], theirs["param_groups"]):
        assert list(a.items()) == list(b.items())
    for key in mine["state"]:
        a, b = mine["state"][key], theirs["state"][key]
        assert list(a) == list(b)
        for name in a:
            assert str(a[name].dtype) == str(b[name].dtype)
            np.testing.assert_allclose(
                a[name].numpy(), b[name].numpy(), rtol=tolerance * 10, atol=tolerance * 10
            )


@pytest.mark.parametrize("case", [c for c in CASES if c[0] != "Muon"], ids=name_of)
def test_stored_values(case):
    params, _ = run(rl, case)
    got = [*params[0].detach().reshape(-1)[:2].tolist(), params[1][0].item(), params[2].item()]
    tolerance = LOOSE.get(case[0], 2e-6)
    assert got == pytest.approx(STORED[name_of(case)], rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_saving_and_loading_in_the_middle(case):
    whole, _ = run(rl, case)
    generator = np.random.default_rng(3)
    params, optimizer = run(rl, case, steps=0)
    for p in params:
        generator.normal(size=tuple(p.shape))
    for step in range(STEPS):
        if step in (0, 7):
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = getattr(optim, case[0])(params)
            optimizer.load_state_dict(state)
            assert list(optimizer.param_groups[0]) == [*list(state["param_groups"][0])[:-1], "params"]
        if step == 12:
            params, optimizer = pickle.loads(pickle.dumps((params, optimizer)))
        for p in params:
            p.grad = rl.tensor(np.asarray(generator.normal(size=tuple(p.shape)), dtype="float32"))
        optimizer.step()
    for a, b in zip(params, whole):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD"]
)
def test_complex_parameters_are_pairs_of_real_ones(name):
    z = rl.tensor([1 + 2j, -1 + 0.5j], requires_grad=True)
    pairs = rl.view_as_real(z.detach().clone()).clone().requires_grad_()
    first, second = getattr(optim, name)([z], lr=0.1), getattr(optim, name)([pairs], lr=0.1)
    for step in range(3):
        z.grad = rl.tensor([1.0 + 1j, step - 2j])
        pairs.grad = rl.view_as_real(z.grad).clone()
        first.step()
        second.step()
    assert rl.allclose(rl.view_as_real(z.detach()), pairs)


def rosenbrock(p):
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


@pytest.mark.parametrize(
    "options",
    [{}, {"line_search_fn": "strong_wolfe"}, {"lr": 0.5, "history_size": 3, "max_iter": 7}, {"max_eval": 4}],
)
def test_lbfgs_equal_to_pytorch(options):
    torch = pytest.importorskip("torch")
    results = []
    for library in (rl, torch):
        p = library.tensor([-0.5, 0.8], dtype=library.float64, requires_grad=True)
        optimizer = library.optim.LBFGS([p], **options)

        def closure(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            loss = rosenbrock(p)
            loss.backward()
            return loss

        losses = [float(optimizer.step(closure)) for _ in range(4)]
        results.append(
            (losses, p.tolist(), list(optimizer.state_dict()["state"][0]), optimizer.state[p]["n_iter"])
        )
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-6)
    assert set(results[0][2]) == set(results[1][2]) and results[0][3] == results[1][3]


def test_lbfgs_finds_the_minimum():
    p = rl.tensor([-1.5, 2.0], requires_grad=True)
    optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe", max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = rosenbrock(p)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert p.tolist() == pytest.approx([1, 1], abs=1e-3)
    with pytest.raises(ValueError, match="doesn't support per-parameter options"):
        optim.LBFGS([{"params": [p]}, {"params": [rl.ones(1)]}])


# --- groups, options, errors ------------------------------------------------------------------------------------


def one(*shape):
    return rl.nn.Parameter(rl.ones(*(shape or (2,))))


def test_groups_have_their_own_options():
    a, b = one(), one()
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 1.0}], lr=0.1)
    for p in (a, b):
        p.grad = rl.ones(2)
    optimizer.step()
    assert a.tolist() == pytest.approx([0.9, 0.9]) and b.tolist() == [0, 0]
    optimizer.add_param_group({"params": one(), "momentum": 0.5})
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 1.0, 0.1]
    assert [g["params"] for g in optimizer.state_dict()["param_groups"]] == [[0], [1], [2]]


def test_parameters_without_gradient_are_left_alone():
    a, b = one(), one()
    a.grad = rl.ones(2)
    optimizer = optim.Adam([a, b])
    optimizer.step()
    assert b.tolist() == [1, 1] and list(optimizer.state_dict()["state"]) == [0]
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert a.grad is None


def test_named_parameters():
    optimizer = optim.SGD([("a", one())])
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["a"]
    with pytest.raises(ValueError, match="all optimizer params should be with/without names"):
        optim.SGD([("a", one()), one()])


def test_closure_and_tensor_lr():
    p = one()
    optimizer = optim.SGD([p], lr=rl.tensor(0.5))

    def closure():
        optimizer.zero_grad()
        loss = p.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2 and p.tolist() == [0.5, 0.5]


def test_step_changes_in_place():
    p = one()
    pointer, version = p.data_ptr(), p._version
    p.grad = rl.ones(2)
    optim.Adam([p]).step()
    assert p.data_ptr() == pointer and p._version > version and p.requires_grad and p.grad_fn is None


@pytest.mark.parametrize(
    "kind, text, call",
    [
        (ValueError, "optimizer got an empty parameter list", lambda: optim.SGD([])),
        (
            TypeError,
            "params argument given to the optimizer should be an iterable of Tensors or dicts, "
            "but got torch.FloatTensor",
            lambda: optim.SGD(rl.ones(1)),
        ),
        (
            TypeError,
            "optimizer can only optimize Tensors, but one of the params is int",
            lambda: optim.SGD([1]),
        ),
        (ValueError, "can't optimize a non-leaf Tensor", lambda: optim.SGD([one() * 2])),
        (ValueError, "Invalid learning rate: -1", lambda: optim.SGD([one()], lr=-1)),
        (
            ValueError,
            "Nesterov momentum requires a momentum and zero dampening",
            lambda: optim.SGD([one()], nesterov=True),
        ),
        (ValueError, "Invalid beta parameter at index 0: 1.0", lambda: optim.Adam([one()], betas=(1.0, 0.9))),
        (ValueError, "Invalid epsilon value: -1", lambda: optim.Adam([one()], eps=-1)),
        (ValueError, "Tensor lr must be 1-element", lambda: optim.Adam([one()], lr=rl.ones(2))),
        (ValueError, "Invalid alpha value: -1", lambda: optim.RMSprop([one()], alpha=-1)),
        (ValueError, "Invalid rho value: -1", lambda: optim.Adadelta([one()], rho=-1)),
        (ValueError, "Invalid lr_decay value: -1", lambda: optim.Adagrad([one()], lr_decay=-1)),
        (ValueError, "Invalid eta values: 1, 2", lambda: optim.Rprop([one()], etas=(1, 2))),
        (
            ValueError,
            "Muon only supports 2D parameters whereas we found a parameter with size: torch.Size([2])",
            lambda: optim.Muon([one()]),
        ),
        (
            TypeError,
            "LBFGS.step() missing 1 required positional argument: 'closure'",
            lambda: optim.LBFGS([one()]).step(),
        ),
        (
            TypeError,
            "param_group must be a dict, but got <class 'list'>",
            lambda: optim.SGD([one()]).add_param_group([one()]),
        ),
        (
            ValueError,
            "loaded state dict has a different number of parameter groups",
            lambda: optim.SGD([one()]).load_state_dict({"state": {}, "param_groups": []}),
        ),
        (
            ValueError,
            "loaded state dict contains a parameter group that doesn't match the size of optimizer's group",
            lambda: optim.SGD([one()]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}),
        ),
    ],
)
def test_errors(kind, text, call):
    with pytest.raises(kind) as info:
        call()
    assert str(info.value) == text


def test_shared_parameters_are_refused():
    p = one()
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optim.SGD([{"params": [p]}, {"params": [p]}])
    with pytest.warns(UserWarning, match="parameter group with duplicate parameters"):
        optim.SGD([p, p])
    with pytest.raises(KeyError):
        optim.SGD([{"lr": 1}])


def test_loading_converts_to_the_dtype_of_the_parameter():
    p = one()
    p.grad = rl.ones(2)
    source = optim.Adam([p])
    source.step()
    target = optim.Adam([rl.nn.Parameter(rl.ones(2, dtype=rl.float64))])
    target.load_state_dict(source.state_dict())
    state = target.state[target.param_groups[0]["params"][0]]
    assert state["exp_avg"].dtype == rl.float64 and state["step"].dtype == rl.float32


def test_repr():
    assert repr(optim.SGD([one()], lr=0.1)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.1\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )
    assert "\n\nParameter Group 1\n" in repr(optim.SGD([{"params": one()}, {"params": one()}]))


def test_hooks():
    p, log = one(), []
    p.grad = rl.ones(2)
    optimizer = optim.SGD([p], lr=1.0)
    handles = [
        optimizer.register_step_pre_hook(lambda o, a, k: log.append("pre")),
        optimizer.register_step_post_hook(lambda o, a, k: log.append(p.tolist())),
        optimizer.register_state_dict_pre_hook(lambda o: log.append("state")),
        optimizer.register_state_dict_post_hook(lambda o, s: {**s, "more": 1}),
        optimizer.register_load_state_dict_pre_hook(lambda o, s: log.append(s.pop("more", None))),
        optimizer.register_load_state_dict_post_hook(lambda o: log.append("loaded")),
        optim.optimizer.register_optimizer_step_pre_hook(lambda o, a, k: log.append("global")),
    ]
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    assert log == ["global", "pre", [0, 0], "state", 1, "loaded"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(log) == 6
    optimizer.register_step_pre_hook(lambda o, a, k: 3)
    with pytest.raises(
        RuntimeError, match="must return None or a tuple of .new_args, new_kwargs., but got 3"
    ):
        optimizer.step()


def test_an_optimiser_of_ones_own():
    class Signs(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @rl.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad.sign())

    p, log = one(), []
    p.grad = rl.tensor([3.0, -3.0])
    optimizer = Signs([p], 0.5)
    optimizer.register_step_post_hook(lambda *a: log.append(1))
    optimizer.step()
    assert p.tolist() == [0.5, 1.5] and log == [1]
    with pytest.raises(NotImplementedError):
        optim.Optimizer([p], {}).step()
    with pytest.raises(ValueError, match="parameter group didn't specify a value of required"):
        optim.Optimizer([p], {"lr": optim.optimizer.required})


def test_averaged_model():
    net = rl.nn.Linear(1, 1, bias=False)
    mean = optim.swa_utils.AveragedModel(net)
    ema = optim.swa_utils.AveragedModel(net, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.5))
    for value in (1.0, 2.0, 6.0):
        net.weight.data.fill_(value)
        mean.update_parameters(net)
        ema.update_parameters(net)
    assert mean.module.weight.item() == 3 and ema.module.weight.item() == pytest.approx(3.75)
    assert mean.n_averaged.item() == 3 and mean(rl.ones(1, 1)).item() == 3
    assert list(mean.state_dict()) == ["n_averaged", "module.weight"]


def test_update_bn():
    net = rl.nn.Sequential(rl.nn.BatchNorm1d(2))
    data = rl.randn(4, 8, 2)
    optim.swa_utils.update_bn(list(data), net)
    assert rl.allclose(net[0].running_mean, data.mean((0, 1)), atol=1e-6) and net[0].momentum == 0.1


# parameters after 20 steps: two elements of the first, one of the second, the third
STORED = {
    "SGD-lr=0.1": [1.9951967, -2.9852786, -0.07188241, -0.37886885],
    "SGD-lr=0.1-weight_decay=0.05-maximize=True": [1.8885906, -1.8950913, -0.45541826, -0.08272099],
    "SGD-lr=0.1-momentum=0.9-dampening=0.3": [1.2648671, -3.8275661, 0.8020704, -0.9942622],
    "SGD-lr=0.1-momentum=0.9-nesterov=True-weight_decay=0.01": [1.0534159, -4.313324, 1.0181663, -1.0522672],
    "Adam-lr=0.01": [2.0286758, -2.5685055, -0.25089055, -0.26656926],
    "Adam-lr=0.01-betas=(0.8, 0.9)-eps=0.001-weight_decay=0.1-maximize=True": [
        2.0249894,
        -2.483021,
        -0.30439967,
        -0.21049705,
    ],
    "Adam-lr=0.01-betas=(0.5, 0.6)-amsgrad=True": [2.0298, -2.563865, -0.25847325, -0.2525091],
    "Adam-lr=0.01-weight_decay=0.1-decoupled_weight_decay=True": [
        1.9883169,
        -2.5178971,
        -0.24565352,
        -0.26143557,
    ],
    "AdamW-lr=0.01-weight_decay=0.1": [1.9883169, -2.5178971, -0.24565352, -0.26143557],
    "AdamW-lr=0.01-amsgrad=True-maximize=True": [2.0490768, -2.5377147, -0.31108794, -0.21010439],
    "RMSprop-lr=0.01": [1.968244, -2.5622637, -0.17264889, -0.34206703],
    "RMSprop-lr=0.01-momentum=0.9-weight_decay=0.1": [0.8492296, -1.4968189, 0.48317808, -0.79788864],
    "RMSprop-lr=0.01-centered=True-alpha=0.9-maximize=True": [
        2.0672061,
        -2.5469048,
        -0.32410744,
        -0.20069677,
    ],
    "RMSprop-lr=0.01-centered=True-momentum=0.5": [1.8801377, -2.5310588, -0.0701064, -0.4146023],
    "Adagrad-lr=0.1": [1.9688097, -2.5601656, -0.17438748, -0.341872],
    "Adagrad-lr=0.1-lr_decay=0.1-weight_decay=0.1-initial_accumulator_value=0.5-maximize=True": [
        2.0233836,
        -2.4194965,
        -0.32679766,
        -0.16848037,
    ],
    "Adadelta": [2.0384283, -2.563387, -0.27278545, -0.24280955],
    "Adadelta-lr=0.5-rho=0.8-eps=0.0001-weight_decay=0.1-maximize=True": [
        2.0172718,
        -2.4740515,
        -0.30762416,
        -0.22087142,
    ],
    "Adamax-lr=0.01": [2.032879, -2.555872, -0.2603152, -0.26120743],
    "Adamax-lr=0.01-weight_decay=0.1-betas=(0.8, 0.9)-maximize=True": [
        2.0305166,
        -2.5033743,
        -0.29921165,
        -0.21443486,
    ],
    "NAdam-lr=0.01": [2.0278366, -2.5715613, -0.25659722, -0.25597897],
    "NAdam-lr=0.01-weight_decay=0.1-momentum_decay=0.01-maximize=True": [
        2.028054,
        -2.4865575,
        -0.3000733,
        -0.21728678,
    ],
    "NAdam-lr=0.01-weight_decay=0.1-decoupled_weight_decay=True": [
        1.9875982,
        -2.5209715,
        -0.25124377,
        -0.25101656,
    ],
    "RAdam-lr=0.01": [2.050581, -2.5524662, -0.27060196, -0.24980791],
    "RAdam-lr=0.01-weight_decay=0.1-betas=(0.8, 0.9)-maximize=True": [
        2.0136619,
        -2.5169544,
        -0.29767472,
        -0.2220465,
    ],
    "RAdam-lr=0.01-weight_decay=0.1-decoupled_weight_decay=True": [
        2.0099883,
        -2.501895,
        -0.26521832,
        -0.24487354,
    ],
    "Rprop-lr=0.01": [2.0373223, -2.534859, -0.27220622, -0.24721923],
    "Rprop-lr=0.1-etas=(0.4, 1.5)-step_sizes=(0.01, 0.3)-maximize=True": [
        2.094919,
        -2.7661607,
        -0.44503736,
        -0.1265136,
    ],
    "ASGD-lr=0.1-t0=5": [1.9947971, -2.9846992, -0.07186023, -0.37879732],
    "ASGD-lr=0.1-lambd=0.01-alpha=0.5-weight_decay=0.1-maximize=True": [
        1.6757228,
        -1.6508234,
        -0.41616023,
        -0.06684296,
    ],
    "Adafactor-lr=0.1": [1.7967649, -2.9051719, -0.18367784, -0.25936136],
    "Adafactor-lr=0.1-weight_decay=0.1-d=2.0-eps=(0.0001, 0.01)-maximize=True": [
        1.891655,
        -1.7292588,
        -0.39941248,
        -0.15356469,
    ],
}


FUNCTIONAL = {  # class -> function, its lists and the state they hold, options that have another name in the function
    "Adam": ("adam", ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"], ["beta1", "beta2"], {"amsgrad": True}),
    "AdamW": ("adamw", ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"], ["beta1", "beta2"], {"maximize": True}),
    "SGD": ("sgd", ["momentum_buffer"], [], {"momentum": 0.9}),
    "Adamax": ("adamax", ["exp_avg", "exp_inf", "step"], ["beta1", "beta2"], {}),
    "NAdam": ("nadam", ["exp_avg", "exp_avg_sq", "mu_product", "step"], ["beta1", "beta2"], {}),
    "RAdam": ("radam", ["exp_avg", "exp_avg_sq", "step"], ["beta1", "beta2"], {"weight_decay": 0.1}),
    "Adagrad": ("adagrad", ["sum", "step"], [], {}),
    "Adadelta": ("adadelta", ["square_avg", "acc_delta", "step"], [], {}),
    "RMSprop": ("rmsprop", ["square_avg", "grad_avg", "momentum_buffer", "step"], [], {"momentum": 0.5, "centered": True}),
    "Rprop": ("rprop", ["prev", "step_size", "step"], ["etaminus", "etaplus"], {}),
    "ASGD": ("asgd", ["ax", "mu", "eta", "step"], [], {}),
    "Adafactor": ("adafactor", ["row_var", "col_var", "variance", "step"], ["eps1", "eps2"], {}),
    "Muon": ("muon", ["momentum_buffer"], [], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_as_functions(name):
    """A step of the function is the step of the class."""
    module, lists, pair, options = FUNCTIONAL[name]
    function = getattr(getattr(optim, module), module)
    params = [rl.randn(4, 3, requires_grad=True) for _ in range(2)]
    optimizer = getattr(optim, name)(params, **options)
    for _ in range(2):
        for p in params:
            p.grad = rl.randn(4, 3)
        optimizer.step()
    copies = [p.detach().clone() for p in params]
    states = [copy.deepcopy(optimizer.state[p]) for p in params]
    grads = [p.grad for p in params]
    optimizer.step()

    columns = [[state.get(key) for state in states] for key in lists]
    columns = [[] if key.startswith("max_") and not options.get("amsgrad") else c for key, c in zip(lists, columns)]
    group = dict(optimizer.param_groups[0])
    group |= zip(pair, group.get("betas") or group.get("etas") or (group["eps"] if pair else ()))
    group |= zip(("step_size_min", "step_size_max"), group.get("step_sizes", ()))
    accepted = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
    group = {"has_complex": False, **group, "fused": None}
    taken = {"params", *function.__code__.co_varnames[: 2 + len(lists)]}
    function(copies, grads, *columns, **{key: value for key, value in group.items() if key in accepted and key not in taken})
    assert all(a.equal(b) for a, b in zip(copies, params))
    for p, state in zip(params, states):
        assert all(state[key].equal(optimizer.state[p][key]) for key in lists if key in state)
