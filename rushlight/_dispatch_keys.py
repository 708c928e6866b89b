"""Private names of torch._C that libraries use at import. install_as_torch() puts them there; each does what it says."""

from . import _C


class _Keys(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class DispatchKey(metaclass=_Keys):
    """Names of the roads that a call can take in PyTorch: each attribute is its own name."""


class DispatchKeySet:
    """A set of such names."""

    def __init__(self, *keys):
        self.keys = frozenset(keys)

    def __or__(self, other):
        return DispatchKeySet(*(self.keys | other.keys))

    def has(self, key):
        """Whether a name is in the set."""
        return key in self.keys


class ExcludeDispatchKeyGuard:
    """Context that leaves out some roads. Autocast on the CPU is the one there is here."""

    def __init__(self, keys):
        self._off = keys.has("AutocastCPU")

    def __enter__(self):
        self._before = _C._autocasting()
        if self._off:
            _C._set_autocasting(False)

    def __exit__(self, *exc):
        _C._set_autocasting(self._before)
        return False


def _nothing(*args, **kwargs):
    return None


def add_private_names():
    """Attach the names to rushlight._C."""
    names = {
        "DispatchKey": DispatchKey, "DispatchKeySet": DispatchKeySet, "_ExcludeDispatchKeyGuard": ExcludeDispatchKeyGuard,
        "_get_tracing_state": _nothing, "_log_api_usage_once": _nothing, "_jit_set_profiling_mode": _nothing,
        "_jit_set_profiling_executor": _nothing,
    }  # fmt: skip
    for name, value in names.items():
        setattr(_C, name, value)
