"""sparse_coo_tensor() and the constructors of compressed layouts, with PyTorch's checks of what they are given."""

import warnings

from .. import _C
from .._C import Tensor
from ..autograd.function import Function, recorded_as
from ..misc import is_warn_always_enabled
from . import _tensors
from ._tensors import COMPRESSED, LAYOUT_NAMES, compressed, coo, flatten, is_sparse, parts

_check_by_default = False
_told = set()


class check_sparse_tensor_invariants:  # noqa: N801  (PyTorch's name)
    """Whether constructors of sparse tensors check that indices are in range and in order.

    A context manager and a decorator; enable(), disable() and is_enabled() change and tell the default.
    """

    def __init__(self, enable=True):
        self.state = enable
        self.before = None

    @staticmethod
    def is_enabled():
        """Whether checks are made where a constructor is not told."""
        return _check_by_default

    @staticmethod
    def enable():
        """Check from now on."""
        global _check_by_default
        _check_by_default = True
        _told.add("checks")

    @staticmethod
    def disable():
        """Do not check from now on."""
        global _check_by_default
        _check_by_default = False
        _told.add("checks")

    def __enter__(self):
        if self.before is not None:
            raise RuntimeError("This context manager instance is already activated. Use a different context manager "
                               "instance for context nesting.")  # fmt: skip
        self.before = self.is_enabled()
        self.enable() if self.state else self.disable()

    def __exit__(self, *exc):
        self.enable() if self.before else self.disable()
        self.before = None

    def __call__(self, function):
        def checked(*args, **kwargs):
            with type(self)(self.state):
                return function(*args, **kwargs)

        return checked


def _once(key, text):
    if key not in _told or is_warn_always_enabled():
        _told.add(key)
        warnings.warn(text, UserWarning, stacklevel=4)


def wants_checks(given):
    """Whether to check; says once that nobody decided."""
    if given is None:
        _once("checks", "Sparse invariant checks are implicitly disabled. Memory errors (e.g. SEGFAULT) will occur when "
              "operating on a sparse tensor which violates the invariants, but checks incur performance overhead. To "
              "silence this warning, explicitly opt in or out. See `torch.sparse.check_sparse_tensor_invariants.__doc__` "
              "for guidance. ")  # fmt: skip
        return _check_by_default
    return given


def warn_beta(layout):
    """Compressed layouts say once, as in PyTorch, that they are young."""
    name = str(layout).split(".")[-1].removeprefix("sparse_").upper()
    _once("beta", f"Sparse {name} tensor support is in beta state. If you miss a functionality in the sparse tensor "
          "support, please submit a feature request to https://github.com/pytorch/pytorch/issues.")  # fmt: skip


def _data(x, dtype=None):
    return (
        x
        if isinstance(x, Tensor) and dtype is None
        else (x.to(dtype) if isinstance(x, Tensor) else _C.tensor(x, dtype=dtype))
    )


def _range_error(indices, sizes):
    """The complaint about an index outside of sizes, None if there is none."""
    for d, row in enumerate(indices.unbind(0)):
        if row.numel() and int(row.min()) < 0:
            return f"found negative index {int(row.min())} for dim {d}"
        if sizes is not None and row.numel() and int(row.max()) >= sizes[d]:
            return f"size is inconsistent with indices: for dim {d}, size is {sizes[d]} but found index {int(row.max())}"
    return None


