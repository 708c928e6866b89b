"""NumPy references of operators whose answer is more than an expression: several outputs, loops, series, views.

`reference(op)` finds the one of an operator of the table: a function here by its key, or the block's own `ref`.
"""

import itertools
import math
import statistics

import numpy as np

from . import samples as _samples

BY_NAME = {}


def _reference(*keys):
    def record(function):
        BY_NAME.update(dict.fromkeys(keys, function))
        return function
        return function

    return record


def reference(op):
    """function(*args, **kwargs) of arrays that computes what op does, or None."""
    if callable(op.ref):
        return op.ref
    if op.key in BY_NAME:
        return BY_NAME[op.key]
    if op.ref:
        code = compile(op.ref, f"<ref of {op.key}>", "eval")
        return lambda *args, **kwargs: eval(code, {"np": np, **_samples.bind(op, args, kwargs)})
    return None


# ---- reductions with several outputs ----
@_reference("max.dim")
def _max_dim(input, dim, keepdim=False):
    return np.max(input, axis=dim, keepdims=keepdim), np.argmax(input, axis=dim, keepdims=keepdim)


@_reference("min.dim")
def _min_dim(input, dim, keepdim=False):
    return np.min(input, axis=dim, keepdims=keepdim), np.argmin(input, axis=dim, keepdims=keepdim)


@_reference("aminmax")
def _aminmax(input, dim=None, keepdim=False):
    return np.min(input, axis=dim, keepdims=keepdim), np.max(input, axis=dim, keepdims=keepdim)


@_reference("var.correction")
def _var(input, dim=None, correction=None, keepdim=False):
    return np.var(input, axis=dim, ddof=1 if correction is None else correction, keepdims=keepdim)


@_reference("std.correction")
def _std(input, dim=None, correction=None, keepdim=False):
    return np.sqrt(_var(input, dim, correction, keepdim))


@_reference("var_mean")
def _var_mean(input, dim=None, unbiased=True, keepdim=False, correction=None):
    return _var(input, dim, int(unbiased) if correction is None else correction, keepdim), np.mean(
        input, axis=dim, keepdims=keepdim
    )


@_reference("std_mean")
def _std_mean(input, dim=None, unbiased=True, keepdim=False, correction=None):
    variance, mean = _var_mean(input, dim, unbiased, keepdim, correction)
    return np.sqrt(variance), mean


def _running(better):
    def compute(input, dim):
        values, indices = np.array(input), np.zeros(input.shape, "int64")
        v, i = np.moveaxis(values, dim, 0), np.moveaxis(indices, dim, 0)
        for k in range(1, len(v)):
            keep = better(v[k - 1], v[k])
            i[k] = np.where(keep, i[k - 1], k)
            v[k] = np.where(keep, v[k - 1], v[k])
        return values, indices

    return compute


BY_NAME["cummax"], BY_NAME["cummin"] = _running(np.greater), _running(np.less)


@_reference("sort")
def _sort(input, dim=-1, descending=False, stable=False):
    order = np.argsort(-input if descending else input, axis=dim, kind="stable")
    return np.take_along_axis(input, order, dim), order


@_reference("sort.stable")
def _sort_stable(input, stable, dim=-1, descending=False):
    return _sort(input, dim, descending)


@_reference("topk")
def _topk(input, k, dim=-1, largest=True, sorted=True):
    values, order = _sort(input, dim, largest)
    return tuple(np.take(a, np.arange(k), axis=dim) for a in (values, order))


def _nth(input, k, dim, keepdim):
    values, order = _sort(input, dim)
    found = [np.take(a, [k], axis=dim) for a in (values, order)]
    return tuple(f if keepdim else np.squeeze(f, dim) for f in found)


@_reference("kthvalue")
def _kthvalue(input, k, dim=-1, keepdim=False):
    return _nth(input, k - 1, dim, keepdim)


