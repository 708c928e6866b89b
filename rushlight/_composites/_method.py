"""Attaching composites to Tensor."""

from .._C import Tensor


def method(function):
    """Decorator: the function is also a method of Tensor."""
    setattr(Tensor, function.__name__, function)
    return function


def in_place(name, function):
    """Attach name_: the result of function, written into its first argument."""

    def write(self, *args, **kwargs):
        return self.copy_(function(self, *args, **kwargs))

    write.__name__ = write.__qualname__ = name + "_"
    write.__doc__ = f"{name}(), in place."
    setattr(Tensor, name + "_", write)
    return write


def given(result, out):
    """result, or out with the result in it."""
    if out is None:
        return result
    if out.shape != result.shape:
        out.resize_(result.shape)
    return out.copy_(result)
