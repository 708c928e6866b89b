"""Module: registration, walking, conversion, state_dict, hooks, copies; Parameter; and the containers."""

import copy
import gc
import pickle
import sys
import warnings
import weakref
from collections import OrderedDict

import pytest

import rushlight as rl
from rushlight import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.second = nn.Linear(3, 1)
        self.scale = nn.Parameter(rl.ones(1))
        self.register_buffer("mean", rl.zeros(3))
        self.register_buffer("cache", rl.zeros(1), persistent=False)

    def forward(self, x, factor=1):
        return self.second(rl.relu(self.first(x) - self.mean)) * self.scale * factor


def raises(kind, text, function, *args, **kwargs):
    with pytest.raises(kind) as info:
        function(*args, **kwargs)
    message = info.value.args[0] if kind is KeyError else str(info.value)
    assert message == text


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


# --- state_dict -------------------------------------------------------------------------------------------------


def test_state_dict_contents():
    net = Net()
    state = net.state_dict()
    assert type(state) is OrderedDict and not state["scale"].requires_grad
    assert state["scale"].data_ptr() == net.scale.data_ptr()
    assert state._metadata == OrderedDict(
        {"": {"version": 1}, "first": {"version": 1}, "second": {"version": 1}}
    )
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert list(net.first.state_dict(prefix="a.")) == ["a.weight", "a.bias"]
    collected = {}
    assert net.first.state_dict(destination=collected) is collected and set(collected) == {"weight", "bias"}


