"""Hypothesis draws arguments for every operator and method: whatever they are, the answer is a result or a Python
exception, and after an exception every argument is what it was. RUSHLIGHT_FUZZ_SECONDS=600 asks for a long run with
fresh numbers; RUSHLIGHT_FUZZ_LOG=file keeps (in file.PID) the line of the call under way, to be repeated with `repeat(line)`.
"""

import faulthandler
import functools
import math
import os
import random
import sys
import time
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rushlight as rl
from rushlight import _C
from rushlight.testing.samples import FUNCTION, INPLACE, METHOD, OUT, Draw, composites, op_table, samples

SECONDS = float(os.environ.get("RUSHLIGHT_FUZZ_SECONDS", "0"))
LOG = os.environ.get("RUSHLIGHT_FUZZ_LOG")
HUGE = [2**31 + 1, 2**62, 2**63 - 1, -(2**62), -(2**63), 2**64, -(2**70)]
LARGEST = 1 << 24  # elements that a call may be asked to make: 64 MB of float32
DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()
STORED = ["uint16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "complex32"]  # few kernels take these
DTYPES += STORED
LAYOUTS = "plain plain owned transposed sliced expanded offset overlapping reversed coo csr".split()
CONTENTS = "small small extreme special zero index".split()
SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 2), (3, 3), (2, 3, 4), (0, 3), (2, 0, 4), (1, 1), (2, 1, 3, 3), (1, 2, 4, 4, 3),
          (1,) * 9, (2, 1) * 5]  # fmt: skip
TEXTS = [
    "none",
    "mean",
    "sum",
    "floor",
    "trunc",
    "tanh",
    "constant",
    "reflect",
    "linear",
    "ij,jk->ik",
    "",
    "\0",
    "é",
]

# They would read a process's memory at a given address, wait for one, or end it; their arguments are not data.
SKIPPED_METHODS = {
    "share_memory_",
    "tofile",
    "register_hook",
    "register_post_accumulate_grad_hook",
    "map_",
    "map2_",
    "apply_",
}
# Elements of a tensor with overlapping memory or of an expanded one may be written by these without a check in PyTorch too.
UNCHECKED_WRITES = {"resize_", "set_", "resize_as_", "as_strided_", "requires_grad_", "retain_grad", "detach_", "squeeze_",
                    "unsqueeze_", "transpose_", "t_", "swapaxes_", "swapdims_", "backward"}  # fmt: skip


def T(dtype, shape, layout="plain", content="small", grad=0):
    """A tensor from a recipe; recipes are what a failing call prints. grad: 1 a leaf, 2 a result that requires grad."""
    array = _numbers(dtype, _stored_shape(shape, layout), content)
    t = rl.from_numpy(array)
    if str(t.dtype) != f"torch.{dtype}":
        t = t.to(getattr(rl, dtype))
    if dtype == "bool" and content == "extreme":  # bytes other than 0 and 1 behind bools
        t = (t.to(rl.uint8) * 254).view(rl.bool)
    if layout == "owned":
        t = t.clone()
    elif layout == "transposed" and t.ndim > 1:
        t = t.transpose(0, -1)
    elif layout == "sliced" and t.ndim:
        t = t[..., 1::2]
    elif layout == "offset" and t.ndim:
        t = t[1:]
    elif layout == "expanded" and t.ndim:
        t = t.expand(shape)
    elif layout == "overlapping" and t.ndim:
        t = t.as_strided(shape, (1,) * len(shape))
    elif layout == "reversed" and t.ndim:
        t = t.permute(tuple(range(t.ndim))[::-1])
    if layout in ("coo", "csr") and t.ndim == 2 and dtype not in STORED:
        t = t.to_sparse(layout=getattr(rl, "sparse_" + layout))
    if grad and (t.is_floating_point() or t.is_complex()):
        t = t.detach().requires_grad_()
    return t * 1 if grad == 2 and t.requires_grad else t


def _stored_shape(shape, layout):
    if not shape:
        return shape
    if layout == "transposed" and len(shape) > 1:
        return (shape[-1], *shape[1:-1], shape[0])
    if layout == "sliced":
        return (*shape[:-1], 2 * shape[-1] + 1)
    if layout == "offset":
        return (shape[0] + 1, *shape[1:])
    if layout == "expanded":
        return tuple(1 if i % 2 == 0 else n for i, n in enumerate(shape))
    if layout == "overlapping":
        return (sum(shape) + 1,)
    return shape[::-1] if layout == "reversed" else shape


