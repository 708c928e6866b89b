"""assert_close: two tensors, arrays, numbers or nested containers of them are equal within tolerances."""

import cmath
import collections.abc
import numbers

import numpy as np

from .. import _C

Tensor = _C.Tensor

# dtype -> (rtol, atol); everything else is compared exactly
_TOLERANCES = {
    _C.float16: (1e-3, 1e-5),
    _C.bfloat16: (1.6e-2, 1e-5),
    _C.float32: (1.3e-6, 1e-5),
    _C.float64: (1e-7, 1e-7),
    _C.complex32: (1e-3, 1e-5),
    _C.complex64: (1.3e-6, 1e-5),
    _C.complex128: (1e-7, 1e-7),
}
_NUMBER_DTYPES = {bool: _C.bool, int: _C.int64, float: _C.float64, complex: _C.complex128}


def assert_close(
    actual,
    expected,
    *,
    allow_subclasses=True,
    rtol=None,
    atol=None,
    equal_nan=False,
    check_device=True,
    check_dtype=True,
    check_layout=True,
    check_stride=False,
    msg=None,
):
    """Raises AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere.

    Sequences and mappings are compared item by item.

    Args:
        rtol, atol: both or neither; by default they depend on the dtype.
        equal_nan: nan equals nan.
        msg: the error's text, or a function from the generated text to one.

    >>> rl.testing.assert_close(rl.tensor([1.0, 2.0]), rl.tensor([1.0, 2.0 + 1e-7]))
    """
    __tracebackhide__ = True
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {'rtol' if rtol is None else 'atol'}."
        )
    options = _Options(
        allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_layout, check_stride
    )
    try:
        _compare(actual, expected, (), options)
    except _Mismatch as mismatch:
        text = str(mismatch)
    else:
        return
    raise AssertionError(msg(text) if callable(msg) else msg if msg is not None else text)


class _Mismatch(Exception):
    pass


class _Options:
    def __init__(self, *values):
        (self.allow_subclasses, self.rtol, self.atol, self.equal_nan, self.device, self.dtype, self.layout,
         self.stride) = values  # fmt: skip

    def tolerances(self, *dtypes):
        if self.rtol is not None:
            return self.rtol, self.atol
        return tuple(max(values) for values in zip(*(_TOLERANCES.get(d, (0.0, 0.0)) for d in dtypes)))


def _fail(text, path):
    where = "".join(f"[{key!r}]" for key in path)
    raise _Mismatch(text + (f"\n\nThe failure occurred for item {where}" if path else ""))


def _compare(actual, expected, path, options):
    sequences = collections.abc.Sequence
    if isinstance(actual, sequences) and isinstance(expected, sequences) and not isinstance(actual, str):
        if len(actual) != len(expected):
            _fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", path)
        for i, (a, e) in enumerate(zip(actual, expected)):
            _compare(a, e, (*path, i), options)
    elif isinstance(actual, collections.abc.Mapping) and isinstance(expected, collections.abc.Mapping):
        missing, additional = set(expected) - set(actual), set(actual) - set(expected)
        if missing or additional:
            _fail(f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {_sorted(missing)}\n"
                  f"Additional keys in the actual mapping: {_sorted(additional)}", path)  # fmt: skip
        for key in _sorted(actual):
            _compare(actual[key], expected[key], (*path, key), options)
    elif actual is None or expected is None:
        if actual is not expected:
            _fail(f"None mismatch: {actual} is not {expected}", path)
    elif _is_bool(actual) and _is_bool(expected):
        if bool(actual) is not bool(expected):
            _fail(f"Booleans mismatch: {bool(actual)} is not {bool(expected)}", path)
    elif _is_number(actual) and _is_number(expected):
        _compare_numbers(actual, expected, path, options)
    else:
        _compare_tensors(actual, expected, path, options)


def _sorted(keys):
    try:
        return sorted(keys)
    except TypeError:
        return list(keys)


def _is_bool(x):
    return isinstance(x, (bool, np.bool_))


def _is_number(x):
    return isinstance(x, (numbers.Number, np.number)) and not isinstance(x, np.ndarray)


def _compare_numbers(actual, expected, path, options):
    actual, expected = (x.item() if isinstance(x, np.generic) else x for x in (actual, expected))
    if options.dtype and type(actual) is not type(expected):
        _fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.", path)
    rtol, atol = options.tolerances(*(_NUMBER_DTYPES.get(type(x), _C.float64) for x in (actual, expected)))
    nan = cmath.isnan(actual) and cmath.isnan(expected)
    if actual == expected or (nan and options.equal_nan):
        return
    difference, size = abs(actual - expected), abs(expected)
    if cmath.isfinite(difference) and difference <= atol + rtol * size:
        return
    relative = difference / size if size else float("inf")
    _fail(_number_report(actual, expected, difference, relative, rtol, atol), path)


def _number_report(actual, expected, difference, relative, rtol, atol):
    exact = not rtol and not atol
    return "\n".join([
        f"Scalars are not {'equal' if exact else 'close'}!",
        "",
        f"Expected {expected} but got {actual}.",
        f"Absolute difference: {difference}" + ("" if exact else f" (up to {atol} allowed)"),
        f"Relative difference: {relative}" + ("" if exact else f" (up to {rtol} allowed)"),
    ])  # fmt: skip


