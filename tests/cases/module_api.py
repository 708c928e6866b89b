"""The API of Module: hooks, state_dict, devices, attributes; each case is a function of the torch-like module."""

import copy
import pickle
import warnings
from collections import OrderedDict

from . import evaluated

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def layer(torch, inputs=2, outputs=2):
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs)


def answers(torch):
    for name, function in CASES.items():
        yield name, evaluated(lambda function=function: function(torch))


@case
def compiled_call(torch):
    m = layer(torch)
    m.compile(backend="eager")
    y = m(torch.ones(2))
    return (
        y,
        pickle.loads(pickle.dumps(m))(torch.ones(2)),
        m._compiled_call_impl is not None,
        copy.deepcopy(m)(torch.ones(2)),
    )


@case
def built_on_meta(torch):
    with torch.device("meta"):
        m = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    r = m[0].weight, m[1].running_mean.device, str(m.state_dict()["0.weight"])
    m.to_empty(device="cpu")
    return r, m[0].weight.shape, m[0].weight.device, m[1].num_batches_tracked.device


@case
def from_meta_to_cpu(torch):
    m = torch.nn.Linear(2, 3, device="meta")
    return m.to("cpu")


@case
def assigned_on_meta(torch):
    m = torch.nn.Linear(2, 3, device="meta")
    return m.load_state_dict(layer(torch, 2, 3).state_dict(), assign=True), m.weight


@case
def copied_into_meta(torch):
    m = torch.nn.Linear(2, 3, device="meta")
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        m.load_state_dict(layer(torch, 2, 3).state_dict())
        return [str(x.message)[:300] for x in w], m.weight.device


@case
def load_with_errors(torch):
    return layer(torch).load_state_dict({"weight": torch.ones(3, 3), "foo": torch.ones(1)})


@case
def load_not_strict(torch):
    return layer(torch).load_state_dict({"weight": torch.ones(2, 2), "foo": torch.ones(1)}, strict=False)


@case
def load_no_dictionary(torch):
    return layer(torch).load_state_dict([1])


@case
def load_no_tensor(torch):
    return torch.nn.Sequential(layer(torch), layer(torch)).load_state_dict(
        {"0.weight": 3, "0.bias": torch.ones(2)}
    )


@case
def assign_other_dtype(torch):
    m = layer(torch)
    m.load_state_dict({"weight": torch.ones(2, 2, dtype=torch.float64), "bias": torch.ones(2)}, assign=True)
    return m.weight.dtype, type(m.weight).__name__, m.weight.requires_grad


@case
def assign_keeps_requires_grad(torch):
    m = layer(torch)
    m.weight.requires_grad_(False)
    m.load_state_dict({"weight": torch.nn.Parameter(torch.ones(2, 2)), "bias": torch.ones(2)}, assign=True)
    return m.weight.requires_grad, m.bias.requires_grad


@case
def load_casts(torch):
    m = layer(torch).double()
    m.load_state_dict(layer(torch).state_dict())
    return m.weight.dtype


@case
def load_into_nothing(torch):
    m = torch.nn.Sequential()
    return m.load_state_dict({"a": torch.ones(1)})


@case
def state_dict_hooks(torch):
    out = []
    m = torch.nn.Sequential(layer(torch), layer(torch))
    h = [
        m.register_state_dict_pre_hook(lambda *a: out.append(("sdpre", len(a), a[1], a[2]))),
        m[0].register_state_dict_post_hook(lambda *a: out.append(("sdpost", len(a), a[2], sorted(a[1])))),
        m.register_load_state_dict_pre_hook(lambda *a: out.append(("lpre", len(a), a[2:]))),
        m.register_load_state_dict_post_hook(lambda mod, k: (out.append(("lpost", k)), None)[1]),
        m[1]._register_state_dict_hook(
            lambda mod, d, p, meta: out.append(("_sd", p, sorted(d), sorted(meta)))
        ),
        m[1]._register_load_state_dict_pre_hook(lambda *a: out.append(("_l", a[1:]))),
    ]
    m.state_dict(prefix="x.", keep_vars=True)
    m.load_state_dict(m.state_dict())
    [x.remove() for x in h]
    m.state_dict()
    return out


@case
def load_hook_with_result(torch):
    m = layer(torch)
    m.register_load_state_dict_post_hook(lambda mod, k: 3)
    return m.load_state_dict(m.state_dict())


