"""Learning-rate schedulers: values against stored ones of PyTorch 2.13 (and against PyTorch itself where it is
installed), state, warnings, errors."""

import copy
import math
import warnings

import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.optim import lr_scheduler

# (name, arguments after the optimiser): functions take the library's lr_scheduler and an optimiser
CASES = {
    "StepLR": lambda L, o: L.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda L, o: L.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "ConstantLR": lambda L, o: L.ConstantLR(o, 0.4, 3),
    "LinearLR": lambda L, o: L.LinearLR(o, 0.2, 0.9, 6),
    "ExponentialLR": lambda L, o: L.ExponentialLR(o, 0.8),
    "PolynomialLR": lambda L, o: L.PolynomialLR(o, 7, 1.7),
    "LambdaLR": lambda L, o: L.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda L, o: L.MultiplicativeLR(o, lambda e: 0.9 + 0.01 * e),
    "CosineAnnealingLR": lambda L, o: L.CosineAnnealingLR(o, 5, 0.01),
    "CosineAnnealingWarmRestarts": lambda L, o: L.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "CyclicLR": lambda L, o: L.CyclicLR(o, 0.01, [0.1, 0.2], 3, 4),
    "CyclicLR-triangular2": lambda L, o: L.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2"),
    "CyclicLR-exp_range": lambda L, o: L.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.9),
    "CyclicLR-scale_fn": lambda L, o: L.CyclicLR(
        o, 0.01, 0.1, 3, scale_fn=lambda x: 1 / x, cycle_momentum=False
    ),
    "OneCycleLR": lambda L, o: L.OneCycleLR(o, 0.5, 20),
    "OneCycleLR-linear": lambda L, o: L.OneCycleLR(
        o, [0.5, 0.1], epochs=4, steps_per_epoch=5, anneal_strategy="linear"
    ),
    "OneCycleLR-three_phase": lambda L, o: L.OneCycleLR(
        o, 0.5, 20, three_phase=True, pct_start=0.25, div_factor=10
    ),
    "SequentialLR": lambda L, o: L.SequentialLR(
        o, [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9), L.StepLR(o, 2)], [2, 6]
    ),
    "SequentialLR-warmup": lambda L, o: L.SequentialLR(
        o, [L.LinearLR(o, 0.1, 1.0, 4), L.CosineAnnealingLR(o, 8)], [4]
    ),
    "SequentialLR-nested": lambda L, o: L.SequentialLR(
        o,
        [L.SequentialLR(o, [L.ConstantLR(o, 0.5, 2), L.ExponentialLR(o, 0.9)], [3]), L.StepLR(o, 2)],
        [6],
    ),
    "ChainedScheduler": lambda L, o: L.ChainedScheduler([L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)]),
}
EPOCHS = 18


def make(library, name=None):
    p = [library.nn.Parameter(library.ones(1)) for _ in range(2)]
    kind = library.optim.Adam if name == "OneCycleLR-linear" else library.optim.SGD
    more = {} if kind is library.optim.Adam else {"momentum": 0.9}
    optimizer = kind([{"params": p[0]}, {"params": p[1], "lr": 0.03}], lr=0.1, **more)
    return optimizer


