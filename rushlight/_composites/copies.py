"""Copies of views (`narrow_copy` is `narrow` with memory of its own), scatters into views, and views under second names."""

from .. import _C
from .._C import Tensor
from ._method import given, method

_VIEWS = ["alias", "as_strided", "detach", "diagonal", "expand", "narrow", "permute", "select", "slice", "squeeze", "t",
          "transpose", "unfold", "unsqueeze", "view", "view_as_complex", "view_as_real"]  # fmt: skip
_LISTS = {"split": "split", "split_with_sizes": "split_with_sizes", "unbind": "unbind"}

__all__ = [
    "adjoint",
    "as_strided_scatter",
    "detach",
    "detach_",
    "as_strided_",
    "unflatten",
    "unsafe_chunk",
    "unsafe_split",
]


def _operator(name):
    return getattr(_C, name, None) or getattr(Tensor, name)


def _copy_of(name):
    view = _operator(name)

    def copy(input, *args, out=None, **kwargs):
        return given(view(input, *args, **kwargs).clone(memory_format=_C.contiguous_format), out)

    return _named(copy, name)


def _copies_of(name):
    views = _operator(name)

    def copies(input, *args, out=None, **kwargs):
        results = tuple(v.clone(memory_format=_C.contiguous_format) for v in views(input, *args, **kwargs))
        return results if out is None else [given(r, o) for r, o in zip(results, out)]

    return _named(copies, name)


def _named(function, name):
    function.__name__ = function.__qualname__ = name + "_copy"
    function.__doc__ = f"{name}() in memory of its own."
    return function


def _part_copy_of(name):
    def copy(input, *, out=None):
        return given(getattr(input, name)().clone(), out)

    return _named(copy, name)


for _name in ("ccol_indices", "col_indices", "crow_indices", "indices", "row_indices", "values"):  # of sparse tensors
    globals()[_name + "_copy"] = _part_copy_of(_name)
    __all__.append(_name + "_copy")
for _name in _VIEWS:
    if not hasattr(_C, _name + "_copy"):
        globals()[_name + "_copy"] = _copy_of(_name)
        __all__.append(_name + "_copy")
for _name in _LISTS:
    if not hasattr(_C, _name + "_copy"):
        globals()[_name + "_copy"] = _copies_of(_name)
        __all__.append(_name + "_copy")
if "narrow_copy" in globals():
    method(globals()["narrow_copy"])


@method
def adjoint(input):
    """The last two dimensions exchanged, and the conjugate of complex elements."""
    if input.dim() == 1:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor."
        )
    if input.dim() == 0:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got 0-D tensor."
        )
    turned = input.transpose(-2, -1)
    return turned.conj() if input.is_complex() else turned


@method
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of input with src in its as_strided() view."""
    result = input.clone()
    result.as_strided(size, stride, storage_offset).copy_(src)
    return result


@method
def as_strided_(input, size, stride, storage_offset=None):
    """input itself, turned into its as_strided() view."""
    return input.set_(
        input.untyped_storage(),
        input.storage_offset() if storage_offset is None else storage_offset,
        size,
        stride,
    )


def detach(input):
    """The same memory without history."""
    return input.detach()


def detach_(input):
    """Cut the tensor itself out of the graph."""
    return input.detach_()


def unflatten(input, dim, sizes):
    """Dimension dim as several of the given sizes, one of which may be -1."""
    return input.unflatten(dim, sizes)


@method
def unsafe_chunk(input, chunks, dim=0):
    """chunk() of which every piece may be changed in place."""
    return input.chunk(chunks, dim)


@method
def unsafe_split(input, split_size, dim=0):
    """split() of which every piece may be changed in place."""
    return input.split(split_size, dim)
