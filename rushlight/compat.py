"""Running programs written for PyTorch: `import torch` gives rushlight's own modules.

The modules are the same objects under both names, never copies: a class has one identity.
"""

import functools
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
        if fullname in _TAUGHT:
            return _then(importlib.machinery.PathFinder.find_spec(fullname, path), _TAUGHT[fullname])
        if fullname.startswith("rushlight."):
            return _then(importlib.machinery.PathFinder.find_spec(fullname, path), _name_classes)
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


def _then(spec, action):
    """The module's own spec, with an action on the module after it has run."""
    if spec is None or spec.loader is None:
        return spec
    run = spec.loader.exec_module

    def exec_module(module):
        run(module)
        action(module)

    spec.loader.exec_module = exec_module
    return spec


# ---- PyTorch's names for our classes: print(torch.nn.Linear) gives <class 'torch.nn.modules.linear.Linear'>


def _name_classes(module):
    """Let the classes of a module of ours say that they live where PyTorch's live, if they are found there.

    Pickles then refer to them by these names, as PyTorch's do. inspect.getsource would look into the module that a class
    names: for the classes that we keep in another file than PyTorch, _teach_inspect has it look where they are.
    """
    from .serialization.names import to_torch

    own = module.__name__
    if own in _NAMED_AS_THEY_ARE:
        return
    for name, cls in list(vars(module).items()):
        if not isinstance(cls, type) or cls.__module__ != own or cls.__qualname__ != name:
            continue
        home = to_torch(own, name)[0]
        place = sys.modules.get("rushlight" + home[len("torch") :])
        if place is not None and not hasattr(place, name):
            setattr(place, name, cls)
        if getattr(place, name, None) is not cls:
            home = "torch" + own[len("rushlight") :]
        _alias(home)
        if sys.modules[home] is not module and getattr(module, "__file__", None):
            _written_in[cls] = module.__file__
        cls.__module__ = home


_written_in = {}  # class -> file


def _teach_inspect(module):
    """Let inspect find the classes of which the module named by them holds only the name."""
    plain = module.getfile

    def getfile(object):
        return (_written_in.get(object) if isinstance(object, type) else None) or plain(object)

    module.getfile = functools.wraps(plain)(getfile)


# the core's types print PyTorch's names by themselves, named tuples are told by their module
_NAMED_AS_THEY_ARE = {"rushlight", "rushlight._C", "rushlight._legacy", "rushlight.return_types"}


def _alias(name):
    """Enter a module and those above it under their torch names, where inspect and pickle look for them."""
    while name:
        sys.modules.setdefault(name, sys.modules["rushlight" + name[len("torch") :]])
        name = name.rpartition(".")[0]


_TAUGHT = {"multiprocessing.spawn": _teach_spawn, "inspect": _teach_inspect}  # modules that are told of the names


def install_as_torch():
    """From now on `import torch` and `import torch.x` give rushlight, and its classes say that they are torch's.

    Returns the module.

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
    from ._dispatch_keys import add_private_names

    add_private_names()
    sys.meta_path.insert(0, _TorchFinder)
    sys.modules["torch"] = rushlight
    for name, teach in _TAUGHT.items():
        if name in sys.modules:
            teach(sys.modules[name])
    for name, module in list(sys.modules.items()):
        if name.startswith("rushlight."):
            _name_classes(module)
    return rushlight