def _numbers(dtype, shape, content):
    n = math.prod(shape)
    name = dtype if hasattr(np, dtype) else "float32"
    kind = np.dtype(name).kind
    cycle = np.arange(n) % 5
    if content == "zero":
        values = np.zeros(n)
    elif content == "extreme" and kind in "iu":
        ends = np.iinfo(name)
        values = np.where(cycle % 2, ends.max, ends.min)
    elif content == "special" and kind in "fc":
        values = np.array([np.nan, np.inf, -np.inf, -0.0, 1e30])[cycle]
    elif content == "index":
        values = cycle % 3
    else:
        values = cycle - 2 + (0.25 if kind in "fc" else 0)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(name).reshape(shape)


def tensors(draw, like=None):
    dtype = draw(st.sampled_from(DTYPES if like is None or draw(st.booleans()) else like[:1]))
    shape = draw(st.sampled_from(SHAPES)) if like is None or draw(st.integers(0, 3)) == 0 else like[1]
    layout, content = draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from(CONTENTS))
    return f"T({dtype!r}, {shape!r}, {layout!r}, {content!r}, {draw(st.sampled_from([0, 0, 0, 1, 2]))})"


def ints(draw):
    return draw(st.integers(-4, 6)) if draw(st.integers(0, 5)) else draw(st.sampled_from(HUGE))


def numbers(draw):
    return draw(st.sampled_from(["0", "1", "-1", "2", "0.5", "-2.5", "True", "inf", "-inf", "nan", "1e300", "1e-300", "1+2j",
                                 "0j", *map(str, HUGE)]))  # fmt: skip


def int_lists(draw):
    count = draw(st.sampled_from([0, 1, 1, 2, 2, 3, 4, 9]))
    return repr(tuple(ints(draw) for _ in range(count)))


def anything(draw):
    kind = draw(st.integers(0, 9))
    if kind < 3:
        return tensors(draw)
    return [lambda d: "None", lambda d: repr(ints(d)), numbers, int_lists, lambda d: f"[{tensors(d)}, {tensors(d)}]",
            lambda d: f"rl.{d(st.sampled_from(DTYPES))}",
            lambda d: d(st.sampled_from(["object()", "[[1, 2], [3]]", "np.ones((2, 3))", "'meta'", "slice(1, None, 2)", "...",
                                         "[None]", "(None, 1)", "{}", "'text'", "np.float64(2)", "np.int8(1)"]))][kind - 3](draw)  # fmt: skip


def argument(draw, param, like):
    """Source text of an argument: three times in four of the right type."""
    if draw(st.integers(0, 9)) == 0:
        return anything(draw)
    if param.optional and draw(st.integers(0, 3)) == 0:
        return "None"
    kind = param.type
    if kind in ("Tensor", "Operand"):
        return tensors(draw, like) if kind == "Tensor" or draw(st.booleans()) else numbers(draw)
    if kind.startswith("Tensor"):
        return "[" + ", ".join(tensors(draw, like) for _ in range(draw(st.integers(0, 3)))) + "]"
    if kind in ("Scalar", "float"):
        return numbers(draw)
    if kind == "int":
        return repr(ints(draw))
    if kind == "bool":
        return draw(st.sampled_from(["True", "False"]))
    if kind.startswith("int"):
        return int_lists(draw) if draw(st.integers(0, 3)) else repr(ints(draw))
    if kind.startswith("float"):
        return f"({numbers(draw)}, {numbers(draw)})"
    if kind == "dtype":
        return "rl." + draw(st.sampled_from(DTYPES))
    if kind == "device":
        return draw(st.sampled_from(["'cpu'", "'meta'", "'cuda'", "'nowhere'", "rl.device('cpu')"]))
    if kind == "str":
        return repr(draw(st.sampled_from(TEXTS)))
    if kind == "Generator":
        return "rl.Generator()"
    return anything(draw)


