"""rushlight: the PyTorch programming model on NumPy and one small C++ core.

`import rushlight as torch` and go on as a PyTorch tutorial does.
"""

from . import _C

__version__ = "2.13.0+rushlight.0.1.0"  # the PyTorch release whose behaviour is implemented, then our own version

from ._C import (
    Size as Size,
    UntypedStorage as UntypedStorage,
    can_cast as can_cast,
    device as device,
    dtype as dtype,
    from_numpy as from_numpy,
    get_default_dtype as get_default_dtype,
    layout as layout,
    mm as spmm,  # noqa: F401
    memory_format as memory_format,
    promote_types as promote_types,
    qscheme as qscheme,
    set_default_dtype as set_default_dtype,
)

# Every operator of the table that has a function form, under its own name; every dtype, layout and memory format.
globals().update({name: getattr(_C, name) for name in _C._exported[""]})
globals().update(
    {
        name: value
        for name, value in vars(_C).items()
        if isinstance(value, (_C.dtype, _C.layout, _C.memory_format, _C.qscheme)) and not name.startswith("_")
    }
)

from .tensor import Tensor as Tensor  # attaches the methods written in Python

tensor = _C.tensor  # the submodule of the same name stood in its place
from ._legacy import types as _legacy_types

globals().update(_legacy_types)

from .autograd import (
    enable_grad as enable_grad,
    inference_mode as inference_mode,
    is_grad_enabled as is_grad_enabled,
    is_inference_mode_enabled as is_inference_mode_enabled,
    no_grad as no_grad,
    set_grad_enabled as set_grad_enabled,
)
from ._printing import (
    get_printoptions as get_printoptions,
    printoptions as printoptions,
    set_printoptions as set_printoptions,
)
from ._composites import *  # noqa: F403
from ._indexing import *  # noqa: F403
from .functional import *  # noqa: F403
from .random import (
    Generator as Generator,
    default_generator as default_generator,
    fork_rng as fork_rng,
    get_rng_state as get_rng_state,
    initial_seed as initial_seed,
    manual_seed as manual_seed,
    seed as seed,
    set_rng_state as set_rng_state,
)
from .serialization import load as load
from .serialization import resume_training as resume_training
from .serialization import save as save
from .serialization import save_training as save_training
from .misc import *  # noqa: F403
from .sparse._constructors import (
    sparse_bsc_tensor as sparse_bsc_tensor,
    sparse_bsr_tensor as sparse_bsr_tensor,
    sparse_compressed_tensor as sparse_compressed_tensor,
    sparse_coo_tensor as sparse_coo_tensor,
    sparse_csc_tensor as sparse_csc_tensor,
    sparse_csr_tensor as sparse_csr_tensor,
)
from ._quantized import *  # noqa: F403
from .compat import install_as_torch as install_as_torch

from . import (
    autograd as autograd,
    backends as backends,
    cpu as cpu,
    cuda as cuda,
    nn as nn,
    optim as optim,
    random as random,
    serialization as serialization,
    sparse as sparse,
    utils as utils,
)

from math import e as e, inf as inf, nan as nan, pi as pi

newaxis = None
legacy_contiguous_format = _C.contiguous_format

_LAZY = {
    "distributions", "fft", "func", "linalg", "overrides", "profiler", "return_types", "safetensors", "special", "storage",
    "testing", "types", "hub", "jit", "distributed", "multiprocessing", "amp", "version", "quantization", "fx",
    "futures", "compiler", "library", "export", "onnx", "signal", "masked", "nested", "package", "mps", "xpu", "demo",
    "__config__", "__future__", "_dynamo", "ao", "ops", "accelerator", "mtia",
}  # fmt: skip

_LAZY_NAMES = {
    "autocast": "amp", "GradScaler": "amp", "vmap": "func", "Event": "cuda", "Stream": "cuda",
    "lobpcg": "_linalg.lobpcg", "Tag": "_symbolic", "SymInt": "_symbolic", "SymFloat": "_symbolic", "SymBool": "_symbolic",
    "hspmm": "sparse._mixed", "smm": "sparse._mixed", "sspaddmm": "sparse._mixed", "saddmm": "sparse._mixed",
    **dict.fromkeys((
        "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache", "get_autocast_cpu_dtype",
        "get_autocast_dtype", "get_autocast_gpu_dtype", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
        "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
        "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype",
    ), "amp.autocast_mode"),
}  # fmt: skip


def __getattr__(name):
    """Submodules that few programs need are imported when they are first named."""
    if name in _LAZY:
        import importlib

        try:
            return importlib.import_module("." + name, __name__)
        except ModuleNotFoundError as missing:
            if missing.name != f"{__name__}.{name}":
                raise
    if name in _LAZY_NAMES:
        import importlib

        return getattr(importlib.import_module("." + _LAZY_NAMES[name], __name__), name)
    if name == "Storage":
        return __getattr__("FloatStorage")
    if name.endswith("Storage"):
        from . import storage

        if name == "TypedStorage" or name in storage.STORAGE_DTYPES or name in storage.PACKED_STORAGES:
            return getattr(storage, name)
    import sys

    own = "torch" if sys.modules.get("torch") is sys.modules[__name__] else "rushlight"  # as the program named it
    raise AttributeError(f"module '{own}' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_LAZY, *_LAZY_NAMES})
