"""Module: state_dict and its loading, and hooks."""

from collections import OrderedDict

import pytest
from nets import Net, raises

import rushlight as rl
from rushlight import nn

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
