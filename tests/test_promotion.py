"""dtypes of results against PyTorch's tables (tests/vectors/promotion.json): promote_types, tensors with 0-d tensors and
with Python numbers, and the operators one by one. E stands for an error, N for NotImplementedError.
"""

import json
import pathlib

import pytest

import rushlight as rl

TABLES = json.loads((pathlib.Path(__file__).parent / "vectors" / "promotion.json").read_text())
NAMES = TABLES["dtypes"]
ORDER = TABLES["order"].split()
OPERATOR_ORDER = TABLES["operator_order"].split()
NUMBERS = {"bool": True, "int": 2, "float": 1.5, "complex": 1 + 1j}
# Where a dtype works here that PyTorch has no kernel for (or the other way round), the entry says N in one of the two.

BINARY = {
    "add": rl.add, "sub": rl.sub, "mul": rl.mul, "div": rl.div, "floordiv": rl.floor_divide, "mod": rl.remainder, "pow": rl.pow,
    "eq": rl.eq, "and": lambda a, b: a & b, "lshift": lambda a, b: a << b, "maximum": rl.maximum, "atan2": rl.atan2,
    "where": lambda a, b: rl.where(rl.tensor([True, False]), a, b), "cat": lambda a, b: rl.cat([a, b]),
    "stack": lambda a, b: rl.stack([a, b]), "logaddexp": rl.logaddexp, "copysign": rl.copysign, "hypot": rl.hypot,
    "fmod": rl.fmod, "xlogy": rl.xlogy, "addcmul": lambda a, b: rl.addcmul(a, b, b), "lerp": lambda a, b: rl.lerp(a, b, 0.5),
    "true_divide_floor": lambda a, b: rl.div(a, b, rounding_mode="floor"),
    "div_trunc": lambda a, b: rl.div(a, b, rounding_mode="trunc"), "matmul": rl.matmul, "bitwise_or": rl.bitwise_or,
    "logical_and": rl.logical_and, "gcd": rl.gcd, "min2": lambda a, b: rl.min(a, b), "dist": rl.dist,
}  # fmt: skip
UNARY = {
    "softmax": lambda x: rl.softmax(x, 0), "cumsum": lambda x: x.cumsum(0), "cumprod": lambda x: x.cumprod(0),
    "logsumexp": lambda x: x.logsumexp(0), "cummax": lambda x: x.cummax(0).values, "clamp": lambda x: x.clamp(0, 1),
    "mode": lambda x: x.mode().values, "sort": lambda x: x.sort().values, "norm": lambda x: rl.norm(x),
    "histc": lambda x: rl.histc(x, 4), "positive": lambda x: rl.positive(x), "real": rl.real, "imag": rl.imag,
    "relu": rl.relu,
}  # fmt: skip


def tensor(short, values=(1, 2)):
    return rl.tensor(values).to(getattr(rl, NAMES[short]))


def outcome(function, *args):
    try:
        result = function(*args)
    except NotImplementedError:
        return "N"
    except Exception:
        return "E"
    name = str(getattr(result, "dtype", result)).rpartition(".")[2]
    return next(short for short, full in NAMES.items() if full == name)


def differences(table, order, call):
    """(row, column, expected, actual) where they differ; a kernel that one of the two lacks is no difference."""
    found = []
    for i, row in enumerate(table):
        for j, expected in enumerate(row.split()):
            actual = call(order[i], order[j])
            if actual != expected and "N" not in (actual, expected):
                found.append((order[i], order[j], expected, actual))
    return found


def test_promote_types():
    assert not differences(
        TABLES["promote_types"],
        ORDER,
        lambda a, b: outcome(rl.promote_types, tensor(a).dtype, tensor(b).dtype),
    )


def test_tensor_with_0d_tensor():
    assert not differences(
        TABLES["tensor_with_0dim"], ORDER, lambda a, b: outcome(rl.result_type, tensor(a), tensor(b, 1))
    )
    assert not differences(
        TABLES["tensor_with_0dim"], ORDER, lambda a, b: outcome(rl.add, tensor(a), tensor(b, 1))
    )


@pytest.mark.parametrize("number", NUMBERS)
def test_tensor_with_number(number):
    for table, values in (("tensor_with_python_scalar", (1, 2)), ("0dim_with_python_scalar", 1)):
        row = TABLES[table][number].split()
        assert [outcome(rl.result_type, tensor(d, values), NUMBERS[number]) for d in ORDER] == row
        assert [outcome(rl.mul, tensor(d, values), NUMBERS[number]) for d in ORDER] == row


@pytest.mark.parametrize("name", TABLES["binary"])
def test_binary_operator(name):
    assert not differences(
        TABLES["binary"][name], OPERATOR_ORDER, lambda a, b: outcome(BINARY[name], tensor(a), tensor(b))
    )


@pytest.mark.parametrize("name", TABLES["unary"])
def test_unary_operator(name):
    function = UNARY.get(name) or getattr(rl, name)
    row = [TABLES["unary"][name]]
    assert not [d for d in differences(row, OPERATOR_ORDER, lambda _, d: outcome(function, tensor(d)))]
