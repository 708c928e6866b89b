"""Recorded answers of PyTorch 2.13 (tests/vectors/spec): texts of errors and warnings, behaviour, names of grad_fn, dtypes of
results. Every entry is evaluated; what differs is listed in KNOWN with its reason, and has to differ.
"""

import gzip
import json
import re
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import rushlight as rl

FOLDER = Path(__file__).parent / "vectors" / "spec"
NAME = "an AttributeError names the module as it was imported"
ONE_NODE = "a recurrent layer is one operator here, or ends in another one"
# By file: an entry to the reason why it differs.
KNOWN = {
    "errors": {
        "torch.tensor([1+1j]).conj().numpy()": "conj() computes its result here: there is no bit that numpy() could refuse",
        "torch.one_hot(torch.tensor([1]))": NAME,
        "torch.foo": NAME,
    },
    "behaviour": {
        "import warnings\na=np.zeros(2); a.flags": "the warning does not name a line of PyTorch's source",
    },
    "warnings": {},
    "grad_fn_names": {
        f"nn.{layer}(4,3)": ONE_NODE for layer in ("LSTM", "GRU", "RNN", "LSTMCell")
    },
    "promotion": {},
}  # fmt: skip


def stored(name):
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def names():
    return {"torch": rl, "nn": rl.nn, "F": rl.nn.functional, "np": np, "OrderedDict": OrderedDict}


def is_known(file, entry):
    return any(entry.startswith(known) for known in KNOWN[file])


def check(file, entry, got, want):
    """The two are equal, or listed: then they are not."""
    assert (got != want) if is_known(file, entry) else (got == want), f"{got!r} for {want!r}"


@pytest.fixture(autouse=True)
def usual_state():
    """Entries leave modes switched; each one starts, and the next test goes on, with the usual ones."""

    def reset():
        rl.set_grad_enabled(True)
        rl.set_default_dtype(rl.float32)
        rl.set_printoptions(profile="default")
        rl.autograd.set_detect_anomaly(False)
        rl.set_warn_always(False)

    reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    reset()


def cases(name):
    entries = stored(name)
    return pytest.mark.parametrize("entry", entries, ids=[str(k) for k in range(len(entries))])


@cases("errors")
def test_error(entry):
    code, kind, text = entry
    try:
        if "\n" in code or re.match(r"^(if_|r|x|a|p|b|log|import|class|with|a,b) ?=|^(a,b|import|class|with)", code):
            exec(compile(code, "<user>", "exec"), names())
        else:
            eval(code, names())
        got = "no error"
    except Exception as error:
        got = type(error).__name__, re.sub(r"0x[0-9a-f]{6,}", "0xADDR", str(error))
    check("errors", code, got, (kind, text))


@cases("behaviour")
def test_behaviour(entry):
    code, want = entry
    if is_known("behaviour", code):
        rl.set_warn_always(True)
    scope = names()
    try:
        exec(compile(code, "<v>", "exec"), scope)
        got = repr(scope["r"])
    except Exception as error:
        got = f"raises {type(error).__name__}: {error}"
    check("behaviour", code, got, want)


