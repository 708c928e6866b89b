"""Named results of several tensors, written into out= where that is given."""

from functools import cache

from .._C import Tensor


def results(name, fields, values, out=None):
    """values as the named tuple torch.return_types.<name>; with out, a tuple of tensors, these with the values in them.

    Raises before anything is written.
    """
    if out is None:
        return _type(name, fields)(tuple(values))
    if isinstance(out, Tensor) or len(out) != len(fields):
        raise TypeError(f"{name}(): argument 'out' must be tuple of Tensors, not {type(out).__name__}")
    for target, value in zip(out, values):
        if target.dtype != value.dtype:
            raise RuntimeError(
                f"Expected out tensor to have dtype {_c_name(value)}, but got {_c_name(target)} instead"
            )
    for target, value in zip(out, values):
        target.resize_(value.shape).copy_(value)
    return _type(name + "_out", fields)(tuple(out))


@cache
def _type(name, fields):
    from ..return_types import named_result

    return named_result(name, fields)


def _c_name(tensor):
    return _C_NAMES.get(str(tensor.dtype).removeprefix("torch."), str(tensor.dtype).removeprefix("torch."))


_C_NAMES = {"float32": "float", "float64": "double", "int32": "int", "int64": "long int",
            "complex64": "c10::complex<float>", "complex128": "c10::complex<double>"}  # fmt: skip
