"""`python -m rushlight program`, install_as_torch: PyTorch's names, and everything else as python has it."""

import signal
import subprocess
import sys
import time

import pytest


def python(*arguments, cwd, **options):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def program(folder, text, name="program.py"):
    (folder / name).write_text(text)
    return name


def test_help(tmp_path):
    code, out, _ = python("-m", "rushlight", "--help", cwd=tmp_path)
    assert code == 0 and "python -m rushlight script.py" in out
    assert python("-m", "rushlight", cwd=tmp_path)[0] == 2
    assert python("-m", "rushlight", "--nonsense", cwd=tmp_path)[0] == 2


def test_same_modules_under_both_names(tmp_path):
    name = program(
        tmp_path,
        """
import torch, torch.nn as nn, torch.nn.functional as F, torch.optim
from torch.utils.data import DataLoader
from torch import Tensor
import rushlight, sys
assert torch is rushlight and sys.modules["torch.nn"] is nn is rushlight.nn
assert F is rushlight.nn.functional and DataLoader is rushlight.utils.data.DataLoader
assert torch.nn.__spec__.name == "rushlight.nn" and nn.__name__ == "rushlight.nn"
import importlib, importlib.util, importlib.metadata
assert importlib.import_module("torch.optim") is rushlight.optim
assert importlib.util.find_spec("torch") is not None
assert importlib.metadata.version("torch") == "2.13.0"
assert torch.__version__.startswith("2.13.0")
assert isinstance(torch.ones(2), Tensor)
print(nn.Linear(2, 1)(torch.ones(1, 2)).shape)
""",
    )
    code, out, err = python("-m", "rushlight", name, cwd=tmp_path)
    assert (code, out, err) == (0, "torch.Size([1, 1])\n", "")


@pytest.mark.parametrize(
    "statement", ["import torch.nonsense", "import torch.nn.nonsense", "from torch.nn.nonsense import x"]
)
def test_unknown_module_is_named(statement, tmp_path):
    name = program(tmp_path, f"import torch\n{statement}\n")
    code, _, err = python("-m", "rushlight", name, cwd=tmp_path)
    missing = "torch.nn.nonsense" if ".nn." in statement else "torch.nonsense"
    assert code == 1 and f"ModuleNotFoundError: No module named '{missing}'" in err


def test_unknown_name(tmp_path):
    name = program(tmp_path, "from torch import nonsense\n")
    code, _, err = python("-m", "rushlight", name, cwd=tmp_path)
    assert code == 1 and "ImportError: cannot import name 'nonsense'" in err


SELF_PORTRAIT = """
import sys, os, __main__, helper
print(__name__, __file__, __doc__, __package__, __spec__, sorted(globals()))
print(sys.argv, sys.path[0], __main__ is sys.modules["__main__"], vars(__main__) is globals(), __builtins__)
class C: pass
import pickle
print(C.__module__, type(pickle.loads(pickle.dumps(C()))) is C, helper.x)
"""


def test_as_python_runs_a_script(tmp_path):
    (tmp_path / "sub").mkdir()
    program(tmp_path / "sub", "x = 3\n", "helper.py")
    program(tmp_path / "sub", SELF_PORTRAIT)
    arguments = ["sub/program.py", "-m", "--help", "a b"]
    assert python("-m", "rushlight", *arguments, cwd=tmp_path) == python(*arguments, cwd=tmp_path)


def test_as_python_runs_a_module(tmp_path):
    (tmp_path / "package").mkdir()
    program(tmp_path / "package", "")
    program(tmp_path / "package", "", "__init__.py")
    program(tmp_path / "package", SELF_PORTRAIT.replace(", __spec__", ", __spec__.name"), "tool.py")
    program(tmp_path, "x = 3\n", "helper.py")
    arguments = ["-m", "package.tool", "-v", "x"]
    assert python("-m", "rushlight", *arguments, cwd=tmp_path) == python(*arguments, cwd=tmp_path)
    code, _, err = python("-m", "rushlight", "-m", "nonsense", cwd=tmp_path)
    assert code == 1 and "No module named nonsense" in err


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    return 1 / 0\nf()\n",
        "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('late')\n",
        "x = (\n",
        "import sys\nprint(3)\nsys.exit(7)\n",
        "import sys\nsys.exit('a message')\n",
        "raise SystemExit\n",
        "import atexit\natexit.register(print, 'bye')\nraise RuntimeError\n",
        "exec('1/0')\n",
        "import sys\nsys.excepthook = lambda *e: print('mine', e[0])\n1/0\n",
        "from __future__ import annotations\nx: Nonsense = 3\nprint(__annotations__)\n" if sys.version_info < (3, 14) else "print(3)\n",
        "def f():\n    raise KeyboardInterrupt\nf()\n",
    ],
)  # fmt: skip
def test_errors_and_exits_as_python(text, tmp_path):
    name = program(tmp_path, text)
    ours, theirs = python("-m", "rushlight", name, cwd=tmp_path), python(name, cwd=tmp_path)
    assert ours[1:] == theirs[1:]
    assert ours[0] == (130 if "KeyboardInterrupt" in text else theirs[0])


def test_missing_script(tmp_path):
    code, _, err = python("-m", "rushlight", "nothing.py", cwd=tmp_path)
    theirs = python("nothing.py", cwd=tmp_path)
    assert code == theirs[0] == 2 and err.strip().split(": ", 1)[1] == theirs[2].strip().split(": ", 1)[1]


