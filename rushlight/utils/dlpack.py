"""DLPack: tensors that share memory with other libraries' arrays."""

from enum import IntEnum

from ..misc import from_dlpack as from_dlpack


class DLDeviceType(IntEnum):
    """Device types as DLPack numbers them."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17


def to_dlpack(tensor):
    """A DLPack capsule that shares the tensor's memory; it can be consumed once."""
    return tensor.__dlpack__()
