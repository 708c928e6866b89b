"""Printed forms against texts recorded from PyTorch 2.13 (tests/vectors/printing_vectors.json), and the print options."""

import json
import math
from collections import OrderedDict
from pathlib import Path

import pytest

import rushlight as torch
from rushlight import nn

VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "printing_vectors.json").read_text(encoding="utf-8")
)


@pytest.fixture(autouse=True)
def default_options():
    torch.set_printoptions(profile="default")
    yield
    torch.set_printoptions(profile="default")


@pytest.mark.parametrize("expression, text", VECTORS, ids=[expression[:60] for expression, _ in VECTORS])
def test_text_as_recorded(expression, text):
    result = eval(expression, {"torch": torch, "nn": nn, "OrderedDict": OrderedDict})
    got = result if isinstance(result, str) else repr(result)
    assert got.replace("<class 'rushlight.", "<class 'torch.") == text


def test_a_call_without_sci_mode_resets_it():
    torch.set_printoptions(sci_mode=True)
    assert repr(torch.tensor([1.0])) == "tensor([1.0000e+00])"
    torch.set_printoptions(precision=2)
    assert repr(torch.tensor([1.5])) == "tensor([1.50])"


def test_printoptions_restores():
    before = torch.get_printoptions()
    with pytest.raises(ZeroDivisionError), torch.printoptions(precision=1, sci_mode=False, linewidth=30):
        assert repr(torch.tensor([0.25])) == "tensor([0.2])"
        raise ZeroDivisionError
    assert torch.get_printoptions() == before


def test_profiles():
    torch.set_printoptions(profile="full")
    assert torch.get_printoptions()["threshold"] == math.inf
    assert "..." not in repr(torch.arange(1001))
    torch.set_printoptions(profile="short", edgeitems=1)
    assert repr(torch.arange(1001.0)) == "tensor([   0.,  ..., 1000.])"  # integers among the shown


def test_hidden_values_do_not_decide_the_format():
    x = torch.ones(2000)
    x[1000] = 1e10
    assert repr(x) == "tensor([1., 1., 1.,  ..., 1., 1., 1.])"


def test_printing_changes_nothing():
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    version, grad_fn = y._version, y.grad_fn
    text = repr(y)
    assert text == str(y) == "tensor([2., 2., 2.], grad_fn=<MulBackward0>)"
    assert y._version == version and y.grad_fn is grad_fn
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_format():
    assert f"{torch.tensor(1.5)}" == "1.5"
    assert f"{torch.tensor(1.5):.3f}" == "1.500"
    assert f"{torch.tensor(7):>4d}" == "   7"
    assert f"{torch.tensor([1.5])}" == "tensor([1.5000])"
    with pytest.raises(TypeError, match="unsupported format string passed to Tensor.__format__"):
        format(torch.tensor([1.0, 2.0]), ".2f")


def test_default_dtype_is_bare():
    torch.set_default_dtype(torch.float64)
    try:
        assert repr(torch.ones(1, dtype=torch.float64)) == "tensor([1.])"
        assert repr(torch.ones(1, dtype=torch.float32)) == "tensor([1.], dtype=torch.float32)"
    finally:
        torch.set_default_dtype(torch.float32)


def test_subclass_prefix():
    class Celsius(torch.Tensor):
        pass

    assert repr(torch.ones(2).as_subclass(Celsius)) == "Celsius([1., 1.])"


def test_like_torch_over_random_tensors():
    oracle = pytest.importorskip("torch")
    import numpy as np

    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(int(n) for n in rng.integers(0, 9, rng.integers(0, 4)))
        values = rng.normal(size=shape) * 10.0 ** rng.integers(-5, 7)
        values = np.where(rng.random(shape) < 0.1, [0.0, np.nan, np.inf, -0.0][rng.integers(4)], values)
        name = ["float32", "float64", "complex64", "bfloat16", "float16"][rng.integers(5)]
        ours, theirs = (m.tensor(values.tolist()).to(getattr(m, name)) for m in (torch, oracle))
        assert repr(ours) == repr(theirs)
