"""Parametrizations: a parameter or buffer of a module computed from other tensors each time it is read.

register_parametrization gives the module a class of its own, in which the tensor's name is a property; the tensors it
is computed from are in module.parametrizations.<name>."""

from contextlib import contextmanager, suppress

import rushlight as rl

from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

_cache_depth = 0
_cache = {}


@contextmanager
def cached():
    """Inside, every parametrized tensor is computed once only."""
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if not _cache_depth:
            _cache.clear()


def _assign(module, name, value, was_parameter):
    """Stores a tensor as parameter or buffer."""
    if was_parameter:
        value = value if isinstance(value, Parameter) else Parameter(value, value.requires_grad)
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order to `original` (or original0, original1, ... where the first
    right_inverse gave several tensors).

    Args:
        original: the tensor as it was.
        unsafe: skip the checks that shape and dtype stay the same.
    """

    def __init__(self, modules, original, unsafe=False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        self._is_parameter = isinstance(original, Parameter)
        shape, dtype = original.shape, original.dtype
        with rl.no_grad():
            start = original
            for module in reversed(self):
                if hasattr(module, "right_inverse"):
                    with suppress(NotImplementedError):
                        start = module.right_inverse(start)
        self.is_tensor = isinstance(start, rl.Tensor)
        if self.is_tensor:
            if start is not original:
                with rl.no_grad():
                    original.data = start.detach()
            self._keep("original", original)
        else:
            start = tuple(start)
            self.ntensors = len(start)
            for i, tensor in enumerate(start):
                kept = Parameter(tensor, original.requires_grad) if self._is_parameter else tensor
                self._keep(f"original{i}", kept)
        if not unsafe:
            result = self()
            if result.dtype != dtype:
                raise ValueError(
                    "Registering a parametrization may not change the dtype of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized dtype: {dtype}\nparametrized dtype: {result.dtype}"
                )
            if result.shape != shape:
                raise ValueError(
                    "Registering a parametrization may not change the shape of the tensor, unless `unsafe` flag is "
                    f"enabled.\nunparametrized shape: {shape}\nparametrized shape: {result.shape}"
                )

    def _keep(self, name, tensor):
        _assign(self, name, tensor, self._is_parameter)

    def _originals(self):
        if self.is_tensor:
            return (self.original,)
        return tuple(getattr(self, f"original{i}") for i in range(self.ntensors))

    def right_inverse(self, value):
        """Sets the originals so that the parametrized tensor becomes value."""
        with rl.no_grad():
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            for kept, new in zip(self._originals(), (value,) if self.is_tensor else value):
                kept.set_(new.detach()) if kept.shape != new.shape else kept.copy_(new)

    def forward(self):
        value = self[0](*self._originals())
        for module in list(self)[1:]:
            value = module(value)
        return value


def _property(name):
    """The property that computes a parametrized tensor, or sets its originals."""

    def read(self):
        if not _cache_depth:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def write(self, value):
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def _give_own_class(module):
    base = type(module)

    def refuse(self):
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict(). See:\n"
            "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
            "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
        )

    def deepcopy(self, memo):
        import copy

        replica = self.__new__(type(self))
        memo[id(self)] = replica
        replica.__dict__ = copy.deepcopy(self.__dict__, memo)
        return replica

    members = {"__getstate__": refuse, "__deepcopy__": deepcopy, "__module__": __name__}
    module.__class__ = type("Parametrized" + base.__name__, (base,), members)


def is_parametrized(module, tensor_name=None):
    """Whether the module (or its tensor tensor_name) is parametrized."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def type_before_parametrizations(module):
    """The class of the module without its parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Computes module.<tensor_name> by parametrization(original) from now on.

    Args:
        parametrization: a module; if it has right_inverse, that gives the originals for a value that is assigned.
        unsafe: allow shape and dtype to change.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        entry = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            result = parametrization(value)
            if result.shape != value.shape:
                raise ValueError(
                    "A parametrization may not change the shape of the tensor if the `unsafe` flag is not enabled.\n"
                    f"Tensor shape: {value.shape}\nParametrized shape: {result.shape}"
                )
        entry.append(parametrization)
        entry.unsafe |= unsafe
    elif tensor_name in module._parameters or tensor_name in module._buffers:
        original = getattr(module, tensor_name)
        entry = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        module.parametrizations[tensor_name] = entry
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Makes module.<tensor_name> an ordinary tensor again.

    Args:
        leave_parametrized: keep the computed value; otherwise go back to the original.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    entry = module.parametrizations[tensor_name]
    if not entry.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    if entry.is_tensor:
        original = entry.original
        if leave_parametrized:
            with rl.no_grad():
                value = getattr(module, tensor_name)
                original.data = value.detach().clone()
    else:
        value = getattr(module, tensor_name).detach()
        original = Parameter(value) if entry._is_parameter else value
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _assign(module, tensor_name, original, entry._is_parameter)
    if not module.parametrizations:
        base = type(module).__bases__[0]
        del module._modules["parametrizations"]
        module.__class__ = base
    return module


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Gives to_module the parametrizations of from_module, and their originals."""
    if not is_parametrized(from_module):
        return to_module
    names = [tensor_name] if tensor_name is not None else list(from_module.parametrizations)
    for name in names:
        entry = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for parametrization in entry:
            register_parametrization(to_module, name, parametrization, unsafe=entry.unsafe)
        target = to_module.parametrizations[name]
        for kept, value in zip(target._originals(), entry._originals()):
            kept.data = value.detach()
    return to_module
