"""Choice of the way attention is computed; masks that attention knows (bias) and attention with any score (flex_attention).

On the CPU there is one way, so that a choice is kept and changes nothing.
"""

import contextlib
import enum

from rushlight.backends import cuda as _switches

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(enum.IntEnum):
    """The ways of computing scaled_dot_product_attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __repr__(self):
        return f"<SDPBackend.{self.name}: {self.value}>"

    def __str__(self):
        return f"SDPBackend.{self.name}"


_SETTERS = {
    SDPBackend.MATH: (_switches.math_sdp_enabled, _switches.enable_math_sdp),
    SDPBackend.FLASH_ATTENTION: (_switches.flash_sdp_enabled, _switches.enable_flash_sdp),
    SDPBackend.EFFICIENT_ATTENTION: (_switches.mem_efficient_sdp_enabled, _switches.enable_mem_efficient_sdp),
    SDPBackend.CUDNN_ATTENTION: (_switches.cudnn_sdp_enabled, _switches.enable_cudnn_sdp),
}


@contextlib.contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Inside, scaled_dot_product_attention may be computed by the given backends only.

    Args:
        backends: an SDPBackend or a list of them.
        set_priority: the list's order is the order of preference.
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, "
            f"got {type(backends).__name__}"
        )
    wanted = {backends} if isinstance(backends, SDPBackend) else set(backends)
    before = {backend: is_enabled() for backend, (is_enabled, _) in _SETTERS.items()}
    try:
        for backend, (_, enable) in _SETTERS.items():
            enable(backend in wanted)
        yield {}
    finally:
        for backend, (_, enable) in _SETTERS.items():
            enable(before[backend])


def list_flash_attention_impls():
    """The names of replacements for flash attention that can be activated."""
    return []


def current_flash_attention_impl():
    """The name of the active replacement for flash attention, or None."""
    return None


def activate_flash_attention_impl(impl):
    """Replacements for flash attention concern CUDA devices; none can be activated here."""
    raise ValueError(f"Unknown flash attention impl '{impl}'. Available implementations: []")


def restore_flash_attention_impl():
    """Goes back to the built-in flash attention, which is what is there."""


def __getattr__(name):
    """What few programs use is imported when it is first named."""
    if name in ("bias", "flex_attention"):
        from importlib import import_module

        return import_module("." + name, __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
