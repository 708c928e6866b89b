"""All of a training run in one file, so that it can go on as if it had never been interrupted."""

import os

from .. import _random_state
from .loading import load
from .saving import save


def _states(obj):
    """state_dict() of an object, or of every member of a list, tuple or dict of them; other values as they are."""
    if hasattr(obj, "state_dict"):
        return obj.state_dict()
    if isinstance(obj, (list, tuple)):
        return [_states(member) for member in obj]
    if isinstance(obj, dict):
        return {key: _states(member) for key, member in obj.items()}
    return obj


def _load_states(obj, state):
    if hasattr(obj, "load_state_dict"):
        obj.load_state_dict(state)
    elif isinstance(obj, (list, tuple, dict)):
        if len(obj) != len(state):
            raise ValueError(f"the file has the states of {len(state)} objects, but {len(obj)} were given")
        pairs = ((obj[key], state[key]) for key in obj) if isinstance(obj, dict) else zip(obj, state, strict=True)
        for member, value in pairs:
            _load_states(member, value)
    else:
        raise TypeError(f"a {type(obj).__name__} has no load_state_dict")


def save_training(path, *, model=None, optimizer=None, scheduler=None, loader=None, **values):
    """Write the states of a training run to one file: parameters, optimizer, schedules, the loader's position inside
    its pass, and every random stream (rushlight's, Python's, NumPy's). The file is replaced in one step.

    Args:
        model, optimizer, scheduler, loader: objects with state_dict(), or lists or dicts of them.
        values: further such objects, or numbers, tensors and the like, such as the epoch.

    >>> save_training("run.pt", model=net, optimizer=opt, loader=batches, epoch=3)  # doctest: +SKIP
    """
    objects = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader}
    states = {name: _states(obj) for name, obj in objects.items() if obj is not None}
    content = {
        "format": "rushlight training 1",
        "states": states,
        "values": {name: _states(value) for name, value in values.items()},
        "random": _random_state.capture(),
    }
    save(content, path)


def resume_training(
    path, *, model=None, optimizer=None, scheduler=None, loader=None, map_location=None, missing_ok=False, **objects
):
    """Bring all the objects back to the states that save_training wrote, and the random streams too.

    The next pass over the loader then goes on with the batch after the last one that was used, and training ends in
    the same bits as without the interruption.

    Args:
        objects: those that were given to save_training under other names than the four.
        missing_ok: return {} where there is no file yet.

    Returns:
        The values that save_training was given besides objects, by name.

    >>> epoch = resume_training("run.pt", model=net, optimizer=opt, loader=batches)["epoch"]  # doctest: +SKIP
    """
    if missing_ok and not os.path.exists(path):
        return {}
    content = load(path, map_location=map_location, weights_only=True)
    if not isinstance(content, dict) or content.get("format") != "rushlight training 1":
        raise RuntimeError(f"{path} was not written by save_training")
    given = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader}
    given = {name: obj for name, obj in given.items() if obj is not None}
    missing = [name for name in given if name not in content["states"]]
    missing += [name for name in objects if name not in content["values"]]
    if missing:
        raise ValueError(f"{path} has no state of: {', '.join(missing)}")
    for name, obj in given.items():
        _load_states(obj, content["states"][name])
    for name, obj in objects.items():
        _load_states(obj, content["values"][name])
    _random_state.restore(content["random"])
    return {name: value for name, value in content["values"].items() if name not in objects}
