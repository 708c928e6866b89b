"""Writes rushlight/_C.pyi, the types of the native module, from the op table. `--check` only says whether it is current.

python tools/stubs.py [--check]
"""

import argparse
import keyword
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from rushlight import _C
from rushlight.testing.samples import INPLACE, METHOD, OUT, op_table

TARGET = pathlib.Path(__file__).resolve().parent.parent / "rushlight" / "_C.pyi"

TYPES = {
    "Tensor": "Tensor", "Operand": "Tensor | Number", "Scalar": "Number | Tensor", "int": "builtins.int", "float": "builtins.float",
    "bool": "builtins.bool", "dtype": "_Dtype", "device": "_Device | builtins.str | builtins.int", "str": "builtins.str",
    "Generator": "Generator", "any": "Any",
}  # fmt: skip

HEAD = '''"""Types of the native module. Written by tools/stubs.py from the op table: change core/ops, not this file."""

import builtins
from collections.abc import Iterator, Sequence
from typing import Any, overload

Number = builtins.bool | builtins.int | builtins.float | builtins.complex

'''


def annotation(param):
    kind = param.type
    if kind.startswith("Tensor") and "[" in kind:
        text = "Sequence[Tensor | None]" if "?" in kind else "Sequence[Tensor]"
    elif kind.startswith("int["):
        text = "builtins.int | Sequence[builtins.int]"
    elif kind.startswith("float["):
        text = "builtins.float | Sequence[builtins.float]"
    else:
        text = TYPES[kind]
    if param.varargs:
        text = "builtins.int | Sequence[builtins.int]"
    return text + " | None" if param.optional else text


def result(op, in_place):
    if in_place or op.mutates:
        return "Tensor"
    ending = op.signature.rpartition("->")[2].strip()
    if ending.startswith("("):
        return "tuple[" + ", ".join("Tensor" for _ in ending.split(",")) + "]"
    return "tuple[Tensor, ...]" if ending == "Tensor[]" else "Tensor"


def default(param):
    if not param.has_default:
        return " = None" if param.optional and param.keyword_only else ""
    value = param.default
    return " = " + ("..." if isinstance(value, (list, tuple)) else repr(value))


def signature(op, name, method, in_place):
    """ "def add(self, other: Tensor | Number, *, alpha: ... = 1) -> Tensor: ..." without overload marks."""
    parts, star = ["self"] if method else [], False
    optional_seen = False
    for i, param in enumerate(op.params):
        if method and i == 0:
            continue
        if param.varargs and not param.keyword_only and not star:
            parts.append(f"*{param.name}: {annotation(param)}")
            star = True
            continue
        if param.keyword_only and not star:
            parts.append("*")
            star = True
        text = default(param)
        optional_seen |= bool(text)
        if optional_seen and not text and not star:
            text = " = ..."
        name_in_python = param.name + ("_" if keyword.iskeyword(param.name) else "")
        parts.append(f"{name_in_python}: {annotation(param)}{text}")
    if op.forms & OUT and not in_place and not method:
        if not star:
            parts.append("*")
        parts.append("out: Tensor | Sequence[Tensor] | None = None")
    if op.family == "create":
        parts.append("requires_grad: builtins.bool = False")
        parts.append("pin_memory: builtins.bool = False")
        parts.append("layout: Any = None")
    returns = result(op, in_place)
    return f"def {name}({', '.join(parts)}) -> {returns}: ..."


def callables(ops, method):
    """name -> signatures, of functions or of methods."""
    found = {}

    def add(name, op, in_place):
        text = signature(op, name, method, in_place)
        if text not in found.setdefault(name, []):
            found[name].append(text)

    for op in ops:
        names = [op.name, *op.aliases]
        for name in names:
            if method and not op.forms & METHOD:
                continue
            add(name, op, False)
        if op.forms & INPLACE:
            for name in names:
                add(name + "_", op, True)
    return found


def block(found, indent):
    lines = []
    for name in sorted(found):
        if keyword.iskeyword(name):
            continue
        overloads = found[name]
        for text in overloads:
            if len(overloads) > 1:
                lines.append(f"{indent}@overload")
            lines.append(indent + text)
    return lines


def plain_attributes(known, indent):
    """The attributes of Tensor that are no operators, and Python's operators."""
    lines = [
        f"{indent}{name}: Any"
        for name, value in sorted(vars(_C.Tensor).items())
        if isinstance(value, type(_C.Tensor.shape)) and name not in known and not name.startswith("_")
    ]
    binary = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split()
    for name in [*binary, *("r" + b for b in binary), *("i" + b for b in binary if b != "matmul")]:
        lines.append(f"{indent}def __{name}__(self, other: Any) -> Tensor: ...")
    for name in "eq ne".split():
        lines.append(f"{indent}def __{name}__(self, other: Any) -> Tensor: ...  # type: ignore[override]")
    for name in "lt le gt ge".split():
        lines.append(f"{indent}def __{name}__(self, other: Any) -> Tensor: ...")
    for name in "neg pos abs invert".split():
        lines.append(f"{indent}def __{name}__(self) -> Tensor: ...")
    for name, kind in {
        "len": "int",
        "int": "int",
        "float": "float",
        "bool": "bool",
        "complex": "complex",
        "index": "int",
    }.items():
        lines.append(f"{indent}def __{name}__(self) -> builtins.{kind}: ...")
    lines.append(f"{indent}def __iter__(self) -> Iterator[Tensor]: ...")
    lines.append(f"{indent}def __getitem__(self, index: Any) -> Tensor: ...")
    lines.append(f"{indent}def __setitem__(self, index: Any, value: Any) -> None: ...")
    return lines


def text():
    ops = op_table()
    methods, functions = callables(ops, True), callables(ops, False)
    lines = [HEAD.rstrip("\n"), ""]
    for name in ("dtype", "device", "layout", "memory_format", "Generator", "Size", "UntypedStorage"):
        base = "(tuple[builtins.int, ...])" if name == "Size" else ""
        lines += [f"class {name}{base}:", "    def __init__(self, *args: Any, **kwargs: Any) -> None: ...",
                  "    def __getattr__(self, name: builtins.str) -> Any: ...", ""]  # fmt: skip
    lines += ["_Dtype = dtype", "_Device = device", ""]
    lines += ["class Tensor:", "    shape: Size", "    dtype: _Dtype", "    device: _Device",
              "    requires_grad: builtins.bool", "    grad: Tensor | None", "    is_leaf: builtins.bool",
              "    data: Tensor", "    ndim: builtins.int", "    T: Tensor"]  # fmt: skip
    known = {*methods, "shape", "dtype", "device", "requires_grad", "grad", "is_leaf", "data", "ndim", "T"}
    lines += plain_attributes(known, "    ")
    lines += block(methods, "    ")
    lines += [
        "    def __getattr__(self, name: builtins.str) -> Any: ...  # methods written in Python: rushlight/tensor.py",
        "",
    ]
    lines += [f"{name}: _Dtype" for name, value in sorted(vars(_C).items()) if isinstance(value, _C.dtype)]
    lines += block(functions, "")
    lines += ["", "def __getattr__(name: builtins.str) -> Any: ...", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 where the file is not current"
    )
    wanted = text()
    if parser.parse_args().check:
        if not TARGET.exists() or TARGET.read_text() != wanted:
            sys.exit("rushlight/_C.pyi is not current: run python tools/stubs.py")
    else:
        TARGET.write_text(wanted)


if __name__ == "__main__":
    main()
