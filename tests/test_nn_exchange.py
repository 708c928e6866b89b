"""State that goes through files from PyTorch to here and back, where torch is installed: every module of tests/cases
computes the same with it, every optimizer goes on alike."""

import io
import warnings

import cases
import pytest
from cases import modules, optimizers

import rushlight as rl

torch = pytest.importorskip("torch")

NAMES = {False: cases.namespace(torch), True: cases.namespace(rl)}
# lazy modules have no state yet, and the inputs are float32
LAYERS = [
    (text, inputs)
    for text, inputs in modules.CASES
    if not text.startswith(("nn.Lazy", "nn.Linear(6, 3, dtype"))
]


def through_a_file(state, source, target):
    file = io.BytesIO()
    source.save(state, file)
    file.seek(0)
    return target.load(file)


def made(text, ours):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(text, NAMES[ours])


@pytest.mark.parametrize("to_us", [True, False], ids=["to-rushlight", "to-torch"])
@pytest.mark.parametrize("text, inputs", LAYERS, ids=[f"{text}-{inputs}" for text, inputs in LAYERS])
def test_state_of_modules(text, inputs, to_us):
    there, here = (torch, rl) if to_us else (rl, torch)
    there.manual_seed(3)
    first, second = made(text, not to_us), made(text, to_us)
    state = first.state_dict()
    if not state:
        pytest.skip("no state")
    second.load_state_dict(through_a_file(state, there, here))
    results = []
    for module, ours, package in ((first, not to_us, there), (second, to_us, here)):
        package.manual_seed(0)
        results.append(cases.plain(modules.results(module.eval()(*modules.inputs_of(NAMES[ours], inputs)))))
    assert not cases.differences(*results)


@pytest.mark.parametrize("to_us", [True, False], ids=["to-rushlight", "to-torch"])
@pytest.mark.parametrize("text", [t for t in optimizers.CASES if "Muon" not in t])
def test_state_of_optimizers(text, to_us):
    there, here = (torch, rl) if to_us else (rl, torch)
    dtype = "float64" if "LBFGS" in text else "float32"
    first, _ = optimizers.trained(there, text, getattr(there, dtype), steps=5)
    state = through_a_file(first.state_dict(), there, here)
    _, whole = optimizers.trained(there, text, getattr(there, dtype), steps=8)
    rest = optimizers.continued(
        here, text, getattr(here, dtype), state, through_a_file(values_of(first), there, here)
    )
    assert not cases.differences(rest, whole[-1][1])


def values_of(optimizer):
    return [p.detach() for group in optimizer.param_groups for p in group["params"]]
