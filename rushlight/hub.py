"""Models from local folders with a hubconf.py, and checkpoints from addresses (https://, file://)."""

import importlib.util
import os
import re
import sys
from urllib.parse import urlparse

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

_state = {"dir": None}
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # the part of a file's name that says how its SHA-256 begins


def get_dir():
    """Folder for models: set_dir()'s, else $TORCH_HOME/hub, else ~/.cache/torch/hub."""
    if _state["dir"] is not None:
        return _state["dir"]
    return os.path.join(_get_torch_home(), "hub")


def _get_torch_home():
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))


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


# ---- checkpoints from addresses


def download_url_to_file(url, dst, hash_prefix=None, progress=True):
    """Fetch an address into a file, which appears only when all of it has arrived.

    Args:
        hash_prefix: the first digits that the SHA-256 of the content must have; RuntimeError if it has others.
        progress: accepted for PyTorch's sake; nothing is printed.
    """
    import hashlib
    from urllib.request import Request, urlopen

    from .serialization.files import written_atomically

    digest = hashlib.sha256()
    with (
        urlopen(Request(url, headers={"User-Agent": "torch.hub"})) as source,
        written_atomically(os.path.expanduser(dst)) as file,
    ):
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
        found = digest.hexdigest()
        if hash_prefix is not None and not found.startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{found}")')


def load_state_dict_from_url(
    url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None, weights_only=False
):
    """The object of a checkpoint at an address. It is fetched once and then read from model_dir.

    Args:
        model_dir: by default the folder "checkpoints" in get_dir().
        check_hash: the name has the form name-<digits>.ext, with the first digits of the content's SHA-256.
        file_name: the name in model_dir, by default that in the address.
    """
    from .serialization import load as load_checkpoint

    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    name = file_name if file_name is not None else os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        digits = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, digits.group(1) if digits else None, progress)
    return load_checkpoint(path, map_location=map_location, weights_only=weights_only)
