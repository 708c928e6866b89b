"""Modules on several devices. Only what works with the CPU as the one device is here."""

from ..modules.module import Module
from .distributed import DistributedDataParallel as DistributedDataParallel


class DataParallel(Module):
    """Calls module; with no accelerator there is nothing to divide the batch among.

    Args:
        device_ids, output_device: have to be None or empty.
        dim: kept.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        if device_ids or output_device is not None:
            raise NotImplementedError("DataParallel: device_ids and output_device are not implemented")
        self.module, self.dim, self.device_ids = module, dim, []

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)


def data_parallel(module, inputs, device_ids=None, output_device=None, dim=0, module_kwargs=None):
    """Calls module on inputs, as DataParallel does."""
    if device_ids or output_device is not None:
        raise NotImplementedError("data_parallel: device_ids and output_device are not implemented")
    inputs = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return module(*inputs, **(module_kwargs or {}))