@case
def private_hook_replaces(torch):
    m = layer(torch)
    m._register_state_dict_hook(lambda mod, d, p, meta: {"z": 1})
    return m.state_dict()


@case
def public_hook_with_result(torch):
    m = layer(torch)
    m.register_state_dict_post_hook(lambda mod, d, p, meta: {"z": 1})
    return m.state_dict()


@case
def same_hook_twice(torch):
    m = layer(torch)
    h = lambda mod, d, p, meta: None
    m._register_state_dict_hook(h)
    m.register_state_dict_post_hook(h)
    return 1


@case
def same_hook_twice_again(torch):
    m = layer(torch)
    h = lambda mod, d, p, meta: None
    m.register_state_dict_post_hook(h)
    m._register_state_dict_hook(h)
    return 1


@case
def global_hooks(torch):
    out = []
    g = torch.nn.modules.module
    hs = [
        g.register_module_forward_pre_hook(lambda m, i: out.append("gpre")),
        g.register_module_forward_hook(lambda m, i, o: out.append("gfwd")),
        g.register_module_full_backward_pre_hook(lambda m, g: out.append("gbpre")),
        g.register_module_full_backward_hook(lambda m, a, b: out.append(("gb", a[0].shape, b[0].shape))),
    ]
    m = layer(torch)
    m.register_forward_hook(lambda m, i, o: out.append("fwd"))
    m.register_full_backward_hook(lambda m, a, b: out.append("b"))
    m.register_full_backward_pre_hook(lambda m, g: out.append("bpre"))
    m(torch.ones(1, 2, requires_grad=True)).sum().backward()
    [h.remove() for h in hs]
    return out


@case
def pre_hook_with_bad_result(torch):
    m = layer(torch)
    m.register_forward_pre_hook(lambda m, a, k: (a, 3, 4), with_kwargs=True)
    return m(torch.ones(1, 2))


@case
def backward_hook_replaces(torch):
    m = layer(torch)
    m.register_full_backward_hook(lambda m, a, b: (a[0] * 2,))
    x = torch.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    return x.grad


@case
def backward_hook_with_bad_result(torch):
    m = layer(torch)
    m.register_full_backward_hook(lambda m, a, b: (a[0] * 2, a[0]))
    x = torch.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    return x.grad


@case
def backward_hook_in_place(torch):
    m = torch.nn.ReLU(inplace=True)
    m.register_full_backward_hook(lambda m, a, b: None)
    x = torch.ones(1, 2, requires_grad=True)
    m(x * 2).sum().backward()
    return x.grad