def _as_tensor(x, other, options):
    if isinstance(x, Tensor):
        if not options.allow_subclasses and type(x) is not type(other):
            raise _no_pair(x, other)
        return x
    if isinstance(x, np.ndarray):
        return _C.from_numpy(np.ascontiguousarray(x).copy().reshape(x.shape))
    raise _no_pair(x, other)


def _no_pair(actual, expected):
    return TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )


def _compare_tensors(actual, expected, path, options):
    if isinstance(actual, np.ndarray) != isinstance(expected, np.ndarray):
        raise _no_pair(actual, expected)
    try:
        a, e = _as_tensor(actual, expected, options), _as_tensor(expected, actual, options)
    except TypeError:
        raise _no_pair(actual, expected) from None
    checks = [
        ("shape", lambda t: t.shape, True),
        ("device", lambda t: t.device, options.device),
        ("layout", lambda t: t.layout, options.layout),
        ("stride()", lambda t: t.stride(), options.stride),
        ("dtype", lambda t: t.dtype, options.dtype),
    ]
    for name, read, wanted in checks:
        if wanted and read(a) != read(e):
            _fail(f"The values for attribute '{name}' do not match: {read(a)} != {read(e)}.", path)
    tolerances = options.tolerances(a.dtype, e.dtype)
    if a.layout is e.layout and a.layout is not _C.strided:
        _compare_sparse(a, e, tolerances, path, options)
    else:
        _compare_values(a.to_dense(), e.to_dense(), tolerances, "Tensor-likes", path, options)


def _compare_sparse(a, e, tolerances, path, options):
    """Tensors of the same sparse layout part by part: the indices have to be equal, the values close."""
    layout = str(a.layout)[len("torch.sparse_") :].upper()
    if a._nnz() != e._nnz():
        _fail(f"The number of specified values in sparse {layout} tensors does not match: {a._nnz()} != {e._nnz()}", path)
    names = {"COO": ("_indices",), "CSR": ("crow_indices", "col_indices"), "BSR": ("crow_indices", "col_indices")}
    for name in names.get(layout, ("ccol_indices", "row_indices")):
        x, y = (getattr(t.detach(), name)() for t in (a, e))
        _compare_values(x, y, (0.0, 0.0), f"Sparse {layout} {name.lstrip('_')}", path, options)
    _compare_values(a._values(), e._values(), tolerances, f"Sparse {layout} values", path, options)


def _compare_values(a, e, tolerances, what, path, options):
    rtol, atol = tolerances
    dtype = _C.promote_types(a.dtype, e.dtype)
    x, y = _array(a, dtype), _array(e, dtype)
    with np.errstate(all="ignore"):
        different = _distance(x, y)
        size = np.abs(y) if y.dtype.kind in "fc" else np.abs(y.astype("float64"))
        close = (x == y) | (np.isfinite(different) & (different <= atol + rtol * size))
        if options.equal_nan and x.dtype.kind in "fc":
            close |= np.isnan(x) & np.isnan(y)
        if close.all():
            return
        if not a.ndim:
            _fail(
                _number_report(
                    a.item(), e.item(), different.item(), _relative(different, size, dtype).item(), rtol, atol
                ),
                path,
            )
        _fail(_report(what, different, size, ~close, rtol, atol, dtype), path)


def _array(t, dtype):
    t = t.detach().cpu().to(dtype)
    if dtype == _C.complex32:
        t = t.to(_C.complex64)
    elif dtype == _C.bfloat16 or str(dtype).startswith("torch.float8"):
        t = t.float()
    return t.resolve_conj().numpy()


def _distance(x, y):
    """|x - y|, whole numbers without overflow."""
    if x.dtype.kind == "b":
        return (x != y).astype("int64")
    if x.dtype.kind in "iu":
        larger, smaller = np.maximum(x, y).astype("int64"), np.minimum(x, y).astype("int64")
        return larger - smaller
    if x.dtype == np.float16:
        x, y = x.astype("float32"), y.astype("float32")
    return np.abs(x - y)


def _relative(different, size, dtype):
    """In the precision of the dtype compared, where that is a float."""
    if different.dtype.kind != "f" or dtype in (_C.float64, _C.complex128):
        return different / size
    quotient = np.asarray(different / size, dtype="float32")
    short = dtype if dtype in (_C.float16, _C.bfloat16) else _C.float32
    return _C.from_numpy(quotient).to(short).float().numpy()


def _report(what, different, size, wrong, rtol, atol, dtype):
    count, total = int(wrong.sum()), wrong.size
    relative = _relative(different, size, dtype)
    lines = [f"{what} are not {'close' if rtol or atol else 'equal'}!", "",
             f"Mismatched elements: {count} / {total} ({count / total:.1%})"]  # fmt: skip
    for name, values, allowed in (("absolute", different, atol), ("relative", relative, rtol)):
        values = np.where(wrong, values, 0 if values.dtype.kind == "i" else 0.0)
        at = int(np.argmax(values)) if values.size else 0  # nan counts as the largest
        index = tuple(int(i) for i in np.unravel_index(at, values.shape))
        suffix = f" (up to {allowed} allowed)" if rtol or atol else ""
        lines.append(f"Greatest {name} difference: {values[index].item()} at index {index}{suffix}")
    return "\n".join(lines)
