"""The names that mixed precision on CUDA had before rushlight.amp took the device type as an argument."""

import functools
import warnings

from .. import _C, amp

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _deprecated(name, device="cuda"):
    text = (
        f"`torch.{device}.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('{device}', args...)` instead."
    )
    warnings.warn(text, FutureWarning, stacklevel=3)


class autocast(amp.autocast):  # noqa: N801
    """amp.autocast("cuda", ...)."""

    def __init__(self, enabled=True, dtype=_C.float16, cache_enabled=True):
        _deprecated("autocast")
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """amp.GradScaler("cuda", ...)."""

    def __init__(self, init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000, enabled=True):
        _deprecated("GradScaler")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


@functools.wraps(amp.custom_fwd)
def custom_fwd(*args, **kwargs):
    _deprecated("custom_fwd")
    return amp.custom_fwd(*args, device_type="cuda", **kwargs)


@functools.wraps(amp.custom_bwd)
def custom_bwd(*args, **kwargs):
    _deprecated("custom_bwd")
    return amp.custom_bwd(*args, device_type="cuda", **kwargs)
