"""The same calls in rushlight and in PyTorch, where it is installed: the same exception type, or the same dtypes, shapes
and values; the same first derivatives.
"""

import functools
import warnings

import numpy as np
import pytest

import rushlight as rl
from rushlight.testing.samples import FUNCTION, op_table, samples

torch = pytest.importorskip("torch")

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64"]
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float64": 1e-9, "complex128": 1e-9}
PLACES = [torch, torch.nn.functional, torch.special, torch.linalg, torch.fft, torch._C._nn]
# Differences on purpose; the reason beside each.
TIES = "which of several equal elements is named is nobody's promise"
KNOWN = {
    "heaviside": "its result does not require grad here, where PyTorch has no formula either",
    "bincount": "its result does not require grad here, where PyTorch has no formula either",
    **{(op, dtype): TIES for op in ("topk", "kthvalue", "median.dim", "nanmedian.dim") for dtype in ("int64", "int32", "uint8")},
    ("threshold", "uint8"): "a number out of range wraps instead of raising",
    "adaptive_max_pool2d": "the core's form returns indices too",
    "convolution": "one number stands for a list",
}  # fmt: skip
OTHER_NAMES = {
    "scaled_dot_product_attention",
    "inner",
    "matmul",
    "ldexp",
    "mvlgamma",
    "special_ndtr",
}  # grad_fn of composites: the last operator of another decomposition


def find(name):
    """The function of that name in torch, or None."""
    for prefix, place in (("special_", torch.special), ("linalg_", torch.linalg), ("fft_", torch.fft)):
        if name.startswith(prefix):
            return getattr(place, name.removeprefix(prefix), None)
    for place in PLACES:
        if hasattr(place, name) and callable(getattr(place, name)):
            return getattr(place, name)
    if hasattr(torch.Tensor, name):
        return lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)
    return None


def to_torch(value):
    if isinstance(value, rl.Tensor):
        plain = value.detach()
        plain = plain.float() if value.dtype == rl.bfloat16 else plain
        t = torch.from_numpy(plain.resolve_conj().numpy().copy())
        return t.to(torch_dtype(value.dtype)).requires_grad_(value.requires_grad)
    if isinstance(value, rl.dtype):
        return torch_dtype(value)
    if isinstance(value, (list, tuple)):
        return type(value)(to_torch(v) for v in value)
    return value


def torch_dtype(dtype):
    return getattr(torch, str(dtype).rpartition(".")[2])


def flat(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def outcome(function, args, kwargs):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return flat(function(*args, **kwargs))
        except Exception as error:
            return error


def array(t):
    t = t.detach().resolve_conj().clone()
    name = str(t.dtype).rpartition(".")[2]
    if name in ("bfloat16", "float16"):
        t = t.float()
    elif name == "complex32":
        t = t.to(torch.complex64 if isinstance(t, torch.Tensor) else rl.complex64)
    return t.numpy()


def compare(actual, expected, text, dtype):
    missing_kernel = isinstance(expected, NotImplementedError) or isinstance(actual, NotImplementedError)
    if missing_kernel and dtype not in ("float32", "float64"):
        return  # a dtype that only one of the two knows for this operator
    if isinstance(expected, Exception) or isinstance(actual, Exception):
        assert isinstance(actual, Exception), f"{text}: torch raises {expected!r}"
        assert isinstance(expected, Exception), f"{text}: raises {actual!r}"
        family = {type(actual).__name__, type(expected).__name__}
        assert len(family) == 1 or family == {"RuntimeError", "NotImplementedError"}, (
            f"{text}: {actual!r}, {expected!r}"
        )
        return
    assert len(actual) == len(expected), text
    for a, e in zip(actual, expected):
        if not isinstance(e, torch.Tensor):
            assert a == e, text
            continue
        assert (str(a.dtype), tuple(a.shape)) == (str(e.dtype), tuple(e.shape)), text
        tolerance = max(
            TOLERANCE.get(dtype, 2e-5),
            TOLERANCE.get(
                str(e.dtype).rpartition(".")[2], 2e-5 if e.is_floating_point() or e.is_complex() else 0
            ),
        )
        if not (e.is_floating_point() or e.is_complex()):
            tolerance = 0
        np.testing.assert_allclose(array(a), array(e), rtol=tolerance, atol=tolerance, err_msg=text)


def grad_names(outs):
    return [type(o.grad_fn).__name__.rstrip("0123456789") for o in outs]


OPS = [
    op for op in op_table()
    if op.texts and not op.mutates and not op.name.startswith("_") and op.forms & FUNCTION and find(op.name)
    and not any(p.type == "Generator" for p in op.params)
]  # fmt: skip
# Their samples follow the core's own signature, or their answer is unique only up to a sign.
OWN_SIGNATURE = {"elu", "celu", "linalg_svd", "linalg_eigh", "linalg_qr", "to_dtype", "huber_loss", "smooth_l1_loss",
                 "nll_loss", "mse_loss", "layer_norm", "group_norm", "batch_norm", "embedding", "im2col", "col2im"}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [op for op in OPS if op.name not in OWN_SIGNATURE], ids=lambda op: op.key)
