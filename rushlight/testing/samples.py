"""The op table as inputs: parsed signatures, and the sample arguments of each operator as NumPy arrays.

Sample arguments are written in a small language: `x(2,3)` a float tensor (`y`, `w` the same with other numbers),
`pos` positive, `unit` inside (-1, 1), `prob` inside (0, 1), `above1`, `ties` with repeated values, `special` with nan
and infinities, `sorted` an ascending row, `spd` symmetric
positive definite, `z(2,3)` complex, `i(5; 0, 3)` int64 in [0, 3), `perm` the positions 0..n-1 of the last dimension in some order,
`int` and `count` whole numbers, `b` and `mask` bool. The rest are Python literals and keyword arguments.
"""

import ast
import math
import re
import zlib
from dataclasses import dataclass, field

import numpy as np

import rushlight

from .. import _C
from .._composite import COMPOSITES

FUNCTION, METHOD, INPLACE, OUT = 1, 2, 4, 8  # bits of a row's forms


@dataclass
class Param:
    """One parameter of a signature: "Tensor? weight=None" is type "Tensor", optional, with a default."""

    type: str
    name: str
    optional: bool = False
    written: bool = False
    varargs: bool = False
    keyword_only: bool = False
    has_default: bool = False
    default: object = None


@dataclass
class Op:
    """One row of the op table, or a composite."""

    name: str
    overload: str
    params: list
    ref: object  # expression over the parameter names, or a function
    texts: list  # samples as text
    forms: int = FUNCTION
    family: str = "other"
    differentiable: bool = False
    composite: bool = False
    outputs: list = field(default_factory=list)
    aliases: list = field(default_factory=list)
    function: object = None  # of a composite written in Python
    signature: str = ""

    @property
    def key(self):
        return f"{self.name}.{self.overload}" if self.overload else self.name

    @property
    def mutates(self):
        return bool(self.params) and self.params[0].written

    @property
    def call(self):
        """The function form, whether or not the package exports it."""
        return self.function or getattr(_C, self.name)


