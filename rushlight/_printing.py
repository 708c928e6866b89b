"""Printed forms: repr, str and format of tensors, the print options, and the texts of finfo and iinfo.

The values leave the tensor once, as Python numbers (`tolist`); everything after that is text work.
"""

import math
from contextlib import contextmanager

import rushlight as rl

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options = {**_PROFILES["default"], "sci_mode": None}


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Choose how tensors are printed.

    Args:
        precision: digits after the point.
        threshold: tensors with more elements than this are summarised.
        edgeitems: elements shown at each end of a summarised dimension.
        linewidth: characters per line.
        profile: "default", "short" or "full"; explicit arguments win over it.
        sci_mode: True or False forces scientific notation on or off. A call without it goes back to
            None, the automatic choice.
    """
    if profile is not None:
        _options.update(_PROFILES.get(profile, {}))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options.update((name, value) for name, value in given.items() if value is not None)
    _options["sci_mode"] = sci_mode


def get_printoptions():
    """The current print options, as a dict that set_printoptions accepts."""
    return dict(_options)


@contextmanager
def printoptions(**kwargs):
    """Print options for the length of a `with` block.

    >>> with rl.printoptions(precision=2):
    ...     print(rl.tensor([0.125]))
    tensor([0.12])
    """
    before = get_printoptions()
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        _options.update(before)


class _FloatFormat:
    """One column width and one notation (plain, whole numbers, scientific) for a list of floats."""

    def __init__(self, values):
        digits, sci_mode = _options["precision"], _options["sci_mode"]
        shown = [v for v in values if v and v - v == 0]  # finite and not zero
        self.whole, scientific, self.width = True, False, 1
        if shown:
            self.whole = all(v == math.floor(v) for v in shown)
            if sci_mode is None:
                sizes = [abs(v) for v in shown]
                largest, smallest = max(sizes), min(sizes)
                scientific = largest / smallest > 1000.0 or largest > 1e8 or smallest < 1e-4
            else:
                scientific = sci_mode
        if scientific:
            self.whole, self.pattern = False, f"%.{digits}e"
        else:
            self.pattern = "%.0f" if self.whole else f"%.{digits}f"
        if shown:
            self.width = max(1, max(len(self.pattern % v) for v in shown) + self.whole)

    def __call__(self, value):
        text = self.pattern % value
        if self.whole and value - value == 0:
            text += "."
        return text.rjust(self.width)


class _PlainFormat:
    """Right-aligned str() of integers and booleans."""

    def __init__(self, values):
        self.width = max([1, *(len(str(v)) for v in values)])

    def __call__(self, value):
        return str(value).rjust(self.width)


class _ComplexFormat:
    """Real and imaginary parts, each fitted on its own."""

    def __init__(self, values):
        self.real = _FloatFormat([v.real for v in values])
        self.imag = _FloatFormat([v.imag for v in values])
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value):
        imag = self.imag(value.imag).lstrip(" ") + "j"
        return self.real(value.real) + (imag if imag[0] in "+-" else "+" + imag)


def _edges(tensor, edge):
    """Keep the first and last `edge` positions of every longer dimension (longest first: small copies)."""
    for dim in sorted(range(tensor.dim()), key=tensor.size, reverse=True):
        size = tensor.size(dim)
        if edge and size > 2 * edge:
            tensor = rl.cat([tensor.narrow(dim, 0, edge), tensor.narrow(dim, size - edge, edge)], dim)
    return tensor


def _flat(nested, depth):
    for _ in range(depth - 1):
        nested = [item for row in nested for item in row]
    return nested if depth else [nested]


def _layout(values, shape, indent, form, summarise):
    """Nested brackets around the formatted values; `values` holds only the edges when summarising."""
    if not shape:
        return form(values)
    edge = _options["edgeitems"]
    cut = summarise and shape[0] > 2 * edge
    if len(shape) == 1:
        items = [form(value) for value in values]
        if cut:
            items = [*items[:edge], " ..." if edge else "...", *items[edge:]]
        per_line = max(1, (_options["linewidth"] - indent) // (form.width + 2))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [_layout(row, shape[1:], indent + 1, form, summarise) for row in values]
    if cut:
        rows = [*rows[:edge], "...", *rows[edge:]]
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(rows) + "]"


def _body(tensor, indent):
    """The values in brackets; the text starts at column `indent`."""
    if not tensor.numel():
        return "[]"
    summarise = tensor.numel() > _options["threshold"]
    shape = tuple(tensor.shape)
    shown = _edges(tensor, _options["edgeitems"]) if summarise else tensor
    if str(tensor.dtype).startswith("torch.float8"):
        shown = shown.to(rl.float32 if tensor.dtype is rl.float8_e8m0fnu else rl.float16)
    hidden = summarise and shape and not _options["edgeitems"]
    values = [] if hidden else shown.tolist()
    flat = [] if hidden else _flat(values, len(shape))
    if tensor.is_complex():
        form = _ComplexFormat(flat)
    elif tensor.is_floating_point():
        form = _FloatFormat(flat)
    else:
        form = _PlainFormat(flat)
    return _layout(values, shape, indent, form, summarise)


def _dtype_text(tensor, always_exact):
    """`dtype=...` unless it is what a reader would assume."""
    dtype, default = tensor.dtype, rl.get_default_dtype()
    assumed = {default}
    if not always_exact:
        partner = rl.complex128 if default == rl.float64 else rl.complex64
        assumed |= {partner, rl.int64, rl.bool}
    return [] if dtype in assumed else [f"dtype={dtype}"]


def _sparse(tensor, indent, suffixes):
    """Body of a sparse tensor: its parts, each a tensor text of its own."""
    suffixes.append(f"size={tuple(tensor.shape)}")
    if tensor.layout == rl.sparse_coo:
        parts = {"indices": tensor._indices(), "values": tensor._values()}
    elif tensor.layout in (rl.sparse_csr, rl.sparse_bsr):
        parts = {
            "crow_indices": tensor.crow_indices(),
            "col_indices": tensor.col_indices(),
            "values": tensor.values(),
        }
    else:
        parts = {
            "ccol_indices": tensor.ccol_indices(),
            "row_indices": tensor.row_indices(),
            "values": tensor.values(),
        }
    suffixes.append(f"nnz={tensor._nnz()}")
    suffixes += _dtype_text(tensor, always_exact=False)
    lines = []
    for name, part in parts.items():
        prefix = f"{name}=tensor("
        text = prefix + _body(part.detach(), indent + len(prefix))
        lines.append(text + (f", size={tuple(part.shape)}" if not part.numel() else "") + ")")
    return (",\n" + " " * indent).join(lines)


def _quantised(tensor, indent, suffixes):
    """Body of a quantised tensor: the numbers that it stands for."""
    suffixes += [f"size={tuple(tensor.shape)}", f"dtype={tensor.dtype}", f"quantization_scheme={tensor.qscheme()}"]
    if tensor.qscheme() is rl.per_tensor_affine:
        suffixes += [f"scale={tensor.q_scale()}", f"zero_point={tensor.q_zero_point()}"]
    else:
        suffixes += [f"scale={tensor.q_per_channel_scales()}", f"zero_point={tensor.q_per_channel_zero_points()}"]
        suffixes.append(f"axis={tensor.q_per_channel_axis()}")
    return _body(tensor.dequantize(), indent)


def _grad_text(tensor):
    try:
        grad_fn = tensor.grad_fn
        name = grad_fn.name().rsplit("::", 1)[-1] if grad_fn is not None else None
    except RuntimeError:  # a view whose base was changed in a forbidden way
        name = "Invalid"
    if name is not None:
        return [f"grad_fn=<{name}>"]
    return ["requires_grad=True"] if tensor.requires_grad else []


def _join_suffixes(text, suffixes, indent, start_line):
    """Append the suffixes, breaking lines at linewidth."""
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if start_line or column + len(suffix) + 2 > _options["linewidth"]:
            text += ",\n" + " " * indent + suffix
            column, start_line = indent + len(suffix), False
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text


def _text(tensor):
    cls = type(tensor)
    parameter = rl.nn.Parameter
    plain = cls is rl.Tensor or cls is parameter
    prefix = "tensor(" if plain else f"{cls.__name__}("
    indent, suffixes, sparse = len(prefix), [], tensor.layout != rl.strided
    device = tensor.device
    if device.type != "cpu":
        suffixes.append(f"device='{device}'")
    values = tensor.detach()
    if device.type == "meta":
        body = "..."
        suffixes.append(f"size={tuple(tensor.shape)}")
        suffixes += _dtype_text(tensor, always_exact=True)
    elif sparse:
        body = _sparse(values, indent, suffixes)
    elif tensor.is_quantized:
        body = _quantised(values, indent, suffixes)
    elif not tensor.numel():
        body = "[]"
        if tensor.dim() != 1:
            suffixes.append(f"size={tuple(tensor.shape)}")
        suffixes += _dtype_text(tensor, always_exact=True)
    else:
        body = _body(values, indent)
        if not _options["edgeitems"]:
            suffixes.append(f"size={tuple(tensor.shape)}")
        suffixes += _dtype_text(tensor, always_exact=False)
    if sparse:
        suffixes.append(f"layout={tensor.layout}")
    suffixes += _grad_text(tensor)
    text = _join_suffixes(prefix + body, suffixes, indent, start_line=tensor.layout == rl.sparse_coo) + ")"
    return f"Parameter({text})" if isinstance(tensor, parameter) and not plain else text


def tensor_repr(tensor):
    """The text of repr(tensor) and str(tensor). Records nothing and changes nothing."""
    guard = getattr(rl._C, "DisableTorchFunctionSubclass", None)
    if guard is None or type(tensor) is rl.Tensor:
        return _text(tensor)
    with guard():
        return _text(tensor)


def tensor_format(tensor, spec):
    """format(tensor, spec): a plain 0-d tensor formats as its number, others as an object would."""
    if tensor.dim() == 0 and type(tensor) is rl.Tensor and tensor.device.type != "meta":
        return format(tensor.item(), spec)
    if spec:
        raise TypeError(f"unsupported format string passed to {type(tensor).__name__}.__format__")
    return str(tensor)


def finfo_repr(info):
    """Text of a finfo object."""
    names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
    fields = ", ".join(f"{name}={getattr(info, name):g}" for name in names)
    return f"finfo({fields}, dtype={info.dtype})"


def iinfo_repr(info):
    """Text of an iinfo object."""
    return f"iinfo(min={info.min:g}, max={info.max:g}, dtype={info.dtype})"