@_reference("median.dim", "nanmedian.dim")
def _median(input, dim, keepdim=False):
    return _nth(input, (input.shape[dim] - 1) // 2, dim, keepdim)


@_reference("mode")
def _mode(input, dim=-1, keepdim=False):
    """The smallest of the most frequent values, where it stands last."""

    def one(row):
        values, counts = np.unique(row, return_counts=True)
        return values[np.argmax(counts)]

    values = np.expand_dims(np.apply_along_axis(one, dim, input), dim)
    n = input.shape[dim]
    last = n - 1 - np.argmax(np.flip(input == values, dim), axis=dim, keepdims=True)
    return tuple(a if keepdim else np.squeeze(a, dim) for a in (values, last))


# ---- special functions ----
@_reference("digamma")
def _digamma(input):
    return _polygamma(0, input)


@_reference("polygamma")
def _polygamma(n, input):
    """Recurrence up to large arguments, where the asymptotic series converges."""
    bernoulli = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6]

    def one(x):
        total, sign = 0.0, (-1) ** (n + 1)
        while x < 20:
            total += sign * math.factorial(n) / x ** (n + 1)
            x += 1
        if n == 0:
            return (
                total
                + math.log(x)
                - 1 / (2 * x)
                - sum(b / (2 * k * x ** (2 * k)) for k, b in enumerate(bernoulli, 1))
            )
        series = math.factorial(n - 1) / x**n + math.factorial(n) / (2 * x ** (n + 1))
        for k, b in enumerate(bernoulli, 1):
            series += b * math.factorial(2 * k + n - 1) / (math.factorial(2 * k) * x ** (2 * k + n))
        return total + sign * series

    return np.vectorize(one, otypes=["float64"])(input)


def _inverse_normal(p):
    if not 0 < p < 1:
        return {0: -math.inf, 1: math.inf}.get(p, math.nan)
    return statistics.NormalDist().inv_cdf(p)


@_reference("erfinv")
def _erfinv(input):
    return np.vectorize(lambda y: _inverse_normal((y + 1) / 2) / math.sqrt(2), otypes=["float64"])(input)


@_reference("special_ndtri")
def _ndtri(input):
    return np.vectorize(_inverse_normal, otypes=["float64"])(input)


@_reference("frexp")
def _frexp(input):
    return np.frexp(input)


@_reference("cat", "concat", "concatenate")
def _cat(tensors, dim=0):
    """Empty one-dimensional tensors are left out, whatever the shape of the others."""
    return np.concatenate([t for t in tensors if t.shape != (0,)] or [np.zeros(0)], axis=dim)


@_reference("mvlgamma")
def _mvlgamma(input, p):
    lgamma = np.vectorize(math.lgamma, otypes=["float64"])
    return p * (p - 1) / 4 * math.log(math.pi) + sum(lgamma(input - j / 2) for j in range(p))


@_reference("special_i1")
def _i1(input):
    return sum((input / 2) ** (2 * k + 1) / (math.factorial(k) * math.factorial(k + 1)) for k in range(30))


def _erf(x):
    return np.vectorize(math.erf, otypes=["float64"])(x)


@_reference("gelu_backward")
def _gelu_backward(grad_output, input, approximate="none"):
    x = input
    if approximate == "none":
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return grad_output * ((1 + _erf(x / math.sqrt(2))) / 2 + x * density)
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return grad_output * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


@_reference("gelu")
def _gelu(input, approximate="none"):
    if approximate == "none":
        return input * (1 + _erf(input / math.sqrt(2))) / 2
    return 0.5 * input * (1 + np.tanh(math.sqrt(2 / math.pi) * (input + 0.044715 * input**3)))


@_reference("silu_backward")
def _silu_backward(grad_output, input):
    s = 1 / (1 + np.exp(-input))
    return grad_output * np.conj(s * (1 + input * (1 - s)))


@_reference("logaddexp")
def _logaddexp(input, other):
    if np.iscomplexobj(input):
        return np.log(np.exp(input) + np.exp(other))
    return np.logaddexp(input, other)