@case
def extra_state(torch):
    class E(torch.nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

        def set_extra_state(self, s):
            self.s = s

    m = E(2, 2)
    sd = m.state_dict()
    m.load_state_dict(sd)
    return list(sd), m.s, m.load_state_dict({k: v for k, v in sd.items() if "extra" not in k}, strict=False)


@case
def unexpected_extra_state(torch):
    return layer(torch).load_state_dict({**layer(torch).state_dict(), "_extra_state": 1})


@case
def no_get_extra_state(torch):
    return layer(torch).get_extra_state()


@case
def no_set_extra_state(torch):
    return layer(torch).set_extra_state(1)


@case
def state_dict_metadata(torch):
    m = layer(torch)
    return (
        m.state_dict()._metadata,
        m.state_dict(destination={}),
    )


@case
def state_dict_positional(torch):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        r = list(layer(torch).state_dict(OrderedDict(), "p.", False))
        return r, [str(x.message) for x in w], [x.category.__name__ for x in w]


@case
def sharing_memory(torch):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        m = layer(torch)
        m.zero_grad(True)
        m.share_memory()
        return [str(x.message) for x in w]


@case
def channels_last_convolution(torch):
    m = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    return m.weight.stride(), m(torch.ones(1, 2, 4, 4)).stride()


@case
def channels_last_linear(torch):
    return torch.nn.Linear(2, 2).to(memory_format=torch.channels_last).weight.stride()


@case
def to_integer(torch):
    return layer(torch).to(torch.int32)


@case
def to_too_many_arguments(torch):
    return layer(torch).to(1, 2, 3, 4)


@case
def to_forms(torch):
    return (
        layer(torch).to(torch.ones(1, dtype=torch.float64)).weight.dtype,
        layer(torch).to("cpu", torch.float16).weight.dtype,
        layer(torch).bfloat16().weight.dtype,
        layer(torch).type(torch.float64).weight.dtype,
    )


@case
def to_cuda(torch):
    return layer(torch).cuda()


@case
def to_xpu(torch):
    return layer(torch).xpu()


@case
def functional_call(torch):
    m = layer(torch)
    f = torch.func.functional_call
    return (
        f(m, {"weight": torch.zeros(2, 2)}, (torch.ones(1, 2),)),
        f(m, ({"weight": torch.zeros(2, 2)}, {"bias": torch.zeros(2)}), torch.ones(1, 2)),
        m.weight,
    )


@case
def functional_call_unknown_name(torch):
    return torch.func.functional_call(
        layer(torch), {"foo": torch.zeros(2, 2)}, (torch.ones(1, 2),), strict=True
    )


@case
def functional_call_missing_name(torch):
    return torch.func.functional_call(
        layer(torch), {"weight": torch.zeros(2, 2)}, (torch.ones(1, 2),), strict=True
    )


@case
def stateless_functional_call(torch):
    return torch.nn.utils.stateless.functional_call(
        layer(torch), {"weight": torch.zeros(2, 2)}, torch.ones(1, 2)
    )


@case
def functional_call_tied(torch):
    m = torch.nn.Sequential(layer(torch), layer(torch))
    m[1].weight = m[0].weight
    return torch.func.functional_call(
        m, {"0.weight": torch.zeros(2, 2)}, torch.ones(1, 2)
    ), torch.func.functional_call(m, {"0.weight": torch.zeros(2, 2)}, torch.ones(1, 2), tie_weights=False)


@case
def functional_call_buffers(torch):
    m = torch.nn.BatchNorm1d(2)
    b = {"running_mean": torch.zeros(2), "running_var": torch.ones(2), "num_batches_tracked": torch.tensor(0)}
    torch.func.functional_call(m, b, torch.randn(4, 2))
    return b["num_batches_tracked"], m.num_batches_tracked


@case
def stacked_state(torch):
    p, b = torch.func.stack_module_state([layer(torch), layer(torch)])
    return {k: v.shape for k, v in p.items()}, b


@case
def unknown_attribute(torch):
    return layer(torch).foo


@case
def number_for_parameter(torch):
    m = layer(torch)
    m.weight = 3


@case
def number_for_child(torch):
    m = torch.nn.Sequential(layer(torch))
    setattr(m, "0", 3)


@case
def buffer_named_as_parameter(torch):
    m = layer(torch)
    m.register_buffer("weight", torch.ones(1))


@case
def parameter_name_with_dot(torch):
    m = layer(torch)
    m.register_parameter("a.b", None)


@case
def parameter_name_empty(torch):
    m = layer(torch)
    m.register_parameter("", None)


@case
def parameter_no_parameter(torch):
    m = layer(torch)
    m.register_parameter("w", torch.ones(1))


@case
def parameter_no_leaf(torch):
    m = layer(torch)
    m.register_parameter("w", torch.nn.Parameter(torch.ones(1)) * 2)


@case
def child_no_module(torch):
    m = layer(torch)
    m.add_module("x", 3)


@case
def child_before_init(torch):
    class A(torch.nn.Module):
        def __init__(self):
            self.a = torch.nn.Linear(2, 2)

    A()


@case
def no_forward(torch):
    class A(torch.nn.Module):
        pass

    return A()(3)


@case
def init_with_argument(torch):
    return torch.nn.Module(3)


@case
def init_with_keyword(torch):
    return torch.nn.Module(a=3)


@case
def get_submodule(torch):
    m = torch.nn.Sequential(layer(torch))
    return m.get_submodule("0"), m.get_parameter("0.weight").shape


@case
def get_submodule_of_parameter(torch):
    return torch.nn.Sequential(layer(torch)).get_submodule("0.weight")


@case
def get_submodule_unknown(torch):
    return torch.nn.Sequential(layer(torch)).get_submodule("1.x")


@case
def get_parameter_unknown(torch):
    return torch.nn.Sequential(layer(torch)).get_parameter("0.foo")


@case
def get_buffer_of_parameter(torch):
    return torch.nn.Sequential(layer(torch)).get_buffer("0.weight")


@case
def set_submodule(torch):
    m = torch.nn.Sequential(layer(torch))
    m.set_submodule("0", torch.nn.ReLU())
    return m


@case
def set_submodule_below(torch):
    m = torch.nn.Sequential(layer(torch))
    m.set_submodule("0.a", torch.nn.ReLU())
    return m


@case
def set_submodule_strict(torch):
    m = torch.nn.Sequential(layer(torch))
    m.set_submodule("0.a", torch.nn.ReLU(), strict=True)
    return m


@case
def set_submodule_no_name(torch):
    m = torch.nn.Sequential(layer(torch))
    m.set_submodule("", torch.nn.ReLU())
    return m


@case
def train_no_bool(torch):
    return layer(torch).train("x")


@case
def requires_grad_(torch):
    m = layer(torch).requires_grad_(False)
    return [p.requires_grad for p in m.parameters()]


@case
def consume_prefix(torch):
    d = {"module.a": 1, "module.b.c": 2, "x": 3}
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(d, "module.")
    return d


@case
def named_members(torch):
    m = torch.nn.Sequential(layer(torch), layer(torch))
    m[1].weight = m[0].weight
    return (
        [n for n, _ in m.named_parameters()],
        [n for n, _ in m.named_parameters(remove_duplicate=False)],
        [n for n, _ in m.named_modules(prefix="q")],
        list(m.named_children()),
        [n for n, _ in m.named_parameters(prefix="a", recurse=False)],
    )


@case
def fused(torch):
    c = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).eval()
    f = torch.nn.utils.fuse_conv_bn_eval(c[0], c[1])
    return f


