"""Models from repositories. Local folders with a hubconf.py work; nothing is downloaded."""

import importlib.util
import os
import sys

__all__ = ["get_dir", "help", "list", "load", "set_dir"]

_state = {"dir": None}


def get_dir():
    """Folder for models: set_dir()'s, else $TORCH_HOME/hub, else ~/.cache/torch/hub."""
    if _state["dir"] is not None:
        return _state["dir"]
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.join(os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))), "hub")


def set_dir(d):
    """Choose the folder that get_dir() answers."""
    _state["dir"] = os.path.expanduser(d)


def _module(folder):
    path = os.path.join(folder, "hubconf.py")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _folder(repo_or_dir, source):
    if source.lower() not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source.lower() == "github":
        raise NotImplementedError(
            "hub: repositories are not downloaded; give a local folder and source='local'"
        )
    return repo_or_dir


def _entry(module, name):
    if not callable(getattr(module, name, None)):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return getattr(module, name)


def load(repo_or_dir, model, *args, source="github", trust_repo=None, force_reload=False, verbose=True,
         skip_validation=False, **kwargs):  # fmt: skip
    """Call the entry point `model` of a folder's hubconf.py."""
    return _entry(_module(_folder(repo_or_dir, source)), model)(*args, **kwargs)


def list(github, force_reload=False, skip_validation=False, trust_repo=None, verbose=True):  # noqa: A001
    """Names of the entry points of a local folder's hubconf.py."""
    module = _module(github if os.path.isdir(github) else _folder(github, "github"))
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]


def help(github, model, force_reload=False, skip_validation=False, trust_repo=None):  # noqa: A001
    """Help text of an entry point of a local folder's hubconf.py."""
    return _entry(_module(github if os.path.isdir(github) else _folder(github, "github")), model).__doc__