WORKERS = """
import torch
from torch.utils.data import DataLoader, TensorDataset, get_worker_info

class Rows(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return torch.tensor([i, get_worker_info().id])

if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        rows = torch.cat(list(DataLoader(Rows(), num_workers=2, multiprocessing_context=method)))
        print(method, rows.tolist())
"""


def test_workers_of_a_program(tmp_path):
    name = program(tmp_path, WORKERS)
    code, out, err = python("-m", "rushlight", name, cwd=tmp_path)
    rows = [[0, 0], [1, 1], [2, 0], [3, 1]]
    assert out == "".join(f"{method} {rows}\n" for method in ("fork", "spawn", "forkserver")), err
    assert code == 0


def test_install_as_torch(tmp_path):
    code, out, err = python(
        "-c",
        "import rushlight\nassert rushlight.install_as_torch() is rushlight.install_as_torch() is rushlight\n"
        "import torch.nn.utils.rnn, torch\nprint(torch is rushlight)",
        cwd=tmp_path,
    )
    assert (out, code) == ("True\n", 0), err
    program(tmp_path, "", "torch.py")
    code, _, err = python("-c", "import torch, rushlight\nrushlight.install_as_torch()", cwd=tmp_path)
    assert code == 1 and "ImportError: PyTorch itself is already imported" in err


def test_interrupt(tmp_path):
    name = program(tmp_path, "import time\nprint('on', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "rushlight", name],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a job in the background is started with interrupts ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "on\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (
        process.returncode == 130
        and err.splitlines()[-1].startswith("KeyboardInterrupt")
        and "rushlight" not in err
    )


CLASS_NAMES = """
import copy, inspect, io, pickle, sys, typing
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

print(nn.Linear, nn.MultiheadAttention, nn.LazyLinear, optim.Adam, optim.lr_scheduler.OneCycleLR, TensorDataset, DataLoader)
print(torch.Tensor, nn.Parameter, torch.distributions.Normal, torch.autograd.Function, nn.Module)
for cls in (nn.Linear, nn.MultiheadAttention, nn.LazyConv2d, optim.Adam, optim.lr_scheduler.CyclicLR, torch.distributions.Normal):
    assert pickle.loads(pickle.dumps(cls)) is cls and getattr(sys.modules[cls.__module__], cls.__name__) is cls
    assert inspect.getmodule(cls) is sys.modules[cls.__module__]
    typing.get_type_hints(cls)

for cls in (nn.Linear, optim.Adam, torch.distributions.Normal):
    assert inspect.getsource(cls).startswith("class " + cls.__name__)

class Net(nn.Linear):
    pass

net = pickle.loads(pickle.dumps(copy.deepcopy(nn.Sequential(nn.Linear(2, 3), Net(3, 1)))))
buffer = io.BytesIO()
torch.save(net, buffer)
assert b"rushlight" not in buffer.getvalue() and b"torch.nn.modules.linear\\nLinear" in buffer.getvalue()
buffer.seek(0)
assert type(torch.load(buffer, weights_only=False)[1]) is Net
with torch.serialization.safe_globals([nn.Linear]):
    buffer = io.BytesIO()
    torch.save(nn.Linear(1, 1), buffer)
    buffer.seek(0)
    print(torch.load(buffer))
print(Net)
"""


def test_classes_have_torch_names(tmp_path):
    code, out, err = python("-m", "rushlight", program(tmp_path, CLASS_NAMES), cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out == (
        "<class 'torch.nn.modules.linear.Linear'> <class 'torch.nn.modules.activation.MultiheadAttention'> "
        "<class 'torch.nn.modules.linear.LazyLinear'> <class 'torch.optim.adam.Adam'> "
        "<class 'torch.optim.lr_scheduler.OneCycleLR'> <class 'torch.utils.data.dataset.TensorDataset'> "
        "<class 'torch.utils.data.dataloader.DataLoader'>\n"
        "<class 'torch.Tensor'> <class 'torch.nn.parameter.Parameter'> <class 'torch.distributions.normal.Normal'> "
        "<class 'torch.autograd.function.Function'> <class 'torch.nn.modules.module.Module'>\n"
        "Linear(in_features=1, out_features=1, bias=True)\n<class '__main__.Net'>\n"
    )
    code, out, _ = python("-c", "import rushlight; print(rushlight.nn.Linear)", cwd=tmp_path)
    assert out == "<class 'rushlight.nn.modules.linear.Linear'>\n"


def test_the_source_of_every_class_is_found(tmp_path):
    name = program(
        tmp_path,
        """
import inspect, torch
from torch.optim.lr_scheduler import OneCycleLR, CyclicLR
from torch.serialization import safe_globals
for cls in (torch.nn.Linear, torch.nn.LazyLinear, torch.nn.LazyConv2d, torch.nn.MultiheadAttention, OneCycleLR, CyclicLR,
            torch.optim.Muon, torch.optim.Adam, safe_globals, torch.nn.LinearCrossEntropyLoss):
    assert cls.__module__.startswith("torch."), cls
    assert f"class {cls.__name__}" in inspect.getsource(cls), cls
class Mine(torch.nn.Module):
    pass
assert inspect.getfile(Mine).endswith("program.py")
print("found")
""",
    )
    code, out, err = python("-m", "rushlight", name, cwd=tmp_path)
    assert (code, out, err) == (0, "found\n", "")
