"""Containers, parametrizations, lazy modules and the tools of nn.utils."""

import copy
import warnings

import pytest
from nets import raises

import rushlight as rl
from rushlight import nn

# --- containers -------------------------------------------------------------------------------------------------


def test_sequential():
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)
    net = nn.Sequential(a, b, c)
    assert len(net) == 3 and net[0] is a and net[-1] is c and list(net) == [a, b, c]
    assert type(net[1:]) is nn.Sequential and list(net[1:]._modules) == ["1", "2"]
    net[1] = tanh = nn.Tanh()
    assert net[1] is tanh
    del net[1]
    assert list(net._modules) == ["0", "1"] and net[1] is c
    assert net.insert(1, b) is net and list(net) == [a, b, c]
    assert net.append(nn.ReLU()) is net and len(net.extend([nn.ReLU()])) == 5
    assert isinstance(net.pop(-1), nn.ReLU) and len(net) == 4
    assert len(net + nn.Sequential(a)) == 5 and len(net * 2) == 8 and len(2 * net) == 8
    net += nn.Sequential(nn.ReLU())
    assert len(net) == 5
    raises(IndexError, "index 7 is out of range", lambda: net[7])
    raises(TypeError, "int is not a Module subclass", nn.Sequential, 1)
    assert nn.Sequential()(3) == 3


def test_module_list():
    layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    first = layers[0]
    assert layers[-3] is first and type(layers[:2]) is nn.ModuleList and len(layers[:2]) == 2
    layers.insert(0, nn.ReLU())
    assert layers[1] is first and len(list(layers.parameters())) == 6
    del layers[0]
    layers.append(nn.ReLU()).extend([nn.Tanh()])
    layers += [nn.ReLU()]
    assert len(layers) == 6 and list(layers._modules) == [str(i) for i in range(6)]
    del layers[1:3]
    assert len(layers) == 4 and len(layers + layers) == 8
    assert layers.pop(0) is first
    raises(TypeError, "ModuleList.extend should be called with an iterable, but got int", layers.extend, 3)
    raises(NotImplementedError, 'Module [ModuleList] is missing the required "forward" function', layers, 1)


def test_module_dict():
    layers = nn.ModuleDict({"x": nn.ReLU(), "y": nn.Linear(1, 1)})
    assert list(layers) == ["x", "y"] and "x" in layers and len(layers) == 2
    layers["z"] = nn.Tanh()
    layers.update([("x", nn.Tanh())])
    assert isinstance(layers["x"], nn.Tanh) and list(layers.keys()) == ["x", "y", "z"]
    assert isinstance(layers.pop("z"), nn.Tanh) and dict(layers.items()).keys() == {"x", "y"}
    assert len(list(layers.values())) == 2
    layers.clear()
    assert len(layers) == 0


def test_parameter_list():
    values = nn.ParameterList([rl.ones(1), nn.Parameter(rl.zeros(2)), "text"])
    assert isinstance(values[0], nn.Parameter) and values[2] == "text" and len(values) == 3
    assert [name for name, _ in values.named_parameters()] == ["0", "1"]
    values.append(rl.ones(3))
    values[0] = rl.zeros(5)
    assert values[0].shape == (5,) and len(values[1:]) == 3 and values[-1].shape == (3,)
    assert list(values.state_dict()) == ["0", "1", "3"]
    raises(RuntimeError, "ParameterList should not be called.", values)


def test_parameter_dict():
    values = nn.ParameterDict({"b": rl.ones(1), "a": nn.Parameter(rl.zeros(2))})
    assert isinstance(values["b"], nn.Parameter) and list(values) == ["a", "b"]
    values["c"] = rl.ones(3)
    assert values.get("nope", 4) == 4 and values.setdefault("c").shape == (3,)
    assert list(values.state_dict()) == ["a", "b", "c"]
    assert values.popitem()[0] == "c" and "c" not in values and len(values | {"d": rl.ones(1)}) == 3
    del values["a"]
    assert list(values.keys()) == ["b"] and [name for name, _ in values.named_parameters()] == ["b"]


def test_positional_state_dict_arguments_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning):
            nn.Linear(1, 1).state_dict({})


# --- utilities --------------------------------------------------------------------------------------------------


def with_gradients(*values):
    parameters = []
    for value in values:
        parameters.append(nn.Parameter(rl.ones(len(value))))
        parameters[-1].grad = rl.tensor(value)
    return parameters


def test_clip_grad():
    parameters = with_gradients([3.0, 4.0], [0.0])
    assert nn.utils.clip_grad_norm_(parameters, 1.0).item() == 5
    assert parameters[0].grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-6)
    assert nn.utils.clip_grad_norm_(with_gradients([3.0, 4.0]), 1.0, float("inf")).item() == 4
    parameters = with_gradients([3.0, -4.0])
    assert nn.utils.clip_grad_norm_(parameters, 10.0).item() == 5 and parameters[0].grad.tolist() == [3, -4]
    nn.utils.clip_grad_value_(parameters, 3.5)
    assert parameters[0].grad.tolist() == [3, -3.5]
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0
    with pytest.raises(RuntimeError, match="The total norm of order 2.0 for gradients"):
        nn.utils.clip_grad_norm_(with_gradients([float("nan")]), 1.0, error_if_nonfinite=True)


