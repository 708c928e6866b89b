"""Every example in a docstring gives what it shows: those of the Python modules and those of the core's operators.

`rl`, `nn`, `F` and `np` are known to the examples, and so is all that the example's own module holds.
"""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
KNOWN = {"rl": rl, "torch": rl, "nn": nn, "F": nn.functional, "np": np}


def modules():
    """Names of the package's Python modules, but for the ones that run a program when they are imported."""
    found = pkgutil.walk_packages(rl.__path__, "rushlight.")
    return ["rushlight", *sorted(m.name for m in found if not m.name.endswith("__main__"))]


def check(tests):
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report = []
    for test in tests:
        rl.manual_seed(0)
        runner.run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("name", modules())
def test_module(name):
    module = importlib.import_module(name)
    check(doctest.DocTestFinder(exclude_empty=True).find(module, globs={**vars(module), **KNOWN}))


def test_core():
    """Functions and methods of the core: their help texts come from the op table."""
    parser = doctest.DocTestParser()
    tests = []
    for holder, prefix in ((rl._C, "rushlight."), (rl.Tensor, "Tensor.")):
        for name in dir(holder):
            text = getattr(getattr(holder, name, None), "__doc__", None)
            if isinstance(text, str) and ">>>" in text:
                tests.append(parser.get_doctest(text, dict(KNOWN), prefix + name, None, 0))
    assert tests
    check(tests)
