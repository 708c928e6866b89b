"""rushlight/_C.pyi is what tools/stubs.py writes, is valid Python, and names what the module has."""

import ast
import pathlib
import runpy

import rushlight as rl
from rushlight import _C

ROOT = pathlib.Path(__file__).resolve().parent.parent
STUB = ROOT / "rushlight" / "_C.pyi"


def test_the_stub_is_current():
    assert STUB.read_text() == runpy.run_path(str(ROOT / "tools" / "stubs.py"))["text"](), (
        "run python tools/stubs.py"
    )


def test_the_stub_names_operators_and_methods():
    tree = ast.parse(STUB.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"add", "add_", "matmul", "zeros", "randn"} <= functions
    assert not [name for name in functions if not name.startswith("__") and not hasattr(_C, name)]
    (tensor,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Tensor"]
    methods = {node.name for node in tensor.body if isinstance(node, ast.FunctionDef)}
    assert {"add", "add_", "view", "sum", "__add__", "__getitem__"} <= methods
    assert not [name for name in methods if name != "__getattr__" and not hasattr(rl.Tensor, name)]


def test_the_package_is_marked_as_typed():
    assert (ROOT / "rushlight" / "py.typed").exists()