def test_load_state_dict():
    source, target = Net(), Net()
    result = target.load_state_dict(source.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert target.first.weight.tolist() == source.first.weight.tolist()
    assert target.first.weight.data_ptr() != source.first.weight.data_ptr()
    result = nn.Linear(1, 1).load_state_dict({"weight": rl.ones(1, 1), "x": rl.ones(1)}, strict=False)
    assert repr(result) == "_IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['x'])"
    missing, unexpected = result
    assert missing == ["bias"] and unexpected == ["x"]


def test_load_state_dict_assign():
    target = nn.Linear(2, 2)
    weight = rl.ones(2, 2)
    target.load_state_dict({"weight": weight, "bias": nn.Parameter(rl.zeros(2))}, assign=True)
    assert isinstance(target.weight, nn.Parameter) and target.weight.data_ptr() == weight.data_ptr()
    assert target.weight.requires_grad and target.bias.requires_grad


HEAD = "Error(s) in loading state_dict for Linear:\n\t"


@pytest.mark.parametrize(
    "state, text",
    [
        ({}, 'Missing key(s) in state_dict: "weight", "bias". '),
        (
            {"x": rl.ones(1), "weight": rl.ones(3, 2)},
            'Missing key(s) in state_dict: "bias". \n\tUnexpected key(s) in state_dict: "x". ',
        ),
        (
            {"weight": rl.ones(2, 2), "bias": rl.ones(3)},
            "size mismatch for weight: copying a param with shape torch.Size([2, 2]) from checkpoint, "
            "the shape in current model is torch.Size([3, 2]).",
        ),
        (
            {"weight": 1, "bias": rl.ones(3)},
            'While copying the parameter named "weight", expected torch.Tensor or Tensor-like object from checkpoint '
            "but received <class 'int'>",
        ),
    ],
)
def test_load_state_dict_errors(state, text):
    raises(RuntimeError, HEAD + text, nn.Linear(2, 3).load_state_dict, state)


def test_load_errors_name_nested_keys():
    with pytest.raises(RuntimeError) as info:
        nn.Sequential(nn.Linear(1, 1)).load_state_dict({"module.0.weight": rl.ones(1, 1)})
    assert str(info.value) == (
        'Error(s) in loading state_dict for Sequential:\n\tMissing key(s) in state_dict: "0.weight", "0.bias". '
        '\n\tUnexpected key(s) in state_dict: "module.0.weight". '
    )


def test_extra_state():
    class WithExtra(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def get_extra_state(self):
            return self.value

        def set_extra_state(self, state):
            self.value = state

    source, target = nn.Sequential(WithExtra(3)), nn.Sequential(WithExtra(0))
    assert source.state_dict() == {"0._extra_state": 3}
    target.load_state_dict(source.state_dict())
    assert target[0].value == 3
    assert target.load_state_dict({}, strict=False).missing_keys == ["0._extra_state"]
    assert nn.Linear(1, 1).load_state_dict({"_extra_state": 1}, strict=False).unexpected_keys == [
        "_extra_state"
    ]


def test_state_dict_hooks():
    m, log = nn.Linear(1, 1), []
    m.register_state_dict_pre_hook(lambda module, prefix, keep_vars: log.append(("pre", prefix, keep_vars)))
    post = m.register_state_dict_post_hook(
        lambda module, state, prefix, meta: state.pop(prefix + "bias") and None
    )
    state = nn.Sequential(m).state_dict()
    assert log == [("pre", "0.", False)] and list(state) == ["0.weight"]
    post.remove()
    assert len(m.state_dict()) == 2
    m._register_state_dict_hook(lambda module, state, prefix, meta: {"replaced": 1})
    assert m.state_dict() == {"replaced": 1}


def test_load_state_dict_hooks():
    m = nn.Linear(1, 1, bias=False)

    def rename(module, state, prefix, *rest):
        state[prefix + "weight"] = state.pop(prefix + "w")

    m.register_load_state_dict_pre_hook(rename)
    given = {"0.w": rl.ones(1, 1)}
    nn.Sequential(m).load_state_dict(given)
    assert m.weight.item() == 1 and list(given) == ["0.w"]
    m.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    m._load_state_dict_pre_hooks.clear()
    assert m.load_state_dict({}).missing_keys == []


def test_old_scalars_saved_as_vectors_load():
    m = nn.Module()
    m.register_buffer("x", rl.tensor(0.0))
    m.load_state_dict({"x": rl.ones(1)})
    assert m.x.item() == 1


# --- hooks ------------------------------------------------------------------------------------------------------


def test_forward_hooks():
    net, log = Net(), []
    handles = [
        net.register_forward_pre_hook(lambda m, args: log.append("pre")),
        net.register_forward_pre_hook(lambda m, args: (args[0] * 0,)),
        net.register_forward_hook(lambda m, args, out: log.append("post")),
        net.register_forward_hook(lambda m, args, out: out + 1),
        net.register_forward_hook(lambda m, args, out: log.append("first"), prepend=True),
    ]
    zero_args = net(rl.ones(1, 2))
    assert log == ["pre", "first", "post"]
    for handle in handles:
        handle.remove()
    assert rl.equal(net(rl.zeros(1, 2)) + 1, zero_args)
    assert not net._forward_hooks and not net._forward_pre_hooks


def test_forward_hooks_with_kwargs():
    net = Net()
    seen = []
    net.register_forward_pre_hook(lambda m, a, k: (a, {"factor": k["factor"] * 2}), with_kwargs=True)
    net.register_forward_hook(lambda m, a, k, out: seen.append(k), with_kwargs=True)
    plain = Net()
    plain.load_state_dict(net.state_dict())
    assert rl.equal(net(rl.ones(1, 2), factor=1), plain(rl.ones(1, 2), factor=2))
    assert seen == [{"factor": 2}]
    net.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
    with pytest.raises(
        RuntimeError, match="must return None or a tuple of .new_args, new_kwargs., but got 3"
    ):
        net(rl.ones(1, 2), factor=1)


def test_always_called_hook_runs_after_an_error():
    m, log = nn.Linear(2, 1), []
    m.register_forward_hook(lambda m, a, out: log.append(out), always_call=True)
    m.register_forward_hook(lambda m, a, out: log.append("skipped"))
    with pytest.raises(RuntimeError):
        m(rl.ones(1, 5))
    assert log == [None]


def test_full_backward_hooks():
    m, log = nn.Linear(1, 1, bias=False), []
    m.weight.data.fill_(2.0)
    m.register_full_backward_hook(lambda m, gi, go: log.append(("post", gi[0].item(), go[0].item())))
    m.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    m.register_full_backward_hook(lambda m, gi, go: log.append(("next", gi[0].item())))
    m.register_full_backward_pre_hook(lambda m, go: (go[0] * 3,))
    x = rl.ones(1, 1, requires_grad=True)
    out = m(x)
    assert type(out.grad_fn).__name__ == "BackwardHookFunctionBackward"
    out.sum().backward()
    assert log == [("post", 6.0, 3.0), ("next", 60.0)]
    assert x.grad.item() == 60 and m.weight.grad.item() == 3


def test_full_backward_hook_without_input_gradients():
    m, log = nn.Linear(1, 1), []
    m.register_full_backward_hook(lambda m, gi, go: log.append((gi, len(go))))
    with pytest.warns(UserWarning, match="no inputs require gradients"):
        m(rl.ones(1, 1)).sum().backward()
    assert log == [((None,), 1)] and m.weight.grad is not None


def test_backward_hook_with_several_inputs_and_outputs():
    class Two(nn.Module):
        def forward(self, a, flag, b):
            return a * b, a + b

    m, log = Two(), []
    m.register_full_backward_hook(
        lambda m, gi, go: log.append(([g is None for g in gi], [g is None for g in go]))
    )
    a, b = rl.ones(1, requires_grad=True), rl.ones(1)
    product, _ = m(a, True, b)
    product.backward()
    assert log == [([False, True, True], [False, True])] and a.grad.item() == 1


def test_backward_hooks_of_two_kinds_do_not_mix():
    m = nn.Linear(1, 1)
    m.register_full_backward_hook(lambda *a: None)
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full backward hooks"):
        m.register_backward_hook(lambda *a: None)


def test_backward_hook_of_the_older_kind():
    m, log = nn.Tanh(), []
    m.register_backward_hook(lambda m, gi, go: log.append(go[0].item()))
    x = rl.zeros(1, requires_grad=True)
    (m(x) * 4).sum().backward()
    assert log == [4.0]


def test_global_hooks():
    log = []
    modules = nn.modules.module
    handles = [
        modules.register_module_forward_pre_hook(lambda m, a: log.append("pre " + type(m).__name__)),
        modules.register_module_forward_hook(lambda m, a, out: log.append("post " + type(m).__name__)),
        modules.register_module_full_backward_hook(lambda m, gi, go: log.append("back " + type(m).__name__)),
        modules.register_module_module_registration_hook(lambda m, name, child: log.append("add " + name)),
    ]
    try:
        net = nn.Sequential(nn.Tanh())
        net(rl.ones(1, requires_grad=True)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert log == [
        "pre Sequential", "pre Tanh", "post Tanh", "post Sequential", "back Tanh", "back Sequential",
    ] or log[0] == "add 0"  # fmt: skip
    count = len(log)
    nn.Sequential(nn.Tanh())(rl.ones(1))
    assert len(log) == count


def test_replaced_forward_of_an_instance_is_called():
    m = nn.Linear(1, 1)
    m.forward = lambda x: "replaced"
    assert m(rl.ones(1)) == "replaced"


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
    assert copy.deepcopy(layer).bias is not None and pickle.loads(pickle.dumps(nn.Linear(1, 1))).weight.numel() == 1
