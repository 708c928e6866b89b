"""Module: registration, walking, conversion, attributes, copies and printing; Parameter."""

import copy
import gc
import pickle
import sys
import weakref
from collections import OrderedDict

import pytest
from nets import Net, raises

import rushlight as rl
from rushlight import nn

# --- registration -----------------------------------------------------------------------------------------------


def test_registration_order_and_names():
    net = Net()
    names = ["scale", "first.weight", "first.bias", "second.weight", "second.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [name for name, _ in net.named_buffers()] == ["mean", "cache"]
    assert [name for name, _ in net.named_modules()] == ["", "first", "second"]
    assert [name for name, _ in net.named_children()] == ["first", "second"]
    assert [name for name, _ in net.named_parameters(prefix="net", recurse=False)] == ["net.scale"]
    assert (
        len(list(net.parameters())) == 5 and len(list(net.modules())) == 3 and len(list(net.children())) == 2
    )
    assert list(net.state_dict()) == ["scale", "mean", *names[1:]]


def test_shared_modules_and_parameters_are_given_once():
    net = nn.Module()
    net.a = net.b = nn.Linear(1, 1)
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias"]
    assert [name for name, _ in net.named_modules()] == ["", "a"]
    every = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert every == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "a", "b"]
    assert list(net.state_dict()) == every


def test_assignment_moves_between_registries():
    m = nn.Module()
    m.x = 1
    m.x = nn.Parameter(rl.ones(1))
    assert "x" not in m.__dict__ and "x" in m._parameters
    m.x = None
    assert m.x is None and "x" in m._parameters
    text = "cannot assign 'int' as parameter 'x' (torch.nn.Parameter or None expected)"
    raises(TypeError, text, setattr, m, "x", 1)
    del m.x
    m.x = nn.Buffer(rl.ones(1))
    m.x = nn.ReLU()
    assert "x" not in m._buffers and "x" in m._modules
    m.x = nn.Parameter(rl.ones(1))
    assert "x" not in m._modules and "x" in m._parameters
    del m.x
    m.x = nn.Buffer(rl.ones(1), persistent=False)
    assert "x" in m._buffers and "x" in m._non_persistent_buffers_set
    m.x = rl.zeros(2)
    assert m._buffers["x"].tolist() == [0, 0] and "x" not in m.state_dict()
    del m.x
    assert not hasattr(m, "x") and not m._non_persistent_buffers_set
    m.y = rl.ones(1)
    assert "y" in m.__dict__ and not list(m.buffers())


@pytest.mark.parametrize(
    "kind, text, call",
    [
        (AttributeError, "'Linear' object has no attribute 'nope'", lambda m: m.nope),
        # The text is Python's own, which grew longer in 3.11.
        (
            AttributeError,
            "'Linear' object has no attribute 'nope'" if sys.version_info >= (3, 11) else "nope",
            lambda m: delattr(m, "nope"),
        ),
        (KeyError, "attribute 'weight' already exists", lambda m: m.register_buffer("weight", None)),
        (KeyError, "attribute 'forward' already exists", lambda m: m.register_parameter("forward", None)),
        (KeyError, 'parameter name can\'t contain "."', lambda m: m.register_parameter("a.b", None)),
        (KeyError, 'parameter name can\'t be empty string ""', lambda m: m.register_parameter("", None)),
        (TypeError, "parameter name should be a string. Got int", lambda m: m.register_parameter(1, None)),
        (KeyError, 'buffer name can\'t contain "."', lambda m: m.register_buffer("a.b", None)),
        (KeyError, 'module name can\'t contain ".", got: a.b', lambda m: m.add_module("a.b", nn.ReLU())),
        (TypeError, "int is not a Module subclass", lambda m: m.add_module("a", 1)),
        (
            TypeError,
            "cannot assign 'int' object to buffer 'a' (torch Tensor or None required)",
            lambda m: m.register_buffer("a", 1),
        ),
        (
            TypeError,
            "cannot assign 'torch.FloatTensor' object to parameter 'a' (torch.nn.Parameter or None required)",
            lambda m: m.register_parameter("a", rl.ones(1)),
        ),
        (
            TypeError,
            "cannot assign 'torch.FloatTensor' as parameter 'weight' (torch.nn.Parameter or None expected)",
            lambda m: setattr(m, "weight", rl.ones(1, 2)),
        ),
        (ValueError, "training mode is expected to be boolean", lambda m: m.train(1)),
        (
            TypeError,
            "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=torch.int64",
            lambda m: m.to(rl.int64),
        ),
        (AttributeError, "Linear has no attribute `a`", lambda m: m.get_submodule("a")),
        (AttributeError, "`weight` is not an nn.Module", lambda m: m.get_submodule("weight")),
        (AttributeError, "`training` is not an nn.Parameter", lambda m: m.get_parameter("training")),
        (AttributeError, "`weight` is not a buffer", lambda m: m.get_buffer("weight")),
        (ValueError, "Cannot set the submodule without a target name!", lambda m: m.set_submodule("", m)),
        (
            TypeError,
            "Expected state_dict to be dict-like, got <class 'list'>.",
            lambda m: m.load_state_dict([]),
        ),
    ],
)
def test_error_texts(kind, text, call):
    raises(kind, text, call, nn.Linear(2, 1))