def test_values(op, dtype):
    if (op.key, dtype) in KNOWN or op.key in KNOWN:
        pytest.skip(KNOWN.get((op.key, dtype), KNOWN.get(op.key)))
    if op.family == "create" and dtype != "float32":
        pytest.skip("creation does not depend on an input's dtype")
    for sample in samples(op):
        args, kwargs = sample.tensors(getattr(rl, dtype))
        expected = outcome(find(op.name), to_torch(args), {k: to_torch(v) for k, v in kwargs.items()})
        actual = outcome(functools.partial(getattr(rl, op.name, op.call)), args, kwargs)
        compare(actual, expected, f"{sample.text} {dtype}", dtype)


@pytest.mark.parametrize(
    "op", [op for op in OPS if op.name not in OWN_SIGNATURE and op.family != "create"], ids=lambda op: op.key
)
def test_derivatives(op):
    if op.key in KNOWN:
        pytest.skip(KNOWN[op.key])
    for sample in samples(op):
        args, kwargs = sample.tensors(rl.float64)
        leaves = [a.requires_grad_() for a in args if isinstance(a, rl.Tensor) and a.is_floating_point()]
        theirs = to_torch(args)
        their_leaves = [a for a in theirs if isinstance(a, torch.Tensor) and a.requires_grad]
        actual = outcome(op.call, args, kwargs)
        expected = outcome(find(op.name), theirs, {k: to_torch(v) for k, v in kwargs.items()})
        if isinstance(actual, Exception) or isinstance(expected, Exception):
            compare(actual, expected, sample.text, "float64")
            continue
        outs = [o for o in actual if isinstance(o, rl.Tensor) and o.requires_grad]
        their_outs = [o for o in expected if isinstance(o, torch.Tensor) and o.requires_grad]
        assert len(outs) == len(their_outs), sample.text
        if not outs:
            continue
        if op.name not in OTHER_NAMES:  # the digit counts overloads, which are cut differently here
            assert grad_names(outs) == grad_names(their_outs), sample.text
        if not outs:
            continue
        grads = outcome(
            rl.autograd.grad, (outs, leaves, [rl.ones_like(o) for o in outs]), {"allow_unused": True}
        )
        ones = [torch.ones_like(o) for o in their_outs]
        theirs = outcome(torch.autograd.grad, (their_outs, their_leaves, ones), {"allow_unused": True})
        if isinstance(grads, Exception) or isinstance(theirs, Exception):
            compare(grads, theirs, sample.text, "float64")
            continue
        for g, t in zip(grads, theirs):
            assert (g is None) == (t is None), sample.text
            if g is not None:
                np.testing.assert_allclose(array(g), array(t), rtol=1e-7, atol=1e-9, err_msg=sample.text)