@_reference("pow.Tensor_Tensor")
def _pow(input, exponent):
    """Whole numbers to negative powers are truncated."""
    if input.dtype.kind in "iu" and exponent.dtype.kind in "iu":
        return np.trunc(np.float_power(input, exponent)).astype("int64")
    return np.power(input, exponent)


# ---- indices ----
def _positions(index):
    return itertools.product(*map(range, index.shape))


def _scatter(combine):
    def compute(input, dim, index, src, reduce=None, include_self=True):
        out = np.array(input)
        join = combine or {"add": np.add, "multiply": np.multiply, None: lambda _, new: new}[reduce]
        for at in _positions(index):
            to = list(at)
            if out.ndim:
                to[dim] = index[at]
            out[tuple(to)] = join(out[tuple(to)], src if np.ndim(src) == 0 else src[at])
        return out

    return compute


for _key in ("scatter.src", "scatter.value", "scatter.reduce", "scatter.value_reduce"):
    BY_NAME[_key] = _scatter(None)
BY_NAME["scatter_add"] = _scatter(np.add)


@_reference("scatter_reduce")
def _scatter_reduce(input, dim, index, src, reduce, include_self=True):
    out = np.array(input)
    gathered = {}
    for at in _positions(index):
        to = list(at)
        to[dim] = index[at]
        gathered.setdefault(tuple(to), []).append(src[at])
    total = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    for to, values in gathered.items():
        out[to] = total(([out[to]] if include_self else []) + values)
    return out


def _along(input, dim, index, change):
    out = np.array(input)
    moved = np.moveaxis(np.atleast_1d(out), dim, 0)
    for i, k in enumerate(np.atleast_1d(index)):
        change(moved, k, i)
    return out


@_reference("index_add")
def _index_add(input, dim, index, source, alpha=1):
    s = np.moveaxis(np.atleast_1d(source), dim, 0)
    return _along(input, dim, index, lambda m, k, i: m.__setitem__(k, m[k] + alpha * s[i]))


@_reference("index_copy")
def _index_copy(input, dim, index, source):
    s = np.moveaxis(np.atleast_1d(source), dim, 0)
    return _along(input, dim, index, lambda m, k, i: m.__setitem__(k, s[i]))


@_reference("index_fill", "index_fill.Tensor", "index_fill.Scalar")
def _index_fill(input, dim, index, value):
    return _along(input, dim, index, lambda m, k, i: m.__setitem__(k, value))


@_reference("masked_scatter")
def _masked_scatter(input, mask, source):
    mask = np.broadcast_to(mask, np.broadcast_shapes(np.shape(input), np.shape(mask)))
    out = np.array(np.broadcast_to(input, mask.shape))
    out[mask] = np.ravel(source)[: mask.sum()]
    return out


@_reference("put")
def _put(input, index, source, accumulate=False):
    out = np.array(input)
    for k, value in zip(np.ravel(index), np.ravel(source)):
        at = np.unravel_index(k % out.size, out.shape)
        out[at] = out[at] + value if accumulate else value
    return out


@_reference("select_backward")
def _select_backward(grad_output, input_sizes, dim, index):
    out = np.zeros(input_sizes, grad_output.dtype)
    np.moveaxis(out, dim, 0)[index] = grad_output
    return out


@_reference("slice_backward")
def _slice_backward(grad_output, input_sizes, dim, start, end, step):
    out = np.zeros(input_sizes, grad_output.dtype)
    np.moveaxis(out, dim, 0)[start:end:step] = np.moveaxis(grad_output, dim, 0)
    return out


def _softmax(x, dim):
    e = np.exp(x - np.max(x, axis=dim, keepdims=True))
    return e / e.sum(axis=dim, keepdims=True)


@_reference("_softmax")
def _softmax_reference(input, dim, *rest, **options):
    return _softmax(input, dim)


@_reference("_log_softmax")
def _log_softmax_reference(input, dim, *rest, **options):
    return np.log(_softmax(input, dim))


