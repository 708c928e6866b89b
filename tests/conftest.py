"""What all test files share: a fixed seed before each test, so that none depends on the ones that ran before it."""

import os
import sys
from pathlib import Path

import pytest

import rushlight as rl

# Processes that tests start use the same copy of the package: installed, built in place, or instrumented.
_PACKAGE = str(Path(rl.__file__).resolve().parent.parent)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_PACKAGE, os.environ.get("PYTHONPATH")]))
# Spawned processes take over this list: they find the functions of a test module there, and the package before it.
sys.path.append(str(Path(__file__).resolve().parent.parent))


@pytest.fixture(autouse=True)
def _fresh_state():
    rl.manual_seed(0)
    yield
    rl.set_grad_enabled(True)
    rl.set_default_dtype(rl.float32)
    rl.set_printoptions(profile="default")