def test_errors_of_incomplete_modules():
    class NoInit(nn.Module):
        def __init__(self, value):
            self.x = value

    raises(AttributeError, "cannot assign module before Module.__init__() call", NoInit, nn.ReLU())
    raises(
        AttributeError,
        "cannot assign parameters before Module.__init__() call",
        NoInit,
        nn.Parameter(rl.ones(1)),
    )
    raises(NotImplementedError, 'Module [Module] is missing the required "forward" function', nn.Module(), 1)
    raises(TypeError, "Module.__init__() got an unexpected keyword argument 'a'", nn.Module, a=1)
    raises(TypeError, "Module.__init__() takes 1 positional argument but 2 were given", nn.Module, 1)


def test_access_by_dotted_name():
    net = nn.Sequential(nn.Sequential(nn.Linear(1, 2), nn.ReLU()))
    assert net.get_submodule("") is net and net.get_submodule("0.1") is net[0][1]
    assert net.get_parameter("0.0.bias") is net[0][0].bias
    net.set_submodule("0.1", nn.Tanh())
    assert isinstance(net[0][1], nn.Tanh)
    raises(AttributeError, "Sequential has no attribute `5`", net.set_submodule, "5", nn.Tanh(), strict=True)


def test_dir_lists_members_without_numbers():
    listed = dir(nn.Sequential(nn.Linear(1, 1)))
    assert "0" not in listed and "forward" in listed and listed == sorted(listed)
    assert "weight" in dir(nn.Linear(1, 1))


# --- modes, conversion ------------------------------------------------------------------------------------------


def test_train_eval_apply_requires_grad_zero_grad():
    net = Net()
    assert net.eval() is net and not net.first.training
    assert net.train().first.training
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Linear", "Net"]
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(rl.ones(4, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0]
    net.zero_grad()
    assert net.scale.grad is None


def test_conversion_keeps_identity_and_gradients():
    net = Net()
    net.register_buffer("count", rl.tensor(3))
    before = list(net.parameters())
    net(rl.ones(4, 2)).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters()))
    assert net.scale.dtype == net.mean.dtype == net.scale.grad.dtype == rl.float64
    assert net.count.dtype == rl.int64 and net.scale.is_leaf and net.scale.requires_grad
    assert net.to(rl.float32).scale.dtype == rl.float32
    assert net.to("cpu", rl.float64).scale.dtype == rl.float64
    assert net.to(rl.zeros(1)).scale.dtype == rl.float32
    assert net.half().scale.dtype == rl.float16
    assert net.bfloat16().scale.dtype == rl.bfloat16
    assert net.float().cpu().scale.dtype == rl.float32
    with pytest.raises(TypeError, match="invalid combination of arguments"):
        net.to(rl.float32, rl.float64)
    with pytest.raises(RuntimeError, match="at start of device string: foo"):
        net.to("foo")


def test_cuda_is_refused():
    if not rl.cuda.is_available():
        raises(AssertionError, "Torch not compiled with CUDA enabled", nn.Linear(1, 1).cuda)


# --- Parameter --------------------------------------------------------------------------------------------------


def test_parameter():
    data = rl.ones(2)
    p = nn.Parameter(data)
    assert isinstance(p, rl.Tensor) and isinstance(p, nn.Parameter) and p.requires_grad and p.is_leaf
    assert not isinstance(data, nn.Parameter) and type(p * 2) is rl.Tensor and type(p.detach()) is rl.Tensor
    p.data[0] = 5
    assert data.tolist() == [5, 1]
    assert repr(p) == "Parameter containing:\ntensor([5., 1.], requires_grad=True)"
    assert repr(nn.Parameter(rl.ones(1), requires_grad=False)) == "Parameter containing:\ntensor([1.])"
    assert nn.Parameter().shape == (0,)
    with rl.no_grad():
        assert nn.Parameter(rl.ones(1)).requires_grad
    with pytest.raises(RuntimeError, match="floating point and complex dtype can require gradients"):
        nn.Parameter(rl.ones(1, dtype=rl.int64))


def test_parameter_copies():
    p = nn.Parameter(rl.ones(2))
    q = copy.deepcopy(p)
    assert type(q) is nn.Parameter and q is not p and q.requires_grad
    q.data.zero_()
    assert p.tolist() == [1, 1]
    pair = copy.deepcopy([p, p])
    assert pair[0] is pair[1]
    r = pickle.loads(pickle.dumps(p))
    assert type(r) is nn.Parameter and r.tolist() == [1, 1] and r.requires_grad