def coo_from_data(indices, values, size, dtype, check_invariants, is_coalesced):
    """The COO tensor of given indices and values, after PyTorch's checks. Values keep no history here."""
    indices = _data(indices)
    values = _data(values, dtype)
    if values.dim() == 0:
        values = values.reshape(1)
    indices = indices.detach().to(_C.int64)
    if is_sparse(indices) or is_sparse(values):
        raise RuntimeError("sparse_coo_tensor: indices and values must be strided tensors")
    if indices.dim() != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if indices.shape[1] != values.shape[0]:
        raise RuntimeError(f"indices and values must have same nnz, but got nnz from indices: {indices.shape[1]}, nnz from "
                           f"values: {values.shape[0]}")  # fmt: skip
    depth, dense = indices.shape[0], tuple(values.shape[1:])
    if size is None:
        if wrong := _range_error(indices, None):
            raise RuntimeError(wrong)
        size = tuple(int(row.max()) + 1 if row.numel() else 0 for row in indices.unbind(0)) + dense
    else:
        size = tuple(size)
        if len(size) != depth + len(dense):
            raise RuntimeError("'len(size) == sparse_dim + dense_dim' is not satisfied: "
                               f"len(size) = {len(size)}, sparse_dim = {depth}, dense_dim = {len(dense)}")  # fmt: skip
        if size[depth:] != dense:
            expected = [values.shape[0], *size[depth:]]
            raise RuntimeError(f"values has incorrect size, expected {expected}, got {list(values.shape)}")
        if any(n < 0 for n in size):
            raise RuntimeError(f"found negative dimension in size {list(size)}")
        if wants_checks(check_invariants):
            if wrong := _range_error(indices, size):
                raise RuntimeError(wrong)
            if is_coalesced:
                flat = flatten(indices, size[:depth])
                if not bool((flat[1:] > flat[:-1]).all()):
                    raise RuntimeError(
                        "cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor"
                    )
    return coo(indices, values, size, bool(is_coalesced))


def empty_coo(size, dtype):
    """A COO tensor without elements."""
    size = tuple(size)
    if any(n < 0 for n in size):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(size)}: {list(size)}")
    return coo(_C.empty((len(size), 0), dtype=_C.int64), _C.empty(0, dtype=dtype), size, True)


def compressed_from_data(layout, starts, plain, values, size, dtype, check_invariants):
    """The compressed tensor of given parts, after PyTorch's checks."""
    starts, plain, values = _data(starts), _data(plain), _data(values, dtype)
    if is_sparse(starts) or is_sparse(plain) or is_sparse(values):
        raise RuntimeError("the parts of a sparse tensor must be strided tensors")
    by_row, blocked = layout in (_C.sparse_csr, _C.sparse_bsr), layout in (_C.sparse_bsr, _C.sparse_bsc)
    first, second = ("crow_indices", "col_indices") if by_row else ("ccol_indices", "row_indices")
    if starts.dim() != plain.dim():
        raise RuntimeError(f"{first} and {second} dimensionalities must be equal but got {starts.dim()} and {plain.dim()}, "
                           "respectively")  # fmt: skip
    batch = plain.dim() - 1
    if batch < 0 or starts.shape[-1] < 1:
        raise RuntimeError(f"{first} must have dimensionality >= 1 but got {starts.dim()}")
    if values.dim() < batch + 1 + 2 * blocked:
        raise RuntimeError(f"values must have dimensionality > sum of batch and block dimensionalities (={batch} + "
                           f"{2 * blocked}) but got {values.dim()}")  # fmt: skip
    block = tuple(values.shape[batch + 1 : batch + 3]) if blocked else (1, 1)
    if size is None:
        lengths = [starts.shape[-1] - 1, int(plain.max()) + 1 if plain.numel() else 0]
        if not by_row:
            lengths.reverse()
        dense = values.shape[batch + 1 + 2 * blocked :]
        size = (*plain.shape[:-1], lengths[0] * block[0], lengths[1] * block[1], *dense)
    size = tuple(size)
    if wants_checks(check_invariants):
        _check_compressed(starts, plain, values, size, batch, block, by_row, first, second)
    if starts.dtype not in (_C.int32, _C.int64) or plain.dtype not in (_C.int32, _C.int64):
        starts, plain = starts.to(_C.int64), plain.to(_C.int64)
    made = compressed(layout, starts, plain, values, size)
    warn_beta(layout)
    return made