@case
def fused_in_training(torch):
    return torch.nn.utils.fuse_conv_bn_eval(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))


@case
def fused_sizes(torch):
    return torch.nn.utils.fuse_linear_bn_eval(torch.nn.Linear(2, 3).eval(), torch.nn.BatchNorm1d(4).eval())


@case
def skip_init(torch):
    return torch.nn.utils.skip_init(torch.nn.Linear, 2, 3).weight.shape


@case
def skip_init_without_device(torch):
    return torch.nn.utils.skip_init(torch.nn.ReLU)


@case
def skip_init_no_module(torch):
    return torch.nn.utils.skip_init(int, 3)


@case
def buffers(torch):
    class A(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.b = torch.nn.Buffer(torch.ones(2), persistent=False)
            self.c = torch.nn.Buffer(torch.ones(1))

    m = A()
    return (
        m.state_dict(),
        list(dict(m.named_buffers())),
        m.b,
        type(m.b).__name__,
        isinstance(m.b, torch.nn.Buffer),
        repr(torch.nn.Parameter(torch.ones(1))),
    )


@case
def containers(torch):
    return (
        torch.nn.ModuleDict({"a": layer(torch)}),
        torch.nn.ParameterDict({"a": torch.ones(2), "b": 3}),
        torch.nn.ParameterList([torch.ones(2), "x"]),
        torch.nn.ModuleList([layer(torch), layer(torch), torch.nn.ReLU()]),
    )


@case
def parameter_list(torch):
    m = torch.nn.ParameterList([torch.ones(2), "x"])
    return m.state_dict(), m[1], len(m)


@case
def to_complex(torch):
    m = torch.nn.Linear(2, 2).to(torch.complex64)
    return m.weight.dtype


@case
def half_precision(torch):
    return (torch.nn.Linear(2, 2).half()(torch.ones(1, 2).half()).dtype,)


@case
def lazy_linear(torch):
    return (
        torch.nn.LazyLinear(3)(torch.ones(2, 5)).shape,
        torch.nn.LazyLinear(3),
        torch.nn.LazyLinear(3).weight,
    )


@case
def lazy_shape(torch):
    return torch.nn.LazyLinear(3).weight.shape


@case
def lazy_arithmetic(torch):
    return torch.nn.LazyLinear(3).weight + 1


@case
def lazy_state_dict(torch):
    return list(torch.nn.LazyBatchNorm1d().state_dict().items())


@case
def lazy_in_optimizer(torch):
    m = torch.nn.LazyConv2d(3, 2)
    torch.optim.SGD(m.parameters(), lr=1)
    return m


@case
def lazy_copies(torch):
    return copy.deepcopy(torch.nn.LazyLinear(3)), pickle.loads(pickle.dumps(torch.nn.LazyLinear(3)))


@case
def zero_grad(torch):
    m = layer(torch)
    m(torch.ones(2)).sum().backward()
    m.zero_grad(False)
    a = m.weight.grad.clone()
    m.zero_grad()
    return a, m.weight.grad