# --- copies and printing ----------------------------------------------------------------------------------------


def test_deepcopy_and_pickle():
    net = Net()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert rl.equal(other(rl.ones(2, 2)), net(rl.ones(2, 2)))
        assert not {id(p) for p in net.parameters()} & {id(p) for p in other.parameters()}
        assert list(other.__dict__) == list(net.__dict__)


def test_attributes_of_an_instance():
    """The names and their order are part of the checkpoint format."""
    assert list(nn.Module().__dict__) == [
        "training", "_parameters", "_buffers", "_non_persistent_buffers_set", "_backward_pre_hooks",
        "_backward_hooks", "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
        "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_modules",
    ]  # fmt: skip


def test_state_of_older_versions_loads():
    m = nn.Linear(1, 1)
    old = {k: v for k, v in m.__dict__.items() if not k.endswith("_kwargs") and "post_hooks" not in k}
    fresh = nn.Linear.__new__(nn.Linear)
    fresh.__setstate__(old)
    assert fresh(rl.ones(1, 1)).shape == (1, 1)


def test_module_is_freed_without_the_collector():
    gc.disable()
    try:
        m = Net()
        m.register_load_state_dict_pre_hook(lambda *a: None)
        reference = weakref.ref(m)
        del m
        assert reference() is None
    finally:
        gc.enable()


def test_repr():
    assert repr(nn.Module()) == "Module()"
    net = nn.Sequential(OrderedDict(a=nn.Linear(1, 2), b=nn.Sequential(nn.ReLU())))
    assert repr(net) == (
        "Sequential(\n  (a): Linear(in_features=1, out_features=2, bias=True)\n  (b): Sequential(\n    (0): ReLU()\n"
        "  )\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"
    twice = nn.ModuleList([nn.Linear(1, 2), nn.Linear(1, 2), nn.ReLU()])
    assert repr(twice) == (
        "ModuleList(\n  (0-1): 2 x Linear(in_features=1, out_features=2, bias=True)\n  (2): ReLU()\n)"
    )
    assert repr(nn.ParameterList([nn.Parameter(rl.ones(2))])) == (
        "ParameterList(  (0): Parameter containing: [torch.float32 of size 2])"
    )
    assert repr(nn.ParameterDict({"a": nn.Parameter(rl.ones(2))})) == (
        "ParameterDict(  (a): Parameter containing: [torch.FloatTensor of size 2])"
    )
    net.b = None
    assert "(b): None" in repr(net)


# ---- attribute lookup ----
def test_lookup_order_and_errors():
    class Net(nn.Module):
        weight = "of the class"

        def __init__(self):
            super().__init__()
            self._parameters["weight"] = None
            self.fc = nn.Linear(2, 2)
            self.register_buffer("running", rl.ones(1))

        @property
        def broken(self):
            return self.nothing

    net = Net()
    assert net.weight == "of the class" and net.fc.in_features == 2 and net.running.item() == 1
    assert nn.Linear(2, 2, bias=False).bias is None
    for name in ("nothing", "broken"):
        with pytest.raises(AttributeError, match=f"'Net' object has no attribute '{name}'"):
            getattr(net, name)
        assert not hasattr(net, name) and getattr(net, name, 3) == 3
    net.fc.__dict__["weight"] = 5  # the ordinary lookup comes first
    assert net.fc.weight == 5
    del net.fc.__dict__["weight"]
    assert net.fc.weight is net.fc._parameters["weight"]
    del net.fc.weight
    assert not hasattr(net.fc, "weight")
    assert not hasattr(nn.Module.__new__(nn.Module), "anything")  # before __init__


def test_own_getattr_is_asked():
    class Forwarding(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 3)

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

    class Below(Forwarding):
        pass

    for cls in (Forwarding, Below):
        assert cls().out_features == 3 and cls().inner.weight is not None

    class Logging(nn.Module):
        def __getattribute__(self, name):
            seen.append(name)
            return super().__getattribute__(name)

    seen = []
    assert Logging().training and "training" in seen

    class Later(nn.Module):
        pass

    class BelowLater(Later):
        pass

    Later.__getattr__ = lambda self, name: "given later"
    assert Later().something == BelowLater().something == "given later"
    del Later.__getattr__
    with pytest.raises(AttributeError, match="no attribute 'something'"):
        BelowLater().something  # noqa: B018


def test_registry_may_be_any_mapping():
    class Counting(dict):
        asked = 0

        def __getitem__(self, key):
            Counting.asked += 1
            return super().__getitem__(key)

    layer = nn.Linear(2, 2)
    layer._parameters = Counting(layer._parameters)
    assert layer.weight is not None and Counting.asked == 1
    assert (
        copy.deepcopy(layer).bias is not None
        and pickle.loads(pickle.dumps(nn.Linear(1, 1))).weight.numel() == 1
    )
