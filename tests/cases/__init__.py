"""Cases of nn and optim that give comparable answers under PyTorch and here.

A topic (modules.py, functionals.py, ...) has a function answers(torch) that yields (key, answer). An answer is made of
numbers, strings, lists and dictionaries: a tensor becomes [dtype, shape, numbers], an exception "Type: first line".
tools/make_nn_vectors.py stores the answers of PyTorch, test_nn_vectors.py compares.
"""

import math
import re
import warnings

import numpy as np

TOPICS = ("modules", "functionals", "optimizers", "schedulers", "module_api", "nn_utils", "flex_attention")
FEW = 6  # a tensor of so few elements is kept as it is; of a larger one five numbers


class Inputs:
    """Makes input tensors of a torch-like module; equal arguments give equal values."""

    def __init__(self, torch):
        self.torch = torch

    def _array(self, shape, kind):
        seed = 17 + sum((i + 3) * n for i, n in enumerate(shape)) + 101 * len(shape) + len(kind)
        return np.random.RandomState(seed).uniform(-1, 1, shape)

    def x(self, *shape, scale=2.0):
        """Floats between -scale and scale that require grad."""
        values = self._array(shape, "x" * int(4 * scale)) * scale
        return self.torch.tensor(values.tolist(), dtype=self.torch.float32).reshape(shape).requires_grad_()

    def pos(self, *shape):
        """Floats between 0.05 and 0.95 that require grad."""
        values = (self._array(shape, "pos") + 1) * 0.45 + 0.05
        return self.torch.tensor(values.tolist(), dtype=self.torch.float32).reshape(shape).requires_grad_()

    def i(self, *shape, below=3, low=0):
        """Integers in low..below-1."""
        values = low + np.floor((self._array(shape, "i") + 1) / 2 * (below - low)).astype(int)
        return self.torch.tensor(values.tolist(), dtype=self.torch.int64).reshape(shape)

    def sign(self, *shape):
        """Floats that are 1 or -1."""
        values = np.where(self._array(shape, "sign") > 0, 1.0, -1.0)
        return self.torch.tensor(values.tolist()).reshape(shape)


def namespace(torch):
    """What the expressions of cases can name."""
    inputs = Inputs(torch)
    names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "optim": torch.optim, "inf": math.inf}
    return {**names, "x": inputs.x, "pos": inputs.pos, "i": inputs.i, "sign": inputs.sign}


def evaluated(call):
    """What call() gives, as an answer; what it raises, as "Type: first line". Warnings are left out."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return plain(call())
        except Exception as error:
            return describe(error)


def describe(error):
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {plain_text(first.partition(' Please file')[0])}"


def plain_text(text):
    """A text without what depends on the implementation: the package's name, addresses, long hints."""
    text = re.sub(r"rushlight\b", "torch", text)
    text = re.sub(r"at 0x[0-9a-f]+", "at 0x", text)
    return text[:200]


def plain(value):
    """A value as an answer."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return plain_text(value) if len(value) < 100 else re.sub(r"rushlight\b", "torch", value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, complex):
        return [number(value.real), number(value.imag)]
    if hasattr(value, "detach"):
        return tensor(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return plain_text(repr(value))


def number(value):
    """Seven digits; what JSON cannot say becomes a text."""
    return float(f"{value:.7g}") if math.isfinite(value) else str(value)


def tensor(t):
    """[dtype, shape, numbers] (real parts before imaginary ones): all elements of a small tensor; else sum, sum weighted by cosines, sum of the absolute
    values, first and last element."""
    name = str(t.dtype).rpartition(".")[2]
    shape = list(t.shape)
    if t.is_meta:
        return [name, shape, "meta"]
    t = t.detach()
    if t.is_complex():
        values = t.resolve_conj().numpy().astype("complex128").ravel()
        values = np.concatenate([values.real, values.imag])
    else:
        wide = t.double() if t.is_floating_point() else t.long()
        values = wide.reshape(-1).numpy().astype("float64")
    if values.size <= FEW:
        return [name, shape, [number(v) for v in values.tolist()]]
    with np.errstate(all="ignore"):
        sums = [values.sum(), (values * np.cos(np.arange(values.size))).sum(), np.abs(values).sum()]
    return [name, shape, [number(v) for v in (*map(float, sums), float(values[0]), float(values[-1]))]]


# relative tolerances of numbers, by the dtype of the tensor they come from
TOLERANCES = {
    "float64": 2e-6,
    "float32": 2e-5,
    "bfloat16": 0.12,
    "float16": 3e-2,
    "complex64": 2e-5,
    "complex128": 2e-6,
}


def differences(actual, expected, where="", tolerance=2e-5):
    """The places at which two answers differ, as texts. A value where PyTorch has no kernel is no difference."""
    if (
        isinstance(expected, str)
        and expected.startswith("NotImplementedError")
        and not isinstance(actual, str)
    ):
        return []
    if isinstance(expected, dict) and isinstance(actual, dict):
        if list(actual) != list(expected):
            return [f"{where}: keys {list(actual)}, expected {list(expected)}"]
        return [d for k in expected for d in differences(actual[k], expected[k], f"{where}.{k}", tolerance)]
    if _is_tensor(expected) and _is_tensor(actual):
        if actual[:2] != expected[:2]:
            return [f"{where}: {actual[0]} {actual[1]}, expected {expected[0]} {expected[1]}"]
        if all(map(_near, actual[2], expected[2], _tolerances(expected))):
            return []
        return [f"{where}: {actual}, expected {expected}"]
    if isinstance(expected, list) and isinstance(actual, list) and len(actual) == len(expected):
        pairs = enumerate(zip(actual, expected))
        return [d for k, (a, e) in pairs for d in differences(a, e, f"{where}[{k}]", tolerance)]
    if isinstance(expected, str) and isinstance(actual, str):
        # kernels have other names here
        actual, expected = (
            re.sub(r'"\w+" not implemented', "not implemented", text) for text in (actual, expected)
        )
    if _is_number(expected) and _is_number(actual):
        return [] if _near(actual, expected, tolerance) else [f"{where}: {actual}, expected {expected}"]
    return [] if actual == expected else [f"{where}: {actual!r}, expected {expected!r}"]


def _tolerances(expected):
    """How far the numbers of a tensor may be off. Sums may cancel: what counts is the sum of the absolute values."""
    relative = TOLERANCES.get(expected[0], 0)
    size, numbers = math.prod(expected[1]) * (2 if expected[0].startswith("complex") else 1), expected[2]
    finite = [abs(n) for n in numbers if isinstance(n, (int, float))]
    if size <= FEW or len(finite) < len(numbers):
        return [relative * max([*finite, 1e-2])] * len(numbers)
    total, mean = relative * (numbers[2] + 1e-2), 4 * relative * (numbers[2] / size + 1e-2)
    return [total, total, total, mean, mean]


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_tensor(value):
    """Whether a list is what tensor() makes."""
    if not (isinstance(value, list) and len(value) == 3 and isinstance(value[1], list)):
        return False
    return isinstance(value[0], str) and all(isinstance(size, int) for size in value[1])


def _near(a, e, tolerance):
    if isinstance(a, list) and isinstance(e, list):
        return len(a) == len(e) and all(_near(p, q, tolerance) for p, q in zip(a, e))
    if not (_is_number(a) and _is_number(e)):
        return a == e
    return abs(a - e) <= tolerance + tolerance * abs(e)