def momentum(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def trace(library, name, epochs=EPOCHS, scheduler=None, optimizer=None):
    """The learning rates and momenta of both groups over some epochs."""
    if optimizer is None:
        optimizer = make(library, name)
        scheduler = CASES[name](library.optim.lr_scheduler, optimizer)
    rows = []
    for _ in range(epochs):
        rows.append([g["lr"] for g in optimizer.param_groups] + [momentum(g) for g in optimizer.param_groups])
        assert scheduler.get_last_lr() == rows[-1][:2]
        optimizer.step()
        scheduler.step()
    return rows, optimizer, scheduler


@pytest.mark.parametrize("name", CASES)
def test_equal_to_pytorch(name):
    torch = pytest.importorskip("torch")
    mine, my_optimizer, my_scheduler = trace(rl, name)
    theirs, their_optimizer, their_scheduler = trace(torch, name)
    assert mine == theirs  # to the last bit
    a, b = my_scheduler.state_dict(), their_scheduler.state_dict()
    assert list(a) == list(b) and a == b
    for a, b in zip(my_optimizer.param_groups, their_optimizer.param_groups):
        assert list(a) == list(b)


@pytest.mark.parametrize("name", CASES)
def test_stored_values(name):
    rows, _, _ = trace(rl, name)
    assert [row[0] for row in rows[:8]] == pytest.approx(STORED[name], rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_continuing_from_a_state(name):
    whole, _, _ = trace(rl, name)
    _, optimizer, scheduler = trace(rl, name, epochs=7)
    states = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(scheduler.state_dict())
    optimizer = make(rl, name)
    scheduler = CASES[name](lr_scheduler, optimizer)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    rest, _, _ = trace(rl, name, EPOCHS - 7, scheduler, optimizer)
    assert rest == whole[7:]


CLOSED = [
    "StepLR",
    "MultiStepLR",
    "ConstantLR",
    "LinearLR",
    "ExponentialLR",
    "PolynomialLR",
    "CosineAnnealingLR",
]


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_closed_form(name):
    rows, _, _ = trace(rl, name, 14)
    for epoch in (0, 3, 5, 6, 13):
        optimizer = make(rl)
        scheduler = CASES[name](lr_scheduler, optimizer)
        optimizer.step()
        scheduler.step(epoch)
        assert scheduler.get_last_lr() == pytest.approx(rows[epoch][:2], abs=1e-9)


@pytest.mark.parametrize(
    "name", [n for n in CASES if n.split("-")[0] not in ("SequentialLR", "ChainedScheduler")]
)
def test_beginning_at_a_later_epoch_as_pytorch(name):
    torch = pytest.importorskip("torch")
    results = []
    for library in (rl, torch):
        _, optimizer, _ = trace(library, name, 6)
        L = library.optim.lr_scheduler

        class Later:
            """The schedulers with last_epoch=4."""

            def __getattr__(self, kind, L=L):
                return lambda *args, **kwargs: getattr(L, kind)(*args, **kwargs, last_epoch=4)

        scheduler = CASES[name](Later(), optimizer)
        results.append(trace(library, name, 5, scheduler, optimizer)[0])
    assert results[0] == results[1]


def test_plateau():
    optimizer = make(rl)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.02)
    seen = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, rl.tensor(0.9), 0.9, 0.9, 0.8):
        scheduler.step(loss)
        seen.append(scheduler.get_last_lr()[0])
    assert seen == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.02, 0.02, 0.02]
    state = scheduler.state_dict()
    assert list(state) == [
        "factor", "default_min_lr", "min_lrs", "patience", "cooldown", "eps", "last_epoch", "_last_lr", "mode_worse",
        "mode", "threshold", "threshold_mode", "best", "cooldown_counter", "num_bad_epochs",
    ]  # fmt: skip
    other = lr_scheduler.ReduceLROnPlateau(make(rl))
    other.load_state_dict(state)
    assert other.best == 0.8 and other.patience == 1


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_as_pytorch(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    values = [math.sin(i * 1.7) + 2 + (0.02 * i if mode == "max" else -0.02 * i) for i in range(40)]
    results = []
    for library in (rl, torch):
        optimizer = make(library)
        L = library.optim.lr_scheduler
        scheduler = L.ReduceLROnPlateau(
            optimizer, mode, 0.7, 2, 0.01, threshold_mode, cooldown=2, min_lr=[0.03, 0.001], eps=1e-4
        )
        rows = []
        for value in values:
            scheduler.step(value)
            rows.append(scheduler.get_last_lr())
        results.append((rows, scheduler.state_dict()))
    assert results[0] == results[1]


def test_tensor_learning_rates_keep_their_identity():
    lr = rl.tensor(0.5)
    optimizer = optim.SGD([nn.Parameter(rl.ones(1))], lr=lr)
    scheduler = lr_scheduler.StepLR(optimizer, 1, 0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.25
    assert scheduler.base_lrs[0].item() == 0.5


def test_lambda_objects_are_saved():
    class Factor:
        def __init__(self, value):
            self.value = value

        def __call__(self, epoch):
            return self.value**epoch

    scheduler = lr_scheduler.LambdaLR(make(rl), [Factor(0.5), lambda epoch: 1])
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"value": 0.5}, None]
    other = lr_scheduler.LambdaLR(make(rl), [Factor(0.1), lambda epoch: 1])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].value == 0.5 and "lr_lambdas" in state


def test_order_of_calls_is_watched():
    optimizer = make(rl)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="Detected call of `lr_scheduler.step..` before `optimizer.step"):
        scheduler.step()
    optimizer = make(rl)
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        scheduler.step()
    with pytest.warns(UserWarning, match="please use `get_last_lr..`"):
        scheduler.get_lr()


def test_swalr_as_pytorch():
    torch = pytest.importorskip("torch")
    for strategy in ("cos", "linear"):
        results = []
        for library in (rl, torch):
            optimizer = make(library)
            scheduler = library.optim.swa_utils.SWALR(optimizer, [0.5, 0.01], 4, strategy)
            results.append(trace(library, None, 8, scheduler, optimizer)[0])
        for a, b in zip(*results):
            assert a == pytest.approx(b, rel=1e-12)