def from_sample(draw, op):
    """The source of an operator's own sample, with one argument changed."""
    sample = draw(st.sampled_from(samples(op)))
    common = draw(st.sampled_from(["float32", "float32", "float64", "bfloat16", "int64", "complex64"]))

    def text(value):
        if isinstance(value, Draw):
            whole = {"b": "bool", "mask": "bool", "z": "complex64"}.get(value.kind, "int64")
            layout, content = draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from(CONTENTS))
            if value.kind in ("i", "perm") and draw(st.integers(0, 3)):
                content = "index"
            dtype = common if value.floating else whole
            return f"T({dtype!r}, {value.shape!r}, {layout!r}, {content!r}, {draw(st.integers(0, 2))})"
        if isinstance(value, (list, tuple)) and any(isinstance(v, Draw) for v in value):
            return "[" + ", ".join(map(text, value)) + "]"
        if isinstance(value, rl.Tensor):
            return f"rl.tensor({value.tolist()}, dtype=rl.{str(value.dtype).rpartition('.')[2]})"
        if isinstance(value, rl.dtype):
            return "rl." + str(value).rpartition(".")[2]
        return repr(value)

    args, kwargs = [text(a) for a in sample.args], {k: text(v) for k, v in sample.kwargs.items()}
    if draw(st.booleans()):
        at = draw(st.integers(0, len(args) + len(kwargs) - 1)) if args or kwargs else -1
        if 0 <= at < len(args):
            args[at] = argument(draw, op.params[at], None) if at < len(op.params) else anything(draw)
        elif at >= 0:
            kwargs[list(kwargs)[at - len(args)]] = anything(draw)
    return args, kwargs


def call_text(draw, op):
    """Source of one call, e.g. "_C.add(T(...), 2, alpha=3)"."""
    if op.texts and draw(st.booleans()):
        args, kwargs = from_sample(draw, op)
    else:
        like = (
            (draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES)))
            if draw(st.integers(0, 2))
            else None
        )
        args, kwargs = [], {}
        for param in op.params:
            if param.has_default and draw(st.booleans()):
                continue
            value = argument(draw, param, like)
            if param.keyword_only or len(args) + len(kwargs) < op.params.index(param):
                kwargs[param.name] = value
            else:
                args.append(value)
        if not op.params:
            args = [anything(draw) for _ in range(draw(st.integers(0, 3)))]
    forms = [form for form in (FUNCTION, METHOD, INPLACE, OUT) if op.forms & form] or [FUNCTION]
    form = draw(st.sampled_from(forms))
    if form == OUT:
        kwargs["out"] = (
            tensors(draw) if len(op.outputs) < 2 else "(" + ", ".join(tensors(draw) for _ in op.outputs) + ")"
        )
    listed = ", ".join(
        [
            *args,
            *(
                f"{k}={v}" if k.isidentifier() and k != "from" else f"**{{{k!r}: {v}}}"
                for k, v in kwargs.items()
            ),
        ]
    )
    if op.function:
        return f"composite[{op.name!r}]({listed})"
    if form in (METHOD, INPLACE) and args:
        return f"method({op.name + '_' * (form == INPLACE)!r}, {listed})"
    return f"function({op.name!r}, {listed})"


OPS = op_table()
COMPOSITES = composites()
NAMESPACE = {"T": T, "rl": rl, "np": np, "inf": math.inf, "nan": math.nan,
             "composite": {op.name: op.function for op in COMPOSITES}}  # fmt: skip


def too_big(args, kwargs):
    """Sizes that would honestly allocate much: neither small nor absurd."""
    total = 1
    for value in (*args, *kwargs.values()):
        for number in value if isinstance(value, (tuple, list)) else [value]:
            if isinstance(number, int) and not isinstance(number, bool) and abs(number) > 1:
                total *= abs(number)
            elif isinstance(number, float) and 1e6 < abs(number) < 1e15:
                return True
    return LARGEST < total < 1 << 44