@cases("warnings")
def test_warning(entry):
    code, want = entry
    rl.set_warn_always(True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            eval(code, names())
        except (RuntimeError, AttributeError):
            pass  # some warn, and then raise
    processors = re.compile(r"in current system is \d+")  # differs from machine to machine
    got = [[w.category.__name__, processors.sub("", str(w.message))] for w in caught]
    check("warnings", code, got, [[kind, processors.sub("", text)] for kind, text in want])


@pytest.fixture(scope="module")
def tensors():
    """The tensors that the expressions about grad_fn are about."""

    def rand(*size):
        return rl.rand(*size, requires_grad=True)

    return {
        **names(),
        "x": rand(3, 4) + 0.5,
        "y": rand(3, 4) + 0.5,
        "v": rand(4) + 0.5,
        "sq": rand(3, 3) @ rl.eye(3) + 3 * rl.eye(3),
        "b3": rand(2, 3, 4) * 1,
        "im": rand(1, 2, 8, 8) * 1,
        "idx": rl.tensor([0, 2]),
        "leaf": rand(3),
    }


@cases("grad_fn_names")
def test_name_of_grad_fn(entry, tensors):
    code, want = entry
    node = eval(code, dict(tensors)).grad_fn
    check("grad_fn_names", code, None if node is None else type(node).__name__, want)


# ---- dtypes of results: tables of PyTorch's names of dtypes and of error types, one row per first dtype

BINARY = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "pow": lambda a, b: a**b, "eq": lambda a, b: a == b,
    "and": lambda a, b: a & b, "lshift": lambda a, b: a << b, "where": lambda a, b: rl.where(rl.tensor([True]), a, b),
    "cat": lambda a, b: rl.cat([a, b]), "stack": lambda a, b: rl.stack([a, b]), "addcmul": lambda a, b: rl.addcmul(a, b, b),
    "lerp": lambda a, b: rl.lerp(a, b, 0.5), "true_divide_floor": lambda a, b: rl.div(a, b, rounding_mode="floor"),
    "div_trunc": lambda a, b: rl.div(a, b, rounding_mode="trunc"), "matmul": lambda a, b: a @ b, "min2": rl.minimum,
}  # fmt: skip
NUMBERS = {"bool": True, "int": 1, "float": 1.0, "complex": 1j}
ALONG = ("cumsum", "cumprod", "softmax", "logsumexp", "cummax")


def of_dtype(values, name):
    return values.to(getattr(rl, name))


def outcome(function, *args, text=0):
    """The name of the dtype of a result, or ERR and the type or the beginning of the text of the error."""
    try:
        result = function(*args)
        result = result[0] if isinstance(result, tuple) else result
        return str(getattr(result, "dtype", result)).removeprefix("torch.")
    except Exception as error:
        return "ERR " + (str(error)[:text] if text else type(error).__name__)


def unary(name):
    function = getattr(rl, name, None) or getattr(rl.nn.functional, name)
    if name in ALONG:
        return lambda x: function(x, 0)
    return (lambda x: function(x, min=0)) if name == "clamp" else function


def promotions():
    """(entry, what gives our answer, PyTorch's answer) for every cell of the tables."""
    tables = stored("promotion")
    dtypes, operands = tables["dtypes"], tables["binary_dtypes"]
    for a, types, results in zip(dtypes, tables["promote_types"], tables["tensor_with_0dim"]):
        for b, promoted, result in zip(dtypes, types, results):
            yield (
                f"{a} {b}",
                lambda a=a, b=b: outcome(lambda: rl.promote_types(getattr(rl, a), getattr(rl, b)), text=80),
                promoted,
            )
            yield (
                f"{a} {b} 0-d",
                lambda a=a, b=b: outcome(
                    lambda: rl.result_type(of_dtype(rl.ones(2), a), of_dtype(rl.tensor(1), b)), text=60
                ),
                result,
            )
    for table, tensor in (("tensor_with_python_scalar", rl.ones(2)), ("0dim_with_python_scalar", rl.tensor(1))):
        for number, row in tables[table].items():
            for a, want in zip(dtypes, row):
                yield (
                    f"{table} {number} {a}",
                    lambda tensor=tensor, number=number, a=a: outcome(
                        lambda: rl.result_type(of_dtype(tensor, a), NUMBERS[number]), text=60
                    ),
                    want,
                )
    for name, table in tables["binary_ops"].items():
        function = BINARY.get(name) or getattr(rl, name)
        for a, row in zip(operands, table):
            for b, want in zip(operands, row):
                one = rl.ones(1)
                yield (
                    f"{name} {a} {b}",
                    lambda f=function, a=a, b=b, one=one: outcome(f, of_dtype(one, a), of_dtype(one, b)),
                    want,
                )
    for name, row in tables["unary_ops"].items():
        function = unary(name)
        for a, want in zip(operands, row):
            yield f"{name} {a}", lambda f=function, a=a: outcome(f, of_dtype(rl.ones(2), a)), want


def test_promotion():
    wrong = []
    for entry, answer, want in promotions():
        got = answer()
        if (got == want) == is_known("promotion", entry):
            wrong.append(f"{entry}: {got}, in PyTorch {want}" + (", but listed" if got == want else ""))
    assert not wrong, "\n".join(wrong)