@dataclass
class Draw:
    """A tensor to be drawn: kind of numbers, shape, bounds of integers."""

    kind: str
    shape: tuple
    low: int = 0
    high: int = 2

    @property
    def floating(self):
        return self.kind in (
            "x",
            "y",
            "w",
            "pos",
            "unit",
            "prob",
            "above1",
            "ties",
            "special",
            "sorted",
            "spd",
        )

    def array(self, dtype=None, seed=0):
        """The numbers, as an array of `dtype` (a NumPy dtype) where the kind leaves a choice."""
        dtype = np.dtype(dtype or "float64")
        rng = np.random.default_rng([seed, zlib.crc32(repr((self.kind, self.shape)).encode())])
        kind, shape = self.kind, self.shape
        if kind in ("b", "mask"):
            return np.asarray(rng.random(shape) < 0.5)
        if kind == "perm":
            return np.argsort(rng.random(shape), axis=-1).astype("int64")
        if kind == "i":
            return np.asarray(rng.integers(self.low, self.high, shape))
        if kind in ("int", "count"):
            low = 0 if kind == "count" or dtype.kind in "ub" else -6
            whole = np.asarray(rng.integers(low, 4 if kind == "count" else 7, shape))
            return whole.astype(dtype if dtype.kind in "iub" else "int64")
        if kind == "z":
            parts = np.asarray(_spread(rng, shape) + 1j * _spread(rng, shape))
            return parts.astype(dtype if dtype.kind == "c" else "complex128")
        if kind == "ties":
            values = rng.integers(0, 3, shape).astype("float64")
        elif kind == "special":
            values = rng.choice([np.nan, np.inf, -np.inf, 1.5], shape)
        elif kind == "spd":
            half = _spread(rng, shape)
            values = half @ np.swapaxes(half, -1, -2) + shape[-1] * np.eye(shape[-1])
        elif kind == "sorted":
            values = np.broadcast_to(np.arange(shape[-1]) - shape[-1] // 2, shape)
        elif dtype.kind in "iub":
            values = rng.integers(
                1 if kind in ("pos", "above1") else -3 if dtype.kind == "i" else 0, 4, shape
            )
        elif kind == "pos":
            values = rng.uniform(0.5, 2.5, shape)
        elif kind == "unit":
            values = rng.uniform(-0.8, 0.8, shape)
        elif kind == "prob":
            values = rng.uniform(0.1, 0.9, shape)
        elif kind == "above1":
            values = rng.uniform(1.2, 3.0, shape)
        else:
            values = _spread(rng, shape)
            if dtype.kind == "c":
                values = values + 1j * _spread(rng, shape)
        with np.errstate(invalid="ignore"):
            return np.asarray(values).astype(dtype)


def _spread(rng, shape):
    """Numbers within +-1.8, all different and away from 0 and from each other: no kinks, no ties."""
    count = math.prod(shape)
    steps = (np.arange(count) + 0.5 + rng.uniform(-0.2, 0.2, count)) / max(count, 1) - 0.5
    return np.asarray(rng.permutation(steps) * 3.6).reshape(shape)


@dataclass
class Sample:
    """Arguments of one call: literals and Draws, lists of them included."""

    text: str
    args: tuple
    kwargs: dict

    def map(self, function):
        """args and kwargs with every Draw replaced by function(draw, its number)."""
        number = iter(range(1000))

        def change(value):
            if isinstance(value, Draw):
                return function(value, next(number))
            if isinstance(value, (list, tuple)):
                return type(value)(change(v) for v in value)
            return value

        return tuple(change(a) for a in self.args), {k: change(v) for k, v in self.kwargs.items()}

    @property
    def draws(self):
        found = []
        self.map(lambda draw, _: found.append(draw))
        return found

    def arrays(self, dtype=None):
        return self.map(lambda draw, number: draw.array(dtype, number))

    def tensors(self, dtype=None, make=None):
        """args and kwargs with rushlight tensors; make(array, draw) may lay them out differently."""
        dtype = _C.float32 if dtype is None else dtype

        def tensor(draw, number):
            array = draw.array(numpy_dtype(dtype), number)
            made = make(array, draw) if make else _C.from_numpy(array.copy(order="C"))
            wanted = target_dtype(draw, array, dtype)
            return made if made.dtype == wanted else made.to(wanted)

        return self.map(tensor)


def target_dtype(draw, array, dtype):
    """The dtype of a sample's tensor when the sample runs in `dtype`."""
    if draw.floating:
        return dtype
    if draw.kind in ("int", "count") and not (dtype.is_floating_point or dtype.is_complex):
        return dtype
    if draw.kind == "z":
        return dtype if dtype.is_complex else _C.complex128 if dtype == _C.float64 else _C.complex64
    return _C.bool if array.dtype == bool else _C.int64


def numpy_dtype(dtype):
    """The NumPy dtype that holds the numbers of a rushlight dtype; the next wider one for bfloat16 and complex32."""
    name = str(dtype).rpartition(".")[2]
    return np.dtype({"bfloat16": "float32", "complex32": "complex64"}.get(name, name))


_NAMESPACE = {name: value for name, value in vars(_C).items() if isinstance(value, _C.dtype)}


def _drawing(kind):
    return lambda *shape, bounds=(0, 2): Draw(kind, tuple(shape), *bounds)


_NAMESPACE.update(
    (kind, _drawing(kind))
    for kind in "x y w pos unit prob above1 ties special sorted spd z i perm int count b mask".split()
)
_NAMESPACE.update(inf=math.inf, nan=math.nan, rl=rushlight, call=lambda *args, **kwargs: (args, kwargs))


def parse_sample(text):
    source = re.sub(r"(\w+)\(([^();]*);([^()]*)\)", r"\1(\2, bounds=(\3))", text)
    args, kwargs = eval(
        f"call({source})", {"__builtins__": {"True": True, "False": False, "None": None}}, _NAMESPACE
    )
    return Sample(text, args, kwargs)


def parse_signature(text):
    """Parameters of "name.overload(Type name=default, *, ...) -> Type"."""
    inside = text[text.index("(") + 1 : text.rindex(") ->")]
    params, keyword_only = [], False
    for part in re.split(r",\s*(?![^\[]*\])", inside) if inside.strip() else []:
        part = part.strip()
        if part == "*":
            keyword_only = True
            continue
        kind, _, rest = part.partition(" ")
        name, equals, default = rest.partition("=")
        optional, written, varargs = kind.endswith("?"), kind.endswith("!"), kind.endswith("...")
        params.append(
            Param(
                kind.rstrip("?!."),
                name.strip(),
                optional,
                written,
                varargs,
                keyword_only,
                bool(equals),
                ast.literal_eval(default.strip()) if equals else None,
            )  # fmt: skip
        )
    return params


def op_table():
    """Every operator of the core, as Op."""
    ops = []
    for row in _C._op_table():
        op = Op(row["name"], row["overload"], parse_signature(row["signature"]), row["ref"], list(row["samples"]),
                row["forms"], row["family"], row["differentiable"], row["composite"], list(row["outputs"]),
                list(row["aliases"]), signature=row["signature"])  # fmt: skip
        if (
            not op.texts
            and op.family == "pointwise"
            and all(p.type in ("Tensor", "Operand") for p in op.params)
        ):
            op.texts = [", ".join(f"{kind}(2,3)" for kind, p in zip("xyw", op.params) if not p.has_default)]
        ops.append(op)
    return ops


def composites():
    """Every function marked with `sampled`, as Op with the NumPy function as its reference."""
    return [
        Op(
            function.__name__,
            "py",
            [],
            ref,
            list(texts),
            differentiable=True,
            composite=True,
            function=function,
        )
        for function, texts, ref in COMPOSITES
    ]


def samples(op):
    return [parse_sample(text) for text in op.texts]


def bind(op, args, kwargs):
    """Parameter name -> value for a reference expression, with the defaults of the signature."""
    values = {p.name: p.default for p in op.params}
    for param, value in zip((p for p in op.params if not p.keyword_only), args):
        values[param.name] = value
    values.update(kwargs)
    for name, value in values.items():
        if isinstance(value, list) and name in ("dim", "dims", "size", "shape"):
            values[name] = tuple(value) or (
                None if name == "dim" else ()
            )  # an empty list of dimensions means all of them
    return values
