"""Names in checkpoints: rushlight's objects are written under PyTorch's names, and PyTorch's names are read as ours."""

import importlib

import rushlight as rl

_REBUILD = (
    "_rebuild_tensor",
    "_rebuild_tensor_v2",
    "_rebuild_tensor_v3",
    "_rebuild_parameter",
    "_rebuild_parameter_with_state",
    "_rebuild_sparse_tensor",
    "_rebuild_qtensor",
    "_rebuild_meta_tensor_no_storage",
    "_rebuild_device_tensor_from_numpy",
    "_rebuild_device_tensor_from_cpu_tensor",
    "_rebuild_xla_tensor",
    "_rebuild_wrapper_subclass",
    "_rebuild_nested_tensor",
)
_DTYPES = (
    "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool complex32 complex64 "
    "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 "
    "quint8 qint8 qint32 quint4x2 quint2x4"
).split() + [f"{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8)]
_TENSOR_TYPES = "Double Float Half BFloat16 Long Int Short Char Byte Bool".split()


# our modules whose classes and functions live elsewhere in PyTorch, for themselves and the modules below them
_HOMES = {
    "rushlight._C": "torch",
    "rushlight._composites": "torch",
    "rushlight._indexing": "torch",
    "rushlight._linalg": "torch",
    "rushlight.autograd.gradients": "torch.autograd",
    "rushlight.distributions.transforms": "torch.distributions.transforms",
    "rushlight.misc": "torch",
    "rushlight.nn.functional": "torch.nn.functional",
    "rushlight.nn.modules._hooks": "torch.nn.modules.module",
    "rushlight.nn.modules._state": "torch.nn.modules.module",
    "rushlight.nn.modules.attention": "torch.nn.modules.activation",
    "rushlight.nn.modules.linear_cross_entropy": "torch.nn.modules.loss",
    "rushlight.optim._composed": "torch.optim.lr_scheduler",
    "rushlight.optim._cyclic": "torch.optim.lr_scheduler",
    "rushlight.optim.adafactor": "torch.optim",
    "rushlight.optim.muon": "torch.optim",
    "rushlight.serialization": "torch.serialization",
}
_HOMES_BY_NAME = {
    "Generator": "torch._C",
    "UntypedStorage": "torch.storage",
    "_rebuild_from_type_v2": "torch._tensor",
    "LazyLinear": "torch.nn.modules.linear",
    "Event": "torch.cuda.streams",
    "Stream": "torch.cuda.streams",
}
_LAZY_FAMILIES = {"LazyConv": "conv", "LazyBatchNorm": "batchnorm", "LazyInstanceNorm": "instancenorm"}


def to_torch(module, name):
    """The name under which a file calls our object: rushlight.nn.modules.linear -> torch.nn.modules.linear."""
    if module.partition(".")[0] != "rushlight":
        return module, name
    if name in _HOMES_BY_NAME:
        return _HOMES_BY_NAME[name], name
    if module == "rushlight":
        function = getattr(rl.nn.functional, name, None)  # operators that only nn.functional has
        if function is not None and getattr(rl, name, function) is function:
            return "torch.nn.functional", name
    if module == "rushlight.nn.modules.lazy":
        for family, home in _LAZY_FAMILIES.items():
            if name.startswith(family):
                return f"torch.nn.modules.{home}", name
    above = module
    while above:
        if above in _HOMES:
            return _HOMES[above], name
        above = above.rpartition(".")[0]
    return "torch" + module[len("rushlight") :], name


def is_storage(module, name):
    """Storage classes are known by name, whatever module a file says."""
    return module.partition(".")[0] in ("torch", "rushlight") and name.endswith("Storage")


def torch_globals():
    """PyTorch's names -> our objects, for everything whose module or kind differs here."""
    from .. import _utils
    from ..storage import PACKED_STORAGES, STORAGE_DTYPES, StorageType
    from .safe_globals import _get_layout

    table = {
        "torch.nn.parameter.Parameter": rl.nn.Parameter,
        "torch.serialization._get_layout": _get_layout,
        "torch.Size": rl.Size,
        "torch.Tensor": rl.Tensor,
        "torch.device": rl.device,
        "torch._tensor._rebuild_from_type_v2": _utils._rebuild_from_type_v2,
    }
    table.update((f"torch._utils.{name}", getattr(_utils, name)) for name in _REBUILD)
    for name in (*STORAGE_DTYPES, *PACKED_STORAGES):
        table[f"torch.{name}"] = table[f"torch.cuda.{name}"] = StorageType(name)
    table["torch.storage.UntypedStorage"] = table["torch.UntypedStorage"] = StorageType("UntypedStorage")
    table.update((f"torch.{name}", getattr(rl, name, None)) for name in _DTYPES)
    table.update((repr(scheme), scheme) for scheme in vars(rl._C).values() if isinstance(scheme, rl.qscheme))
    table.update((f"torch.{kind}Tensor", getattr(rl, f"{kind}Tensor", None)) for kind in _TENSOR_TYPES)
    return table


def find_global(module, name):
    """The object that an unrestricted load means by a global of a file."""
    from ..storage import StorageType

    if is_storage(module, name) and name != "TypedStorage":
        return StorageType(name)
    if (module, name) == ("torch._C", "_VariableFunctionsClass"):  # PyTorch's torch.relu is a member of it
        return rl
    if module == "torch.tensor":  # before 1.5
        module = "torch._tensor"
    if module == "torch" or module.startswith("torch."):
        known = torch_globals().get(f"{module}.{name}")
        if known is not None:
            return known
        return _ours("rushlight" + module[len("torch") :], name)
    found = importlib.import_module(module)
    return _member(found, name)


def _ours(module, name):
    """Our object for PyTorch's name of it; classes that we keep elsewhere are known to one of the packages above."""
    above = module
    while above:
        try:
            return _member(importlib.import_module(above), name)
        except (ModuleNotFoundError, AttributeError):
            above = above.rpartition(".")[0]
    raise AttributeError(
        f"the file uses {'torch' + module[len('rushlight') :]}.{name}, which rushlight does not have"
    )


def _member(module, name):
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    return found
