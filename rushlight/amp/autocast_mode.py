"""autocast: the context in which operators on the CPU choose the dtype that they compute in, what programs ask about it,
and the decorators for custom Functions. Which operator does what is in core/op/autocast.cpp."""

import collections
import functools
import warnings

import numpy as np

from .. import _C

__all__ = [
    "autocast", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache", "custom_bwd",
    "custom_fwd", "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype", "is_autocast_available",
    "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled", "set_autocast_cache_enabled",
    "set_autocast_cpu_dtype", "set_autocast_cpu_enabled", "set_autocast_dtype", "set_autocast_enabled",
    "set_autocast_gpu_dtype",
]  # fmt: skip

from .._C import (
    autocast_decrement_nesting,
    autocast_increment_nesting,
    clear_autocast_cache,
    is_autocast_cache_enabled,
    set_autocast_cache_enabled,
)

_TYPES = ("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla", "lazy",
          "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone")  # fmt: skip
# Devices that are absent here: what programs set is kept, and has no effect.
_absent = {d: {"enabled": False, "dtype": _C.float16} for d in ("cuda", "mps", "xpu", "hpu", "mtia", "maia", "ipu")}
_absent["xla"] = {"enabled": False, "dtype": _C.bfloat16}


def _absent_device(function, device_type):
    if not isinstance(device_type, str):
        raise TypeError(
            f"{function}(): argument 'device_type' (position 1) must be str, not {type(device_type).__name__}"
        )
    kind = device_type.partition(":")[0]
    if kind not in _TYPES:
        raise RuntimeError(
            f"Expected one of {', '.join(_TYPES)} device type at start of device string: {kind}"
        )
    if kind not in _absent:
        raise RuntimeError("unsupported scalarType")
    return _absent[kind]


def is_autocast_available(device_type):
    """Whether there is autocast for a device type."""
    if not isinstance(device_type, str):
        raise TypeError(
            f"is_autocast_available(): argument 'device_type' (position 1) must be str, not {type(device_type).__name__}"
        )
    if device_type not in _TYPES:
        raise RuntimeError(
            f"Expected one of {', '.join(_TYPES)} device type at start of device string: {device_type}"
        )
    return device_type == "cpu" or device_type in _absent


def is_autocast_enabled(device_type=None):
    """Whether operators cast their arguments now: on a device type, or on any.

    >>> with rl.autocast("cpu"):
    ...     print(rl.is_autocast_enabled("cpu"))
    True
    """
    if device_type == "cpu":
        return _C._autocasting()
    if device_type is None:
        return _C._autocasting() or any(d["enabled"] for d in _absent.values())
    return _absent_device("is_autocast_enabled", device_type)["enabled"]