def _all_tensors(value):
    if isinstance(value, rl.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _all_tensors(v)


WRITING = {
    "__setitem__",
    "backward",
    "module_load",
    *(f"__i{n}__" for n in "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()),
}


def memory(t):
    """The bytes that hold a tensor's values; a sparse one is made of several tensors."""
    if t.layout != rl.strided:
        return b"".join(bytes(part.untyped_storage()) for part in t.__reduce_ex__(2)[1][1][:3] if isinstance(part, rl.Tensor))
    return bytes(t.untyped_storage()) if t.device.type == "cpu" else None


def state(t):
    return (tuple(t.shape), t.stride(), t.storage_offset(), t.dtype, t.requires_grad, t.is_leaf,
            memory(t))  # fmt: skip


def attempt(function, name, args, kwargs):
    """One call, and backward through what it returns. Exceptions are answers; changed arguments are not."""
    if too_big(args, kwargs):
        return
    given = list(_all_tensors([*args, *kwargs.values()]))
    before = [state(t) for t in given]
    writes = (name.endswith("_") and not name.endswith("__")) or "out" in kwargs or name in WRITING
    try:
        result = function(*args, **kwargs)
    except (SystemError, RecursionError):
        raise
    except Exception as error:
        if name not in UNCHECKED_WRITES:
            for t, was in zip(given, before):
                assert state(t) == was, f"an argument changed though the call raised {error!r}"
        return
    if not writes:
        for t, was in zip(given, before):
            assert state(t)[-1] == was[-1], "an argument changed"
    for t in list(_all_tensors(result))[:3]:
        if t.device.type == "cpu" and t.numel() < 10000:
            assert repr(t) is not None
            memory(t.clone())
        if t.requires_grad and t.device.type == "cpu":
            try:
                wanted = [g for g in given if g.requires_grad]
                first = rl.autograd.grad(t, wanted, rl.ones_like(t), create_graph=True, allow_unused=True)
                again = [g for g in first if g is not None and g.requires_grad]
                rl.autograd.grad(again, wanted, [rl.ones_like(g) for g in again], allow_unused=True)
            except (SystemError, RecursionError):
                raise
            except Exception:
                pass


def repeat(line):
    """Carries out one call from its text."""
    if LOG:
        with open(f"{LOG}.{os.getpid()}", "w") as f:
            f.write(line + "\n")
    namespace = dict(NAMESPACE)
    namespace["function"] = lambda name, *args, **kwargs: attempt(getattr(_C, name), name, args, kwargs)
    namespace["method"] = lambda name, *args, **kwargs: attempt(
        lambda *a, **k: getattr(a[0], name)(*a[1:], **k), name, args, kwargs
    )
    namespace["composite"] = {
        op.name: lambda *args, op=op, **kwargs: attempt(op.function, op.name, args, kwargs)
        for op in COMPOSITES
    }
    faulthandler.dump_traceback_later(
        60, exit=True, file=sys.__stderr__
    )  # a call that never returns is a failure with a name
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            eval(line, namespace)
    finally:
        faulthandler.cancel_dump_traceback_later()


METHODS = sorted(
    name
    for name in dir(rl.Tensor)
    if not name.startswith("_") and callable(getattr(rl.Tensor, name, None)) and name not in SKIPPED_METHODS
)
SPECIAL = ["__getitem__", "__setitem__", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__truediv__", "__rtruediv__",
           "__floordiv__", "__rfloordiv__", "__mod__", "__pow__", "__rpow__", "__matmul__", "__and__", "__or__", "__xor__",
           "__lshift__", "__rshift__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__eq__", "__lt__",
           "__invert__", "__neg__", "__abs__", "__len__", "__iter__", "__contains__", "__bool__", "__int__", "__float__",
           "__complex__", "__index__", "__format__", "__deepcopy__", "__reduce_ex__", "__array__", "__dlpack__", "__hash__"]  # fmt: skip
FUNCTIONS = sorted(
    name
    for name in vars(rl)
    if name not in {op.name for op in OPS} and not name.startswith(("_", "set_", "install"))
    and callable(vars(rl)[name]) and not isinstance(vars(rl)[name], type)
    and name not in {"save", "load", "seed", "manual_seed", "get_rng_state", "compile", "from_file", "fork_rng", "use_deterministic_algorithms", "overrides"}
)  # fmt: skip


def index_text(draw):
    def one(draw):
        kind = draw(st.integers(0, 7))
        if kind == 0:
            return draw(
                st.sampled_from(
                    [":", "::2", "1:", ":-1", "5:2", "::-1", "-9:9", f"{2**62}:", f":-{2**63}", "::0"]
                )
            )
        if kind == 1:
            return repr(ints(draw))
        if kind == 2:
            return draw(
                st.sampled_from(
                    ["None", "...", "True", "False", "[0, 1]", "[]", "[True, False]", "np.array([0, 1])"]
                )
            )
        return tensors(
            draw,
            (
                draw(st.sampled_from(["int64", "bool", "uint8"])),
                draw(st.sampled_from([(2,), (3,), (2, 3), ()])),
            ),
        )

    return "np.s_[" + ", ".join(one(draw) for _ in range(draw(st.integers(1, 3)))) + "]"


def method_text(draw, name):
    target = tensors(draw)
    if name == "__getitem__":
        return f"method({name!r}, {target}, {index_text(draw)})"
    if name == "__setitem__":
        return f"method({name!r}, {target}, {index_text(draw)}, {anything(draw)})"
    args = [anything(draw) for _ in range(draw(st.integers(0, 3)))]
    return f"method({name!r}, {', '.join([target, *args])})"


def function_text(draw, name):
    return f"attempt(rl.{name}, {name!r}, [{', '.join(anything(draw) for _ in range(draw(st.integers(0, 3))))}], {{}})"


NAMESPACE["attempt"] = attempt


def run_examples(make_text, count, seed=None):
    """Draws `count` calls; without a seed the same ones every time."""

    @settings(max_examples=count, deadline=None, derandomize=seed is None, database=None, suppress_health_check=list(HealthCheck),
              phases=[Phase.generate, Phase.shrink] if seed is None else [Phase.generate])  # fmt: skip
    @given(st.composite(lambda draw: make_text(draw))())
    def check(line):
        repeat(line)

    if seed is not None:
        from hypothesis import seed as seeded

        check = seeded(seed)(check)
    check()


@pytest.mark.parametrize("op", OPS + COMPOSITES, ids=lambda op: op.key)
def test_operator(op):
    run_examples(lambda draw: call_text(draw, op), 12)


@pytest.mark.parametrize("name", METHODS)
def test_method(name):
    run_examples(lambda draw: method_text(draw, name), 5)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_method(name):
    run_examples(lambda draw: method_text(draw, name), 40 if "item" in name else 10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name):
    run_examples(lambda draw: function_text(draw, name), 5)


@pytest.mark.skipif(not SECONDS, reason="a long run on request: RUSHLIGHT_FUZZ_SECONDS=600")
def test_long_run():
    """Everything above with fresh numbers, round and round until the time is up."""
    seed = int(os.environ.get("RUSHLIGHT_FUZZ_SEED", time.time_ns() % 2**32))
    print("seed", seed)
    rng = random.Random(seed)
    jobs = [functools.partial(call_text, op=op) for op in OPS + COMPOSITES]
    jobs += [functools.partial(method_text, name=name) for name in METHODS + SPECIAL * 2]
    jobs += [functools.partial(function_text, name=name) for name in FUNCTIONS]
    end, calls = time.monotonic() + SECONDS, 0
    failures = []
    while time.monotonic() < end:
        rng.shuffle(jobs)
        for job in jobs:
            if time.monotonic() > end:
                break
            try:
                run_examples(job, 20, rng.getrandbits(32))
            except Exception as error:
                failures.append(
                    "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
                )
            calls += 20
    print(calls, "calls")
    assert not failures, "\n\n".join(failures)


FOUND = [  # calls that once crashed, read foreign memory or changed an argument before they raised
    "function('_scale_', [T('float32', (3,), 'plain', 'small', 0), T('float32', (3,), 'plain', 'small', 1)], T('int64', (), 'plain', 'index', 1))",
    "method('mvlgamma', T('int8', (0, 3), 'plain', 'small', 0), 9223372036854775807)",
    "function('_only_row', T('bool', (), 'plain', 'small', 0))",
    "method('unfold', T('complex128', (2, 1, 2), 'offset', 'zero', 0), 0, 2, 9223372036854775807)",
    "function('aminmax', T('bool', (), 'plain', 'small', 0), out=(T('bool', (), 'plain', 'zero', 0), T('bool', (0,), 'plain', 'small', 0)))",
    "function('mode', T('bool', (), 'plain', 'small', 0), out=(T('bool', (), 'plain', 'zero', 0), T('bool', (), 'plain', 'small', 0)))",
    "attempt(rl.remainder_, 'remainder_', [2, T('float16', (1,), 'plain', 'index', 0)], {})",
    "attempt(rl.bitwise_and_, 'bitwise_and_', [0, T('float16', (), 'offset', 'index', 2)], {})",
    "function('index', T('int64', (1, 1), 'reversed', 'small', 0), [T('int32', (1, 1), 'plain', 'small', 0)])",
    "function('select_backward', T('complex128', (0, 3), 'transposed', 'zero', 0), (3,), -1, -2)",
    "function('float_power', 0.5, -2.5)",
    "function('clamp', T('float32', (2, 3), 'owned', 'special', 2), -0.5, T('float16', (2, 1), 'owned', 'small', 0))",
    "function('_div_scalar', T('complex128', (0,), 'sliced', 'zero', 0), T('float64', (0,), 'reversed', 'special', 2))",
    "function('normal', nan, T('float16', (2, 0, 4), 'transposed', 'zero', 0))",
    "function('_pad_backward', T('int16', (2, 0, 4), 'reversed', 'special', 0), (6,), (1, -3), 'reflect')",
    "function('_unsafe_view', T('int8', (2, 3, 4), 'overlapping', 'special', 0), (3, -1))",
    "method('new_empty', T('bool', (), 'plain', 'small', 0), (5,))",
]


@pytest.mark.parametrize("line", FOUND)
def test_found_before(line):
    repeat(line)