def test_vectors_of_parameters():
    m = nn.Linear(2, 1)
    vector = nn.utils.parameters_to_vector(m.parameters())
    assert vector.shape == (3,)
    nn.utils.vector_to_parameters(rl.arange(3.0), m.parameters())
    assert m.weight.tolist() == [[0, 1]] and m.bias.tolist() == [2]
    raises(TypeError, "expected torch.Tensor, but got: int", nn.utils.vector_to_parameters, 3, [])


def test_functional_call():
    call = nn.utils.stateless._functional_call
    m = nn.Linear(1, 1)
    before = m.weight
    weight = rl.full((1, 1), 3.0, requires_grad=True)
    out = call(m, {"weight": weight, "bias": rl.zeros(1)}, rl.ones(1, 1))
    assert out.item() == 3 and m.weight is before
    out.backward()
    assert weight.grad.item() == 1
    with pytest.raises(
        RuntimeError, match="Error.s. in reparametrizing for Linear:\n\tMissing key.s.: 'bias'."
    ):
        call(m, {"weight": weight}, rl.ones(1, 1), strict=True)
    tied = nn.Module()
    tied.a = tied.b = nn.Linear(1, 1)
    tied.forward = lambda x: tied.b(x)
    assert call(tied, {"a.weight": weight, "a.bias": rl.zeros(1)}, rl.ones(1, 1)).item() == 3
    with pytest.raises(ValueError, match="which are tied"):
        call(tied, {"a.weight": weight, "b.weight": rl.ones(1, 1)}, rl.ones(1, 1))


def test_fused_batch_norm():
    linear, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    linear.eval(), norm.eval()
    x = rl.randn(5, 3)
    fused = nn.utils.fuse_linear_bn_eval(linear, norm)
    assert rl.allclose(fused(x), norm(linear(x)), atol=1e-6)


def test_skip_init():
    state = rl.get_rng_state()
    m = nn.utils.skip_init(nn.Linear, 3, 2)
    assert rl.equal(state, rl.get_rng_state()) and m.weight.shape == (2, 3) and m.weight.device.type == "cpu"
    raises(
        RuntimeError, "Module must support a 'device' arg to skip initialization", nn.utils.skip_init, nn.ReLU
    )


# --- parametrizations and lazy modules --------------------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)

    def right_inverse(self, x):
        return x.triu()


def test_parametrization():
    P = nn.utils.parametrize
    m = nn.Linear(3, 3)
    P.register_parametrization(m, "weight", Symmetric())
    assert isinstance(m, nn.Linear) and type(m).__name__ == "ParametrizedLinear"
    assert P.is_parametrized(m, "weight") and P.type_before_parametrizations(m) is nn.Linear
    assert rl.equal(m.weight, m.weight.T) and list(m.state_dict()) == [
        "bias",
        "parametrizations.weight.original",
    ]
    m.weight = rl.ones(3, 3)
    assert m.weight.tolist() == [[1.0] * 3] * 3
    m(rl.ones(1, 3)).sum().backward()
    assert m.parametrizations.weight.original.grad is not None
    with P.cached():
        assert m.weight is m.weight
    assert m.weight is not m.weight
    assert rl.equal(copy.deepcopy(m).weight, m.weight)
    P.remove_parametrizations(m, "weight")
    assert type(m) is nn.Linear and isinstance(m.weight, nn.Parameter) and m.weight.sum() == 9
    with pytest.raises(ValueError, match="may not change the shape of the tensor"):
        P.register_parametrization(nn.Linear(2, 2), "weight", nn.Linear(2, 3))


def test_weight_norm():
    for apply in (nn.utils.parametrizations.weight_norm, nn.utils.weight_norm):
        m = nn.Linear(2, 3)
        before = m.weight.detach().clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            apply(m)
        assert rl.allclose(m.weight, before) and len(list(m.parameters())) == 3
        m(rl.ones(1, 2)).sum().backward()
        assert all(p.grad is not None for p in m.parameters())
    nn.utils.remove_weight_norm(m)
    assert rl.allclose(m.weight, before) and len(list(m.parameters())) == 2
    text = repr(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    assert text == (
        "ParametrizedLinear(\n  in_features=2, out_features=2, bias=True\n  (parametrizations): ModuleDict(\n"
        "    (weight): ParametrizationList(\n      (0): _WeightNorm()\n    )\n  )\n)"
    )


def test_spectral_norm():
    for apply in (nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm):
        m = apply(nn.Linear(4, 3), n_power_iterations=20)
        for _ in range(3):
            m(rl.ones(1, 4))
        assert rl.linalg.svdvals(m.weight.detach()).max().item() == pytest.approx(1, abs=1e-3)


def test_lazy_modules():
    m = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    assert repr(m[3]) == "LazyLinear(in_features=0, out_features=2, bias=True)"
    assert repr(m[0].weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter or buffer"):
        m[0].weight.shape  # noqa: B018
    weight = m[0].weight
    assert m(rl.zeros(2, 3, 5, 5)).shape == (2, 2)
    assert [type(child) for child in m] == [nn.Conv2d, nn.BatchNorm2d, nn.Flatten, nn.Linear]
    assert m[0].weight is weight and type(weight) is nn.Parameter and weight.shape == (4, 3, 3, 3)
    assert m[1].running_mean.shape == (4,) and m[3].in_features == 36
    other = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    other.load_state_dict(m.state_dict())
    assert rl.equal(other.eval()(rl.ones(1, 3, 5, 5)), m.eval()(rl.ones(1, 3, 5, 5)))
