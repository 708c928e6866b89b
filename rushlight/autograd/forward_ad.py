"""Forward mode: dual numbers, tensors that carry a tangent through every operation. The core moves the tangents along
(core/autograd/forward.cpp); here is the interface of one level of it."""

from collections import namedtuple

from .. import _C
from .grad_mode import _AsDecorator

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_current_level = -1
_core_levels = []  # of the core, one per level here


class UnpackedDualTensor(namedtuple("UnpackedDualTensor", ["primal", "tangent"])):
    """What unpack_dual() returns: the value and its tangent, which is None where there is none."""


def enter_dual_level():
    """Opens the level that make_dual() and unpack_dual() work on; returns its number. Levels do not nest."""
    global _current_level
    if _current_level >= 0:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _core_levels.append(_C._enter_forward_level())
    _current_level += 1
    return _current_level


def exit_dual_level(*, level=None):
    """Closes the level: the tangents made in it are gone."""
    global _current_level
    if level is None:
        level = _current_level
    if level != _current_level:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    if level < 0:
        raise RuntimeError("Dual level must be a positive number.")
    _C._exit_forward_level(_core_levels.pop())
    _current_level -= 1


def _check_dtype(t, name):
    if not (t.is_floating_point() or t.is_complex()):
        raise ValueError(f"Expected {name} to be floating point or complex, but got: {t.dtype}")


def _check_size(tensor, tangent):
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )


def make_dual(tensor, tangent, *, level=None):
    """A view of tensor that carries the tangent: what is computed from it carries the product with the Jacobian.

    Args:
        tensor: floating point or complex.
        tangent: of the same shape.

    >>> import rushlight.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(rl.tensor([1.0, 2.0]), rl.tensor([1.0, 0.0]))
    ...     fwAD.unpack_dual(x * x).tangent
    tensor([2., 0.])
    """
    if level is None:
        level = _current_level
    if level < 0:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    _check_dtype(tensor, "primal")
    _check_dtype(tangent, "tangent")
    core = _core_levels[level]
    if _C._tangent(tensor, core) is not None:
        raise RuntimeError(
            "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level "
            f"{level} is not supported."
        )
    _check_size(tensor, tangent)
    if tangent.dtype != tensor.dtype:
        if tangent.is_complex() and not tensor.is_complex():
            raise NotImplementedError("forward_ad.make_dual: a complex tangent of a real tensor")
        tangent = tangent.to(tensor.dtype)
    dual = tensor.view_as(tensor)
    _C._set_tangent(dual, core, tangent)
    return dual


def unpack_dual(tensor, *, level=None):
    """The value and the tangent of a dual tensor, as an UnpackedDualTensor."""
    if not isinstance(tensor, _C.Tensor):
        raise TypeError(f"_unpack_dual(): argument 'dual' (position 1) must be Tensor, not {type(tensor).__name__}")
    if level is None:
        level = _current_level
    if level < 0:
        return UnpackedDualTensor(tensor, None)
    core = _core_levels[level]
    tangent = _C._tangent(tensor, core)
    before = _C._set_forward_ceiling(core - 1)
    try:
        return UnpackedDualTensor(tensor.view_as(tensor), tangent)
    finally:
        _C._set_forward_ceiling(before)


class dual_level(_AsDecorator):
    """Context of one level: opened at the start, closed at the end."""

    def __enter__(self):
        return enter_dual_level()

    def __exit__(self, *exception):
        exit_dual_level()


def _is_fwd_grad_enabled():
    return _C._forward_level() >= 0