# ---- creation ----
@_reference("scalar_tensor")
def _scalar_tensor(s):
    return np.asarray(s)


@_reference("range")
def _range(start, end, step=1):
    return start + step * np.arange(int((end - start) / step) + 1)


# ---- views ----
@_reference("view.dtype")
def _view_dtype(input, dtype):
    return input.astype("float32").view(_samples.numpy_dtype(dtype))


@_reference("alias", "contiguous")
def _same(input):
    return input


@_reference("expand")
def _expand(input, size, implicit=False):
    shape = (1,) * (len(size) - input.ndim) + input.shape
    return np.broadcast_to(input, [old if n == -1 else n for n, old in zip(size, shape)])


@_reference("select")
def _select(input, dim, index):
    return np.take(input, index, axis=dim)


@_reference("slice")
def _slice(input, dim=0, start=None, end=None, step=1):
    return np.moveaxis(np.moveaxis(input, dim, 0)[start:end:step], 0, dim)


@_reference("narrow")
def _narrow(input, dim, start, length):
    return _slice(input, dim, start, start + length)


@_reference("squeeze.dim")
def _squeeze(input, dim):
    dims = dim if isinstance(dim, tuple) else (dim,)
    return np.squeeze(input, tuple(d for d in dims if input.shape[d] == 1))


@_reference("unfold")
def _unfold(input, dimension, size, step):
    windows = np.lib.stride_tricks.sliding_window_view(input, size, axis=dimension)
    return np.moveaxis(np.moveaxis(windows, dimension, 0)[::step], 0, dimension)


@_reference("as_strided")
def _as_strided(input, size, stride, storage_offset=0):
    flat = np.ravel(input)
    out = np.empty(size, flat.dtype)
    for at in np.ndindex(*size):
        out[at] = flat[storage_offset + sum(i * s for i, s in zip(at, stride))]
    return out


@_reference("split", "split.sizes")
def _split(tensor, split_size, dim=0):
    if isinstance(split_size, tuple):
        return tuple(np.split(tensor, np.cumsum(split_size)[:-1], axis=dim))
    return tuple(np.split(tensor, range(split_size, tensor.shape[dim], split_size), axis=dim))


