"""Conversion of a module's parameters and buffers to other dtypes and devices."""

import rushlight as rl
from rushlight import Tensor

from ..parameter import Parameter


class ConversionMethods:
    """The part of Module that converts."""

    def _apply(self, fn, recurse=True):
        """Replaces every parameter, gradient and buffer by fn of it. Parameters keep their identity, except where
        one moves to or from the meta device."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            with rl.no_grad():
                applied = fn(parameter)
            grad = parameter.grad
            if applied.is_meta == parameter.is_meta:
                if grad is not None and grad.dtype != applied.dtype:
                    parameter.grad = None  # a gradient has its parameter's dtype at all times
                parameter.data = applied
                kept = parameter
            else:
                kept = Parameter(applied, parameter.requires_grad)
                self._parameters[name] = kept
            if grad is not None:
                with rl.no_grad():
                    applied = fn(grad)
                if applied.is_meta == grad.is_meta and kept is parameter:
                    grad.data = applied
                    kept.grad = grad
                else:
                    kept.grad = applied.requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Moves and converts parameters and buffers in place: to(device, dtype), to(dtype), to(tensor),
        to(memory_format=...). The dtype applies to floating point and complex ones only."""
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError(
                    f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
                )
            if dtype.is_complex:
                import warnings

                warnings.warn(
                    "Complex modules are a new feature under active development whose design may change, and some "
                    "modules might not work as expected when using complex tensors as parameters or buffers.",
                    stacklevel=2,
                )

        def convert(t):
            new_dtype = dtype if t.is_floating_point() or t.is_complex() else None
            if t.is_meta and device is not None and rl.device(device).type != "meta":
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                )
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(device, new_dtype, non_blocking, memory_format=memory_format)
            return t.to(device, new_dtype, non_blocking)

        return self._apply(convert)

    def to_empty(self, *, device, recurse=True):
        """Moves parameters and buffers to the device without copying their values."""
        return self._apply(lambda t: rl.empty_like(t, device=device), recurse=recurse)

    def type(self, dst_type):
        """Casts all parameters and buffers to dst_type."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Casts floating point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self):
        """Casts floating point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self):
        """Casts floating point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self):
        """Casts floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def cpu(self):
        """Moves all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """Moves all parameters and buffers to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def xpu(self, device=None):
        """Moves all parameters and buffers to an XPU, of which there is none."""
        raise AssertionError("Torch not compiled with XPU enabled")

    def mtia(self, device=None):
        """Moves all parameters and buffers to an MTIA device, of which there is none."""
        raise AssertionError("Torch not compiled with MTIA enabled.")

    def ipu(self, device=None):
        """Moves all parameters and buffers to an IPU, of which there is none."""
        raise AssertionError("Torch not compiled with IPU enabled")

    def share_memory(self):
        """Moves all parameters and buffers to memory that other processes can share."""
        return self._apply(lambda t: t.share_memory_())


def _parse_to(*args, **kwargs):
    """The arguments of Module.to as (device, dtype, non_blocking, memory_format)."""
    memory_format = kwargs.pop("memory_format", None)
    if "tensor" in kwargs:
        args = (kwargs.pop("tensor"), *args)
    first = args[0] if args else None
    if isinstance(first, Tensor):
        names, given = ("non_blocking", "copy"), {"device": first.device, "dtype": first.dtype}
        args = args[1:]
    elif isinstance(first, rl.dtype):
        names, given = ("dtype", "non_blocking", "copy"), {}
    else:
        names, given = ("device", "dtype", "non_blocking", "copy"), {}
    for name, value in zip(names, args):
        given[name] = value
    wrong = len(args) > len(names) or any(k in given or k not in names for k in kwargs)
    given.update(kwargs)
    device, dtype = given.get("device"), given.get("dtype")
    wrong = wrong or any(not isinstance(given.get(k, False), (bool, int)) for k in ("non_blocking", "copy"))
    wrong = wrong or not (dtype is None or isinstance(dtype, rl.dtype))
    if wrong or not (device is None or isinstance(device, (str, int, rl.device))):
        got = ", ".join(
            [type(a).__name__ for a in args] + [f"{k}={type(v).__name__}" for k, v in kwargs.items()]
        )
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({got}), but expected one of:\n"
            " * (torch.device device = None, torch.dtype dtype = None, bool non_blocking = False, "
            "bool copy = False, *, torch.memory_format memory_format = None)\n"
            " * (torch.dtype dtype, bool non_blocking = False, bool copy = False, *, "
            "torch.memory_format memory_format = None)\n"
            " * (Tensor tensor, bool non_blocking = False, bool copy = False, *, "
            "torch.memory_format memory_format = None)\n"
        )
    if device is not None and not isinstance(device, rl.device):
        device = rl.device(device)
    return device, dtype, bool(given.get("non_blocking", False)), memory_format
