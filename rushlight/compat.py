"""Running programs written for PyTorch: `import torch` gives rushlight's own modules.

The modules are the same objects under both names, never copies: a class has one identity.
"""

import importlib
import importlib.machinery
import sys

import rushlight

API_LEVEL = "2.13.0"  # the PyTorch release whose behaviour is implemented


class _AliasLoader:
    """Gives an existing module and leaves it as it is."""

    def __init__(self, module):
        self._module, self._own_spec = module, module.__spec__

    def create_module(self, spec):
        return self._module

    def exec_module(self, module):
        module.__spec__ = self._own_spec  # the import system has just put in the alias's

    def load_module(self, fullname):
        return self._module


class _TorchFinder:
    """Finds torch and torch.x as rushlight and rushlight.x, and answers for the version of "torch"."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname == "multiprocessing.spawn":
            return _spec_of_spawn(fullname, path)
        if fullname.partition(".")[0] != "torch":
            return None
        ours = "rushlight" + fullname[len("torch") :]
        try:
            module = importlib.import_module(ours)
        except ModuleNotFoundError as missing:
            if missing.name != ours:
                raise
            # not None: the next finder would look into rushlight's folder and load a second copy
            raise ModuleNotFoundError(
                f"No module named '{fullname}' (rushlight stands in for torch here and has no part of that name)",
                name=fullname,
            ) from None
        is_package = hasattr(module, "__path__")
        return importlib.machinery.ModuleSpec(fullname, _AliasLoader(module), is_package=is_package)

    @classmethod
    def find_distributions(cls, context=None):
        """For importlib.metadata: a distribution "torch" of our API level."""
        name = getattr(context, "name", None)
        if name is None or name.lower() == "torch":
            yield _distribution()


def _distribution():
    from importlib.metadata import Distribution

    class TorchDistribution(Distribution):
        """What importlib.metadata knows about torch."""

        def read_text(self, filename):
            if filename in ("METADATA", "PKG-INFO"):
                return f"Metadata-Version: 2.1\nName: torch\nVersion: {API_LEVEL}\nSummary: provided by rushlight\n"
            return None

        def locate_file(self, path):
            from pathlib import Path

            return Path(rushlight.__file__).parent.parent / path

    return TorchDistribution()


# ---- child processes that multiprocessing starts anew ("spawn", "forkserver")


def _install_in_child():
    install_as_torch()
    return True


class _Installer:
    """Unpickling this installs rushlight as torch: it travels to the child ahead of the main program."""

    def __reduce__(self):
        return _install_in_child, ()


def _teach_spawn(module):
    """Let multiprocessing.spawn send an _Installer with what it tells each child."""
    plain = module.get_preparation_data

    def get_preparation_data(name):
        # the child unpickles this dictionary before it imports the main program
        return {"rushlight_as_torch": _Installer(), **plain(name)}

    module.get_preparation_data = get_preparation_data


def _spec_of_spawn(fullname, path):
    """The module's own spec, with our addition after the module has run."""
    spec = importlib.machinery.PathFinder.find_spec(fullname, path)
    run = spec.loader.exec_module

    def exec_module(module):
        run(module)
        _teach_spawn(module)

    spec.loader.exec_module = exec_module
    return spec


def install_as_torch():
    """From now on `import torch` and `import torch.x` give rushlight. Returns the module.

    >>> install_as_torch()  # doctest: +SKIP
    >>> import torch        # doctest: +SKIP
    """
    present = sys.modules.get("torch")
    if present is rushlight:
        return rushlight
    if present is not None:
        raise ImportError(
            "PyTorch itself is already imported: call rushlight.install_as_torch() before `import torch`"
        )
    sys.meta_path.insert(0, _TorchFinder)
    sys.modules["torch"] = rushlight
    spawn = sys.modules.get("multiprocessing.spawn")
    if spawn is not None:
        _teach_spawn(spawn)
    return rushlight
