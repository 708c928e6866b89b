"""Python's multiprocessing, with tensors that are sent through queues and pipes as shared memory instead of copies.

reductions.py says how a tensor travels, spawn.py starts several processes and waits for all of them.
"""

import multiprocessing
from multiprocessing import *  # noqa: F403

from .reductions import init_reductions
from .spawn import ProcessContext as ProcessContext
from .spawn import ProcessExitedException as ProcessExitedException
from .spawn import ProcessRaisedException as ProcessRaisedException
from .spawn import SpawnContext as SpawnContext
from .spawn import spawn as spawn
from .spawn import start_processes as start_processes

__all__ = [
    *multiprocessing.__all__,
    "get_all_sharing_strategies",
    "get_sharing_strategy",
    "set_sharing_strategy",
    "spawn",
    "start_processes",
]

_STRATEGIES = {"file_descriptor", "file_system"}
_strategy = ["file_descriptor"]

init_reductions()


def get_all_sharing_strategies():
    """Names that set_sharing_strategy takes."""
    return set(_STRATEGIES)


def get_sharing_strategy():
    """The chosen name."""
    return _strategy[0]


def set_sharing_strategy(new_strategy):
    """Accepted for PyTorch's sake: memory is always anonymous and shared by file descriptor."""
    assert new_strategy in _STRATEGIES
    _strategy[0] = new_strategy