@_reference("chunk")
def _chunk(input, chunks, dim=0):
    return _split(input, -(-input.shape[dim] // chunks), dim)


@_reference("unbind")
def _unbind(input, dim=0):
    return tuple(np.moveaxis(input, dim, 0))


@_reference("flatten")
def _flatten(input, start_dim=0, end_dim=-1):
    if not input.ndim:
        return input.reshape(1)
    end = end_dim % input.ndim
    return input.reshape(*input.shape[:start_dim], -1, *input.shape[end + 1 :])


@_reference("view_as_real")
def _view_as_real(input):
    return np.stack([input.real, input.imag], -1)


@_reference("view_as_complex")
def _view_as_complex(input):
    return input[..., 0] + 1j * input[..., 1]


# ---- scatter into a slice, splits, searches ----
def _written(input, view, src):
    out = np.array(input)
    view(out)[...] = src
    return out


@_reference("diagonal_scatter")
def _diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    def diagonal(out):
        view = np.diagonal(out, offset, dim1, dim2)
        view.setflags(write=True)
        return view

    return _written(input, diagonal, src)


@_reference("select_scatter")
def _select_scatter(input, src, dim, index):
    return _written(input, lambda out: np.moveaxis(out, dim, 0)[index], src)


@_reference("slice_scatter")
def _slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    return _written(input, lambda out: np.moveaxis(np.moveaxis(out, dim, 0)[start:end:step], 0, dim), src)


@_reference("diagonal_copy")
def _diagonal_copy(input, offset=0, dim1=0, dim2=1):
    return np.diagonal(input, offset, dim1, dim2)


@_reference("diag_embed")
def _diag_embed(input, offset=0, dim1=-2, dim2=-1):
    n = input.shape[-1] + abs(offset)
    out = np.zeros((*input.shape[:-1], n, n), input.dtype)
    i = np.arange(input.shape[-1])
    out[..., i + max(-offset, 0), i + max(offset, 0)] = input
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


@_reference("where.condition")
def _where_condition(condition):
    return np.nonzero(condition)


@_reference("linspace.Tensor_Tensor")
def _linspace(start, end, steps):
    return np.linspace(start, end, steps)


@_reference("repeat_interleave.self_Tensor")
def _repeat_interleave(input, repeats, dim=None, output_size=None):
    return np.repeat(input, repeats, axis=dim)


@_reference("tensor_split.sections", "tensor_split.indices")
def _tensor_split(input, parts, dim=0):
    return tuple(np.array_split(input, parts, axis=dim))


for _key, _axis in {"hsplit": 1, "vsplit": 0, "dsplit": 2}.items():
    BY_NAME[f"{_key}.int"] = BY_NAME[f"{_key}.array"] = lambda input, parts, axis=_axis: tuple(
        np.split(input, parts, axis=axis)
    )


@_reference("searchsorted")
def _searchsorted(sorted_sequence, input, out_int32=False, right=False, side=None, sorter=None):
    return np.searchsorted(sorted_sequence, input, "right" if right or side == "right" else "left")


@_reference("bucketize")
def _bucketize(input, boundaries, out_int32=False, right=False):
    return np.searchsorted(boundaries, input, "right" if right else "left")


@_reference("histc")
def _histc(input, bins=100, min=0, max=0):
    low, high = (min, max) if min != max else (input.min(), input.max())
    return np.histogram(input, bins, (low, high))[0]


# ---- linear algebra ----
@_reference("linalg_cholesky_ex")
def _cholesky_ex(A, upper=False, check_errors=False):
    lower = np.linalg.cholesky(A)
    return (np.swapaxes(lower, -1, -2) if upper else lower), np.zeros(A.shape[:-2], "int32")


@_reference("linalg_inv_ex")
def _inv_ex(A, check_errors=False):
    return np.linalg.inv(A), np.zeros(A.shape[:-2], "int32")


@_reference("linalg_slogdet")
def _slogdet(A):
    return np.linalg.slogdet(A)


@_reference("linalg_solve_ex")
def _solve_ex(A, B, left=True, check_errors=False):
    vector = B.ndim == 1
    x = np.linalg.solve(A, B[:, None] if vector else B)
    return (x[:, 0] if vector else x), np.zeros(A.shape[:-2], "int32")


# ---- operators made of others ----
@_reference("diff.py")
def _diff(input, n=1, dim=-1):
    return np.diff(input, n, dim)


@_reference("quantile.py")
def _quantile(input, q, dim=None, keepdim=False):
    return np.quantile(input, q, axis=dim, keepdims=keepdim)


@_reference("nanmean.py")
def _nanmean(input, dim=None):
    return np.nanmean(input, axis=dim)


@_reference("trapezoid.py")
def _trapezoid(y, dx=1.0):
    return ((y[..., 1:] + y[..., :-1]) * dx / 2).sum(-1)


@_reference("cumulative_trapezoid.py")
def _cumulative_trapezoid(y, dx=1.0):
    return np.cumsum((y[..., 1:] + y[..., :-1]) * dx / 2, -1)


@_reference("dist.py")
def _dist(input, other, p=2):
    return (np.abs(input - other) ** p).sum() ** (1 / p)


@_reference("cdist.py")
def _cdist(x1, x2, p=2.0):
    return (np.abs(x1[..., :, None, :] - x2[..., None, :, :]) ** p).sum(-1) ** (1 / p)


@_reference("cross.py")
def _cross(input, other, dim=-1):
    return np.cross(input, other, axis=dim)


@_reference("einsum.py")
def _einsum(equation, *operands):
    return np.einsum(equation, *operands)


from . import references_nn as references_nn  # noqa: E402  (adds its own to BY_NAME)