def _check_compressed(starts, plain, values, size, batch, block, by_row, first, second):
    def need(truth, text):
        if not truth:
            raise RuntimeError(text)

    need(len(size) >= batch + 2, f"tensor dimensionality must be sum of batch, base, and dense dimensionalities (={batch} + "
         f"2 + 0) but got {len(size)}")  # fmt: skip
    rows, columns = size[batch] // max(block[0], 1), size[batch + 1] // max(block[1], 1)
    groups, across = (rows, columns) if by_row else (columns, rows)
    names = ("rows", "ncols") if by_row else ("columns", "nrows")
    nnz = values.shape[batch]
    need(plain.shape[-1] == nnz, f"{second}.shape[-1] must be equal to nnz (={nnz}) as defined by values.shape[{batch}], but "
         f"got {plain.shape[-1]}")  # fmt: skip
    need(starts.shape[-1] == groups + 1, f"{first}.shape[-1] must be equal to the number of {names[0]} + 1 (={groups + 1}), "
         f"but got {starts.shape[-1]}")  # fmt: skip
    kinds = {_C.int32: "Int", _C.int64: "Long", _C.float32: "Float", _C.float64: "Double"}
    need(starts.dtype == plain.dtype, f"{first} and {second} must have the same dtype, bot got "
         f"{kinds.get(starts.dtype, starts.dtype)} and {kinds.get(plain.dtype, plain.dtype)}, respectively")  # fmt: skip
    need(starts.dtype in (_C.int32, _C.int64), f"{first} and {second} must be an int32 or int64 type, but got: "
         f"{kinds.get(starts.dtype, starts.dtype)}")  # fmt: skip
    need(bool((starts[..., 0] == 0).all()), f"`{first}[..., 0] == 0` is not satisfied.")
    need(bool((starts[..., -1] == nnz).all()), f"`{first}[..., -1] == nnz` is not satisfied.")
    lengths = starts.diff(dim=-1)
    need(bool(((lengths >= 0) & (lengths <= across)).all()), f"`0 <= {first}[..., 1:] - {first}[..., :-1] <= {names[1]}` is "
         "not satisfied.")  # fmt: skip
    if not plain.numel():
        return
    need(
        int(plain.min()) >= 0 and int(plain.max()) < across, f"`0 <= {second} < {names[1]}` is not satisfied."
    )
    group = (
        _C.arange(groups)
        .repeat(plain[..., 0].numel())
        .repeat_interleave(lengths.reshape(-1))
        .reshape(plain.shape)
    )
    ordered = (plain[..., 1:] > plain[..., :-1]) | (group[..., 1:] != group[..., :-1])
    need(bool(ordered.all()), f"`{second}[..., {first}[..., i - 1]:{first}[..., i]] for all i = 1, ..., n{names[0]} are sorted "
         "and distinct along the last dimension values` is not satisfied.")  # fmt: skip


class _Make(Function):
    """A sparse tensor from values; every one of them takes the gradient of its coordinate."""

    @staticmethod
    def forward(ctx, values, build):
        made = build(values)
        ctx.pattern, ctx.shape = made, values.shape
        return made.detach()

    @staticmethod
    def backward(ctx, grad):
        dense = grad.to_dense()
        return _tensors.gather(dense, parts(_tensors.as_coo(ctx.pattern)).indices).reshape(ctx.shape), None


@recorded_as("SparseCooTensorWithDimsAndTensorsBackward0")
class _MakeCoo(_Make):
    pass


@recorded_as("SparseCompressedTensorBackward0")
class _MakeCompressed(_Make):
    pass


def _made(function, build, values, requires_grad, device):
    if device is not None and _C.device(device).type != "cpu":
        raise NotImplementedError(f"sparse tensors on the device {device} are not implemented")
    if isinstance(values, Tensor) and values.requires_grad and _C.is_grad_enabled():
        made = function.apply(values, build)
        return made.detach().requires_grad_() if requires_grad else made
    return build(values).requires_grad_(requires_grad)


