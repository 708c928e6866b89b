"""DistributedDataParallel, for programs that import it or ask whether a module is one; there are no process groups."""

from ..modules.module import Module


class DistributedDataParallel(Module):
    """Averages gradients among processes. It wants a process group, and none can be made (rushlight.distributed): as in
    PyTorch before init_process_group, making one raises ValueError."""

    def __init__(self, module, *args, **kwargs):
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
