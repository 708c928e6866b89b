"""autocast: accepted wherever it has no effect; casting the operators' inputs is not implemented."""

import functools
import warnings

from .. import _C

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "maia", "ipu", "xla", "meta")
_DTYPES = {"cpu": _C.bfloat16, "cuda": _C.float16}


def is_autocast_available(device_type):
    """Whether a device type has autocast: none here."""
    return False


class autocast:  # noqa: N801
    """Context or decorator for mixed precision. Disabled, or for a device that is absent, it changes nothing.

    Enabled on the CPU it raises NotImplementedError: casting operators' inputs to bfloat16 is not implemented.
    """

    __rushlight_partial__ = (
        "only disabled contexts, or those for absent devices; casting on the CPU is not implemented"
    )

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device, self.fast_dtype, self._cache_enabled = (
            device_type,
            dtype or _DTYPES.get(device_type, _C.float16),
            True,
        )
        if enabled and device_type == "cuda":
            warnings.warn(
                "User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2
            )
            enabled = False
        self._enabled = bool(enabled) and device_type == "cpu"

    def __enter__(self):
        if self._enabled:
            raise NotImplementedError("autocast: casting the inputs of operators on the CPU is not implemented; use "
                                      "autocast(..., enabled=False)")  # fmt: skip
        return self

    def __exit__(self, *exc):
        return False

    def __call__(self, function):
        @functools.wraps(function)
        def inside(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return inside


def custom_fwd(fwd=None, *, device_type="cuda", cast_inputs=None):
    """Decorator for forward of a custom Function: as it is, since nothing is cast."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    return fwd


def custom_bwd(bwd=None, *, device_type="cuda"):
    """Decorator for backward of a custom Function: as it is, since nothing is cast."""
    return functools.partial(custom_bwd, device_type=device_type) if bwd is None else bwd