def set_autocast_enabled(device_type, enabled=None):
    """Switch casting on a device type on or off (with one argument: on "cuda")."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    if device_type == "cpu":
        _C._set_autocasting(enabled)
    else:
        _absent_device("set_autocast_enabled", device_type)["enabled"] = bool(enabled)


def get_autocast_dtype(device_type):
    """The lower precision of a device type."""
    if device_type == "cpu":
        return _C._autocast_dtype()
    return _absent_device("get_autocast_dtype", device_type)["dtype"]


def set_autocast_dtype(device_type, dtype):
    """Choose the lower precision of a device type."""
    if not isinstance(dtype, _C.dtype):
        raise TypeError(
            f"set_autocast_dtype(): argument 'dtype' (position 2) must be torch.dtype, not {type(dtype).__name__}"
        )
    if device_type == "cpu":
        _C._set_autocast_dtype(dtype)
    else:
        _absent_device("set_autocast_dtype", device_type)["dtype"] = dtype


def _old_name(name, function, device):
    """A function of one device type, under the name from before functions took the type."""

    def call(*value):
        new = f"torch.{function.__name__}('{device}'{', value' if value else ''})"
        warnings.warn(
            f"torch.{name}() is deprecated. Please use {new} instead.", DeprecationWarning, stacklevel=2
        )
        return function(device, *value)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{function.__name__}() of {device!r}."
    return call


is_autocast_cpu_enabled = _old_name("is_autocast_cpu_enabled", is_autocast_enabled, "cpu")
set_autocast_cpu_enabled = _old_name("set_autocast_cpu_enabled", set_autocast_enabled, "cpu")
get_autocast_cpu_dtype = _old_name("get_autocast_cpu_dtype", get_autocast_dtype, "cpu")
set_autocast_cpu_dtype = _old_name("set_autocast_cpu_dtype", set_autocast_dtype, "cpu")
get_autocast_gpu_dtype = _old_name("get_autocast_gpu_dtype", get_autocast_dtype, "cuda")
set_autocast_gpu_dtype = _old_name("set_autocast_gpu_dtype", set_autocast_dtype, "cuda")


class autocast:  # noqa: N801
    """Context or decorator for mixed precision: matrix products and convolutions compute in a lower precision, losses
    and what needs the range in float32, everything else in the dtypes that it is given.

    Args:
        device_type: "cpu"; for a device that is absent the context has no effect.
        dtype: bfloat16 or float16; bfloat16 by default.
        enabled: False switches casting off inside an enabled context.
        cache_enabled: keep the casts of weights until the outermost context ends.

    >>> with rl.autocast("cpu", dtype=rl.bfloat16):
    ...     print((rl.ones(2, 2) @ rl.ones(2, 2)).dtype)
    torch.bfloat16
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        default = get_autocast_dtype(device_type)  # raises for an unknown device type
        self.device, self.custom_backend_name = device_type, "privateuseone"
        self.fast_dtype = default if dtype is None else dtype
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cpu" and self.fast_dtype not in (_C.bfloat16, _C.float16):
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        if enabled and device_type == "cuda":
            warnings.warn(
                "CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=2
            )
            enabled = False
        self._enabled = bool(enabled)

    def __enter__(self):
        self._before = (
            is_autocast_enabled(self.device),
            get_autocast_dtype(self.device),
            is_autocast_cache_enabled(),
        )
        set_autocast_enabled(self.device, self._enabled)
        set_autocast_dtype(self.device, self.fast_dtype)
        autocast_increment_nesting()
        set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *exc):
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        enabled, dtype, caching = self._before
        set_autocast_enabled(self.device, enabled)
        set_autocast_dtype(self.device, dtype)
        set_autocast_cache_enabled(caching)
        return False

    def __call__(self, function):
        @functools.wraps(function)
        def inside(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return inside


# ---- custom Functions


def _cast(value, device_type, dtype):
    """value, or a nest of such, with floating tensors of the device (except float64) in dtype."""
    if isinstance(value, _C.Tensor):
        eligible = (
            value.is_floating_point() and value.device.type == device_type and value.dtype is not _C.float64
        )
        return value.to(dtype) if eligible else value
    if isinstance(value, (str, np.ndarray)):
        return value
    if isinstance(value, collections.abc.Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, collections.abc.Iterable):
        parts = (_cast(v, device_type, dtype) for v in value)
        return type(value)(parts) if isinstance(value, (list, tuple)) else parts
    return value


def _check_type(device_type):
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(fwd=None, *, device_type, cast_inputs=None):
    """Decorator for forward of a custom Function.

    Args:
        cast_inputs: while autocast is on, the floating-point arguments are cast to this dtype and forward runs with
            autocast off. Without it forward runs in autocast as it stands.
    """
    _check_type(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx, *args, **kwargs):
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = is_autocast_enabled(device_type)
        if cast_inputs is None or not ctx._fwd_used_autocast:
            return fwd(ctx, *args, **kwargs)
        ctx._fwd_used_autocast = False
        with autocast(device_type=device_type, enabled=False):
            return fwd(ctx, *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return forward


def custom_bwd(bwd=None, *, device_type):
    """Decorator for backward of a custom Function: it runs in the autocast state of its forward."""
    _check_type(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx, *args, **kwargs):
        with autocast(device_type=device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return backward
