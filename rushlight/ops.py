"""torch.ops: operators by namespace, `ops.aten.mm.default(a, b)`, and those that programs define with rushlight.library.

An operator of "aten" is the function of that name; its overloads are objects that can be compared and called.
"""

import sys
from types import ModuleType

from . import _C


class OpOverload:
    """One overload of an operator. Two of the same name are the same object."""

    def __init__(self, packet, overload):
        self._packet, self._overloadname = packet, overload
        self.__name__ = f"{packet.__name__}.{overload}"
        self.namespace = packet._namespace

    @property
    def overloadpacket(self):
        """The operator with all its overloads."""
        return self._packet

    def name(self):
        """The qualified name, as "aten::sum.dim_IntList"; "default" is left out."""
        full = self._packet._qualified_op_name
        return full if self._overloadname == "default" else f"{full}.{self._overloadname}"

    def __call__(self, *args, **kwargs):
        return self._packet(*args, **kwargs)

    def __str__(self):
        return f"{self.namespace}.{self.__name__}"

    def __repr__(self):
        return f"<OpOverload(op='{self.namespace}.{self._packet.__name__}', overload='{self._overloadname}')>"


class OpOverloadPacket:
    """An operator: a function, and its overloads as attributes."""

    def __init__(self, namespace, name, function):
        self._namespace, self.__name__, self._function = namespace, name, function
        self._qualified_op_name = f"{namespace}::{name}"
        self._made = {}

    def __getattr__(self, overload):
        if overload.startswith("__"):
            raise AttributeError(overload)
        return self._made.setdefault(overload, OpOverload(self, overload))

    def overloads(self):
        """Names of the overloads that were asked for."""
        return list(self._made) or ["default"]

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def __str__(self):
        return f"{self._namespace}.{self.__name__}"

    def __repr__(self):
        return f"<OpOverloadPacket(op='{self._namespace}.{self.__name__}')>"


def _no_kernel(name):
    def missing(*args, **kwargs):
        raise NotImplementedError(f"aten::{name}: there is no function of that name")

    return missing


def _core_function(name):
    """The function of that name; for a part of one of ours what raises; None where there is neither."""
    import rushlight

    return getattr(_C, name, None) or getattr(rushlight, name, None) or (_no_kernel(name) if name in _PARTS else None)


# Names under which programs list operators that are parts of ours: what ours stand for is in utils/checkpoint.py.
_PARTS = {"_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", "_flash_attention_forward",
          "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_cudnn_attention",
          "_efficient_attention_forward", "_scaled_dot_product_fused_attention_overrideable",
          "_scaled_mm", "upsample_bilinear2d", "max"}  # fmt: skip


class OpNamespace(ModuleType):
    """The operators of one namespace."""

    def __init__(self, name):
        super().__init__(f"torch.ops.{name}")
        self._space = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        function = _core_function(name) if self._space == "aten" else None
        if function is None:
            raise AttributeError(f"'_OpNamespace' '{self._space}' object has no attribute '{name}'")
        packet = OpOverloadPacket(self._space, name, function)
        setattr(self, name, packet)
        return packet


class _Ops(ModuleType):
    """The module itself: its attributes are namespaces."""

    loaded_libraries = frozenset()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        space = OpNamespace(name)
        setattr(self, name, space)
        return space

    @staticmethod
    def load_library(path):
        """Libraries of compiled operators need libtorch: they cannot be loaded."""
        raise OSError(f"{path}: compiled operators of PyTorch cannot be loaded")

    @staticmethod
    def import_module(module):
        """Import a module that defines operators."""
        import importlib

        importlib.import_module(module)


sys.modules[__name__].__class__ = _Ops
