"""What load(weights_only=True) allows beyond the built-in list."""

import pickle

import rushlight as rl

from . import unpickler
from .archive import ArchiveReader
from .files import is_zip, opened


def add_safe_globals(safe_globals):
    """Allow classes and functions in load(weights_only=True).

    Args:
        safe_globals: list of them, or of pairs (object, "full.path") for a name other than their own.
    """
    for entry in safe_globals:
        obj = entry[0] if isinstance(entry, tuple) else entry
        if not callable(obj):
            raise TypeError(f"add_safe_globals expects classes and functions, got {obj!r}")
        unpickler._user_globals[id(obj)] = entry


def get_safe_globals():
    return list(unpickler._user_globals.values())


def clear_safe_globals():
    unpickler._user_globals.clear()


class safe_globals:
    """add_safe_globals for the length of a `with` block."""

    def __init__(self, safe_globals):
        self._added = safe_globals

    def __enter__(self):
        self._before = dict(unpickler._user_globals)
        add_safe_globals(self._added)

    def __exit__(self, *error):
        unpickler._user_globals.clear()
        unpickler._user_globals.update(self._before)


def get_unsafe_globals_in_checkpoint(f):
    """The globals of a checkpoint that load(weights_only=True) would refuse, without loading it."""
    import pickletools

    with opened(f) as file:
        if not is_zip(file):
            raise ValueError("Expected input to be a checkpoint returned by torch.save")
        data = ArchiveReader(file).read("data.pkl")
    found, strings = [], []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            found.append(tuple(argument.split(" ", 1)))
        elif opcode.name == "STACK_GLOBAL":
            found.append(tuple(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    unsafe = set()
    for module, name in found:
        try:
            unpickler.find_allowed(module, name)
        except NotImplementedError:
            pass
        except pickle.UnpicklingError:
            unsafe.add(".".join(unpickler._modern(module, name)))
    return sorted(unsafe)


def _get_layout(name):
    """The layout object of a name such as "torch.strided"."""
    word = name.rpartition(".")[2]
    known = ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "_mkldnn")
    if word not in known or not hasattr(rl, word):
        raise pickle.UnpicklingError(f"unknown layout {name}")
    return getattr(rl, word)


_get_layout.__module__ = "rushlight.serialization"  # files know it as torch.serialization._get_layout
