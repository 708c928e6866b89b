"""Operators written in Python (rushlight/_composites), func, amp, overrides: stored values of PyTorch, derivatives, errors."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import rushlight as torch
from rushlight import amp, func, overrides
from rushlight.autograd import gradcheck

T = torch.tensor


def ramp(*shape, scale=2.0, **options):
    values = [((i * 613) % 1009) / 1009 * 2 * scale - scale for i in range(math.prod(shape))]
    return T(values, **options).reshape(shape)


def pairs(name):
    lines = (Path(__file__).parent / "vectors" / name).read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    return list(zip(lines[::2], (line.strip() for line in lines[1::2])))


@pytest.mark.parametrize("expression, expected", pairs("composites.txt"))
def test_values(expression, expected):
    shape, values = expected.split(")", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(expression, {"torch": torch, "T": T, "ramp": ramp})
    result = result[0] if isinstance(result, (tuple, list)) else result
    result = torch.view_as_real(result) if result.is_complex() else result
    assert tuple(result.shape) == eval(shape + ")")
    expected = np.array([float(value) for value in values.split()])
    np.testing.assert_allclose(result.detach().double().numpy().ravel(), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("function", [
    lambda x: torch.stft(x, 4, window=torch.hann_window(4, dtype=torch.float64), return_complex=True),
    lambda x: torch.kron(x[:3], x[3:7]), lambda x: torch.pdist(x.reshape(6, 2)), lambda x: torch.trapezoid(x),
    lambda x: torch.gradient(x)[0], lambda x: torch.quantile(x, 0.3), lambda x: torch.diff(x, 2), lambda x: torch.cov(x.reshape(3, 4)),
    lambda x: torch.index_reduce(torch.ones(2, dtype=torch.float64), 0, T([0, 1, 0]), x[:3], "prod"),
    lambda x: torch.permute_copy(x.reshape(3, 4), (1, 0)),
    lambda x: torch.lstm_cell(x[None, :2], (x[None, 2:4], x[None, 4:6]), x[:8, None] * x[:2], x[:8, None] * x[4:6])[0],
])  # fmt: skip
def test_derivatives(function):
    assert gradcheck(function, (ramp(12, dtype=torch.float64).requires_grad_(),))


def test_stft_and_back():
    x, window = ramp(2, 30), torch.hann_window(8)
    for options in ({}, {"normalized": True}, {"onesided": False}, {"hop_length": 4}):
        spectrum = torch.stft(x, 8, window=window, return_complex=True, **options)
        back = torch.istft(
            spectrum, 8, window=window, length=30 if "hop_length" not in options else 28, **options
        )
        np.testing.assert_allclose(back.numpy(), x.numpy()[:, : back.shape[1]], atol=1e-5)


def test_stft_needs_return_complex():
    with pytest.raises(RuntimeError, match="stft requires the return_complex parameter"):
        torch.stft(ramp(20), 8)


def test_buffers_share_memory(tmp_path):
    data = bytearray([1, 2, 3, 4])
    x = torch.frombuffer(data, dtype=torch.uint8)
    x[0] = 9
    assert data[0] == 9
    with pytest.raises(ValueError, match="must be a multiple of element size"):
        torch.frombuffer(bytearray(5), dtype=torch.float32)
    path = str(tmp_path / "numbers")
    shared = torch.from_file(path, shared=True, size=3, dtype=torch.int32)
    shared.copy_(T([1, 2, 3]))
    assert torch.from_file(path, size=3, dtype=torch.int32).tolist() == [1, 2, 3]


def test_copies_have_their_own_memory():
    x = ramp(2, 3)
    copy = torch.t_copy(x)
    copy.zero_()
    assert bool((x != 0).any())
    assert torch.empty_permuted((2, 3, 4), (1, 0, 2)).stride() == (4, 8, 1)


# ---- func ----


def test_grad_nests():
    assert float(func.grad(func.grad(func.grad(lambda x: x**4)))(T(2.0))) == 48.0
    result = func.grad(lambda x: x**3)(T(2.0))
    assert float(result) == 12.0 and not result.requires_grad
    x = T(2.0, requires_grad=True)
    func.grad(lambda x: x**3)(x).backward()
    assert float(x.grad) == 12.0
    w = T(3.0, requires_grad=True)
    func.grad(lambda x: x * x * w)(T(2.0)).backward()
    assert float(w.grad) == 4.0


def test_recurrent_cells_check_shapes():
    x, h, w = torch.ones(1, 2), torch.ones(1, 2), torch.ones(8, 2)
    for kind, text, call in (
        (IndexError, "shape (2,)", lambda: torch.lstm_cell(x[0], (h, h), w, w)),
        (RuntimeError, "input has inconsistent input_size: got 3 expected 2", lambda: torch.lstm_cell(torch.ones(1, 3), (h, h), w, w)),
        (RuntimeError, "weight_ih first dim must be 4 * hidden_size = 8, but got 6", lambda: torch.lstm_cell(x, (h, h), w[:6], w)),
        (RuntimeError, "weight_hh first dim must be 3 * hidden_size = 6, but got 8", lambda: torch.gru_cell(x, h, w[:6], w)),
        (RuntimeError, "states of shape (1, hidden_size)", lambda: torch.gru_cell(x, torch.ones(2, 2), w[:6], w[:6])),
    ):
        with pytest.raises(kind) as info:
            call()
        assert text in str(info.value)


def test_jacobians():
    x = T([1.0, 2.0])
    f = lambda x: torch.stack([x.prod(), x.sum(), x[0] ** 2])  # noqa: E731
    expected = [[2.0, 1.0], [1.0, 1.0], [2.0, 0.0]]
    assert func.jacrev(f)(x).tolist() == expected
    assert func.jacfwd(f)(x).tolist() == expected
    assert func.jvp(f, (x,), (T([1.0, 0.0]),))[1].tolist() == [2.0, 1.0, 2.0]
    value, pull = func.vjp(f, x)
    assert pull(T([1.0, 1.0, 0.0]))[0].tolist() == [3.0, 2.0] and not value.requires_grad
    assert func.hessian(lambda x: (x**3).sum())(x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert func.grad_and_value(lambda x: (x * x, "aux"), has_aux=True)(T(3.0)) == (6.0, (9.0, "aux"))
    with pytest.raises(RuntimeError, match="return a scalar Tensor"):
        func.grad(lambda x: x * 2)(x)


def test_vmap():
    x, y = ramp(3, 2), ramp(2)
    assert torch.allclose(torch.vmap(torch.dot, (0, None))(x, y), x @ y)
    assert torch.equal(torch.vmap(lambda a: a * 2, out_dims=1)(x), (x * 2).t())
    per_sample = func.vmap(func.grad(lambda w, x: (w * x).sum() ** 2), (None, 0))(y, x)
    np.testing.assert_allclose(per_sample.numpy(), (2 * (x @ y)[:, None] * x).numpy(), rtol=1e-6)
    result = func.vmap(lambda d: {"sum": d["a"].sum(), "b": d["b"]}, ({"a": 0, "b": 0},))(
        {"a": x, "b": y.expand(3, 2)}
    )
    assert result["sum"].shape == (3,) and result["b"].shape == (3, 2)
    with pytest.raises(ValueError, match="at least one input"):
        func.vmap(torch.sum, (None,))(x)


def test_functional_call_and_ensembles():
    models = [torch.nn.Linear(2, 1) for _ in range(3)]
    parameters, buffers = func.stack_module_state(models)
    assert parameters["weight"].shape == (3, 1, 2) and buffers == {}
    x = ramp(4, 2)
    outputs = func.vmap(lambda p: func.functional_call(models[0], p, (x,)))(parameters)
    np.testing.assert_allclose(outputs[2].detach().numpy(), models[2](x).detach().numpy(), rtol=1e-6)


# ---- amp, overrides, probes ----


def test_disabled_autocast_and_scaler():
    linear = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1)
    scaler = torch.GradScaler("cpu", enabled=False)
    with torch.autocast("cpu", enabled=False):
        loss = linear(torch.ones(1, 2)).sum()
    scaler.scale(loss).backward()
    before = linear.weight.detach().clone()
    scaler.step(optimizer)
    scaler.update()
    assert not torch.equal(before, linear.weight)


def test_enabled_scaler_skips_overflow():
    p = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    scaler = amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    scaler.scale(p.sum()).backward()
    assert float(p.grad) == 4.0
    scaler.step(optimizer)
    scaler.update()
    assert float(p.detach()) == 0.0 and scaler.get_scale() == 8.0
    p.grad = T([math.inf])
    scaler.step(optimizer)
    scaler.update()
    assert float(p.detach()) == 0.0 and scaler.get_scale() == 4.0
    again = amp.GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 4.0


def test_overrides():
    class Like:
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return function.__name__, types

    def public(x):
        if overrides.has_torch_function_unary(x):
            return overrides.handle_torch_function(public, (x,), x)
        return "plain"

    assert public(1) == "plain" and public(Like()) == ("public", (Like,))
    assert overrides.is_tensor_like(Like()) and not overrides.is_tensor_like(1)
    assert not overrides.has_torch_function((torch.ones(1), 1))
    assert overrides.resolve_name(torch.add) == "torch.add"


def test_what_programs_probe():
    assert torch.version.__version__ == torch.__version__ and torch.version.cuda is None
    assert "rushlight" in torch.__config__.show()
    assert torch.cond(T(True), lambda x: x + 1, lambda x: x - 1, (T(1.0),)) == 2.0
    assert torch.while_loop(lambda x: x < 10, lambda x: x * 2, (T(1.0),))[0] == 16.0
    assert not torch.is_autocast_enabled() and torch.get_autocast_dtype("cpu") is torch.bfloat16
    assert torch.sym_max(1, 2.0) == 2.0 and isinstance(torch.sym_min(1, 2.0), float)


def test_local_hub(tmp_path):
    (tmp_path / "hubconf.py").write_text("def double(x):\n    'Twice x.'\n    return 2 * x\n")
    assert torch.hub.list(str(tmp_path)) == ["double"]
    assert torch.hub.load(str(tmp_path), "double", 4, source="local") == 8
    with pytest.raises(NotImplementedError):
        torch.hub.load("owner/name", "double")
