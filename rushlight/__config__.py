"""How the core was built, as text."""

from . import _C


def show():
    """Compiler-independent facts about the core in use."""
    capability = _C._isa_name() + (" with AMX for matrix products" if _C._has_amx() else "")
    return f"rushlight built with:\n  - C++ Version: 202002\n  - CPU capability usage: {capability}\n"


def parallel_info():
    """Threads in use."""
    return f"rushlight: own thread pool, {_C._num_threads()} thread(s) per operation\n"