def sparse_coo_tensor(
    *args, dtype=None, device=None, requires_grad=False, check_invariants=None, is_coalesced=None, **named
):
    """sparse_coo_tensor(indices, values, size=None) or sparse_coo_tensor(size): a tensor in coordinate layout.

    Args:
        indices: (sparse_dim, nnz) coordinates; values of equal coordinates are added up.
        values: (nnz, *dense sizes); gradients flow back to it.
        size: sizes of the tensor; without it the smallest that fit.
        check_invariants: check the indices against size (default: check_sparse_tensor_invariants.is_enabled()).
        is_coalesced: says that the coordinates are in order and distinct.
    """
    names = ("indices", "values", "size")
    given = dict(zip(("size",) if len(args) == 1 and not named.get("values") else names, args))
    if (
        len(args) > 3
        or set(named) - set(names) - {"layout", "pin_memory"}
        or set(given) & set(named)
        or not {*given, *named}
    ):
        shown = ", ".join(
            [type(a).__name__ for a in args] + [f"{k}={type(v).__name__}" for k, v in named.items()]
        )
        raise TypeError(f"sparse_coo_tensor() received an invalid combination of arguments - got ({shown}), but expected one "
                        "of:\n * (Tensor indices, Tensor values, tuple of ints size)\n * (tuple of ints size)")  # fmt: skip
    given.update(named)
    size = given.get("size")
    if size is not None and not isinstance(size, (tuple, list)):
        raise TypeError("sparse_coo_tensor(): argument 'size' (position 1) must be tuple of ints, not "
                        f"{type(size).__name__}")  # fmt: skip
    if "values" in given:

        def build(values):
            return coo_from_data(given["indices"], values, size, dtype, check_invariants, is_coalesced)
    elif "indices" in given or size is None:
        raise TypeError('sparse_coo_tensor() missing 1 required positional arguments: "values"')
    else:

        def build(values):
            wants_checks(check_invariants)
            return empty_coo(size, dtype or _C.get_default_dtype())

    return _made(_MakeCoo, build, given.get("values"), requires_grad, device)


def sparse_compressed_tensor(compressed_indices, plain_indices, values, size=None, *, dtype=None, layout=None, device=None,
                             requires_grad=False, pin_memory=False, check_invariants=None):  # fmt: skip
    """A tensor in one of the compressed layouts.

    Args:
        compressed_indices: (*batch, rows + 1) where each row (column, for csc and bsc) begins; the last is nnz.
        plain_indices: (*batch, nnz) the column (row) of each value.
        values: (*batch, nnz, *block); gradients flow back to it.
        size: sizes of the tensor; without it the smallest that fit.
        check_invariants: check the indices (default: check_sparse_tensor_invariants.is_enabled()).
    """
    if layout not in COMPRESSED:
        name = "none" if layout is None else LAYOUT_NAMES[layout]
        raise RuntimeError(
            f"sparse_compressed_tensor expected sparse compressed tensor layout but got {name}"
        )

    def build(values):
        return compressed_from_data(
            layout, compressed_indices, plain_indices, values, size, dtype, check_invariants
        )

    return _made(_MakeCompressed, build, values, requires_grad, device)


def _constructor(name, layout, first, second):
    def make(*args, **kwargs):
        return sparse_compressed_tensor(
            *args, layout=layout, **{renamed.get(k, k): v for k, v in kwargs.items()}
        )

    renamed = {first: "compressed_indices", second: "plain_indices"}
    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{name}({first}, {second}, values, size=None): a tensor in the layout {layout}; see sparse_compressed_tensor()."
    return make


sparse_csr_tensor = _constructor("sparse_csr_tensor", _C.sparse_csr, "crow_indices", "col_indices")
sparse_csc_tensor = _constructor("sparse_csc_tensor", _C.sparse_csc, "ccol_indices", "row_indices")
sparse_bsr_tensor = _constructor("sparse_bsr_tensor", _C.sparse_bsr, "crow_indices", "col_indices")
sparse_bsc_tensor = _constructor("sparse_bsc_tensor", _C.sparse_bsc, "ccol_indices", "row_indices")
