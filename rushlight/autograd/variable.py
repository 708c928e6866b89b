"""Variable: the old name of a tensor that takes part in differentiation."""

from .. import _C


class _VariableType(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, _C.Tensor)


class _Engine:
    """The part of the engine object that programs reach for."""

    @staticmethod
    def queue_callback(callback):
        """Calls callback() at the end of the backward pass that is running."""
        _C._queue_callback(callback)


class Variable(metaclass=_VariableType):
    """Variable(tensor, requires_grad=False): the tensor itself, detached; kept for old programs."""

    _execution_engine = _Engine

    def __new__(cls, data, requires_grad=False, volatile=None):
        return data.detach().requires_grad_(requires_grad)