@pytest.mark.parametrize(
    "kind, text, call",
    [
        (TypeError, "int is not an Optimizer", lambda L, o: L.StepLR(1, 2)),
        (ValueError, "Factor should be < 1.0.", lambda L, o: L.ReduceLROnPlateau(o, factor=1.0)),
        (ValueError, "mode x is unknown!", lambda L, o: L.ReduceLROnPlateau(o, "x")),
        (ValueError, "expected 2 min_lrs, got 3", lambda L, o: L.ReduceLROnPlateau(o, min_lr=[1, 2, 3])),
        (
            ValueError,
            "You must define either total_steps OR (epochs AND steps_per_epoch)",
            lambda L, o: L.OneCycleLR(o, 1),
        ),
        (
            ValueError,
            "Expected positive integer total_steps, but got -1",
            lambda L, o: L.OneCycleLR(o, 1, total_steps=-1),
        ),
        (ValueError, "mode is invalid and scale_fn is None", lambda L, o: L.CyclicLR(o, 1, 2, mode="x")),
        (
            ValueError,
            "Expected positive integer T_0, but got 0",
            lambda L, o: L.CosineAnnealingWarmRestarts(o, 0),
        ),
        (ValueError, "Expected 2 lr_lambdas, but got 3", lambda L, o: L.LambdaLR(o, [len] * 3)),
        (
            ValueError,
            "SequentialLR expects at least one scheduler, but got no scheduler.",
            lambda L, o: L.SequentialLR(o, [], []),
        ),
        (
            ValueError,
            "Constant multiplicative factor expected to be between 0 and 1.",
            lambda L, o: L.ConstantLR(o, 2),
        ),
    ],
)
def test_errors(kind, text, call):
    with pytest.raises(kind) as info:
        call(lr_scheduler, make(rl))
    assert str(info.value) == text


def test_errors_about_other_optimizers_and_missing_values():
    with pytest.raises(
        KeyError, match="param 'initial_lr' is not specified in param_groups.0. when resuming"
    ):
        lr_scheduler.StepLR(make(rl), 2, last_epoch=3)
    o = make(rl)
    with pytest.raises(ValueError, match="expects all schedulers to belong to the same optimizer"):
        lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 2), lr_scheduler.StepLR(make(rl), 2)], [1])
    adadelta = optim.Adadelta([nn.Parameter(rl.ones(1))])
    with pytest.raises(ValueError, match="optimizer must support momentum or beta1"):
        lr_scheduler.OneCycleLR(adadelta, 1, total_steps=5)


# learning rate of the first group in the first 8 epochs
STORED = {
    "StepLR": [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025],
    "MultiStepLR": [0.1, 0.1, 0.03, 0.03, 0.03, 0.0027, 0.0027, 0.0027],
    "ConstantLR": [0.04, 0.04, 0.04, 0.1, 0.1, 0.1, 0.1, 0.1],
    "LinearLR": [0.02, 0.0316667, 0.0433333, 0.055, 0.0666667, 0.0783333, 0.09, 0.09],
    "ExponentialLR": [0.1, 0.08, 0.064, 0.0512, 0.04096, 0.032768, 0.0262144, 0.0209715],
    "PolynomialLR": [0.1, 0.0769468, 0.0564394, 0.038622, 0.0236831, 0.0118873, 0.00365876, 0],
    "LambdaLR": [0.1, 0.09, 0.081, 0.0729, 0.06561, 0.059049, 0.0531441, 0.0478297],
    "MultiplicativeLR": [0.1, 0.091, 0.08372, 0.0778596, 0.073188, 0.0695286, 0.0667475, 0.0647451],
    "CosineAnnealingLR": [0.1, 0.0914058, 0.0689058, 0.0410942, 0.0185942, 0.01, 0.0185942, 0.0410942],
    "CosineAnnealingWarmRestarts": [0.1, 0.07525, 0.02575, 0.1, 0.0933683, 0.07525, 0.0505, 0.02575],
    "CyclicLR": [0.01, 0.04, 0.07, 0.1, 0.0775, 0.055, 0.0325, 0.01],
    "CyclicLR-triangular2": [0.01, 0.04, 0.07, 0.1, 0.07, 0.04, 0.01, 0.025],
    "CyclicLR-exp_range": [0.01, 0.037, 0.0586, 0.07561, 0.049366, 0.0277147, 0.01, 0.0243489],
    "CyclicLR-scale_fn": [0.01, 0.04, 0.07, 0.1, 0.07, 0.04, 0.01, 0.025],
    "OneCycleLR": [0.02, 0.0658359, 0.185836, 0.334164, 0.454164, 0.5, 0.493732, 0.475242],
    "OneCycleLR-linear": [0.02, 0.116, 0.212, 0.308, 0.404, 0.5, 0.464286, 0.428572],
    "OneCycleLR-three_phase": [0.05, 0.115901, 0.275, 0.434099, 0.5, 0.434099, 0.275, 0.115901],
    "SequentialLR": [0.01, 0.01, 0.1, 0.09, 0.081, 0.0729, 0.1, 0.1],
    "SequentialLR-warmup": [0.01, 0.0325, 0.055, 0.0775, 0.1, 0.096194, 0.0853553, 0.0691342],
    "SequentialLR-nested": [0.05, 0.05, 0.1, 0.09, 0.081, 0.0729, 0.1, 0.1],
    "ChainedScheduler": [0.01, 0.009, 0.081, 0.0729, 0.06561, 0.059049, 0.0531441, 0.0478297],
}
