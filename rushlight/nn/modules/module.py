"""Module, the base class of everything in nn that has parameters: registration of parameters, buffers and children,
walking over them, their modes, and the printed form. Hooks are in _hooks.py, state_dict in _state.py, conversion to
other dtypes and devices in _convert.py."""

from collections import OrderedDict

import rushlight
from rushlight import Tensor
from rushlight._C import _quick_attributes

from ..parameter import Buffer as Buffer
from ..parameter import is_parameter
from ._convert import ConversionMethods
from ._hooks import (
    GLOBAL_BACKWARD,
    GLOBAL_BACKWARD_PRE,
    GLOBAL_BUFFER_REGISTRATION,
    GLOBAL_FORWARD,
    GLOBAL_FORWARD_PRE,
    GLOBAL_MODULE_REGISTRATION,
    GLOBAL_PARAMETER_REGISTRATION,
    HookMethods,
    at_registration,
    call_with_hooks,
)
from ._hooks import register_module_backward_hook as register_module_backward_hook
from ._hooks import register_module_buffer_registration_hook as register_module_buffer_registration_hook
from ._hooks import register_module_forward_hook as register_module_forward_hook
from ._hooks import register_module_forward_pre_hook as register_module_forward_pre_hook
from ._hooks import register_module_full_backward_hook as register_module_full_backward_hook
from ._hooks import register_module_full_backward_pre_hook as register_module_full_backward_pre_hook
from ._hooks import register_module_module_registration_hook as register_module_module_registration_hook
from ._hooks import register_module_parameter_registration_hook as register_module_parameter_registration_hook
from ._state import StateMethods
from ._state import _IncompatibleKeys as _IncompatibleKeys
from ._state import _WrappedHook as _WrappedHook

_HOOK_DICTIONARIES = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class Module(HookMethods, StateMethods, ConversionMethods):
    """Base class of networks and layers.

    Assigning a Parameter or a Module to an attribute registers it, so that parameters(), to(), state_dict() and
    the rest reach it. A subclass calls super().__init__() first and defines forward().

    >>> class Double(Module):
    ...     def forward(self, x):
    ...         return 2 * x
    >>> Double()(rl.ones(2))
    tensor([2., 2.])
    """

    dump_patches = False
    _compiled_call_impl = None  # what compile() made of the call
    call_super_init = False  # set in a subclass: __init__ passes its arguments on (for multiple inheritance)

    def __init__(self, *args, **kwargs):
        if not self.call_super_init:
            if kwargs:
                name = next(iter(kwargs))
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument '{name}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
                )
        d = self.__dict__  # filled directly: __setattr__ needs these entries
        d["training"] = True
        d["_parameters"] = {}
        d["_buffers"] = {}
        d["_non_persistent_buffers_set"] = set()
        d["_backward_pre_hooks"] = OrderedDict()
        d["_backward_hooks"] = OrderedDict()
        d["_is_full_backward_hook"] = None
        d["_forward_hooks"] = OrderedDict()
        d["_forward_hooks_with_kwargs"] = OrderedDict()
        d["_forward_hooks_always_called"] = OrderedDict()
        d["_forward_pre_hooks"] = OrderedDict()
        d["_forward_pre_hooks_with_kwargs"] = OrderedDict()
        d["_state_dict_hooks"] = OrderedDict()
        d["_state_dict_pre_hooks"] = OrderedDict()
        d["_load_state_dict_pre_hooks"] = OrderedDict()
        d["_load_state_dict_post_hooks"] = OrderedDict()
        d["_modules"] = {}
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input):
        """The computation of a call. Every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args, **kwargs):
        d = self.__dict__
        if "_compiled_call_impl" in d:
            return d["_compiled_call_impl"](*args, **kwargs)
        if (
            d["_forward_hooks"]
            or d["_forward_pre_hooks"]
            or d["_backward_hooks"]
            or d["_backward_pre_hooks"]
            or GLOBAL_FORWARD
            or GLOBAL_FORWARD_PRE
            or GLOBAL_BACKWARD
            or GLOBAL_BACKWARD_PRE
        ):
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    _wrapped_call_impl = __call__

    def _call_impl(self, *args, **kwargs):
        """The call with its hooks, not compiled."""
        return call_with_hooks(self, args, kwargs)

    def compile(self, *args, **kwargs):
        """Compiles the module's call, in place, by rushlight.compile with these arguments."""
        self._compiled_call_impl = rushlight.compile(self._call_impl, *args, **kwargs)

    # --- attributes ---------------------------------------------------------------------------------------------

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _quick_attributes(Module.__getattr__, cls)

    def __getattr__(self, name):
        # Reached only when the ordinary lookup found nothing: by super().__getattr__, and to raise. Everything else goes
        # through the same lookup in core/python/attributes.cpp.
        d = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            if registry in d and name in d[registry]:
                return d[registry][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        d = self.__dict__
        parameters = d.get("_parameters")
        if parameters is None:
            _refuse_before_init(value)
            object.__setattr__(self, name, value)
        elif isinstance(value, Tensor) and is_parameter(value):
            self._forget(name, keep=parameters)
            self.register_parameter(name, value)
        elif name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            modules = d["_modules"]
            self._forget(name, keep=modules)
            if GLOBAL_MODULE_REGISTRATION:
                value = at_registration(GLOBAL_MODULE_REGISTRATION, self, name, value)
            modules[name] = value
        elif name in d["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{_typename(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
            d["_modules"][name] = None
        elif name in d["_buffers"] or (isinstance(value, Tensor) and getattr(value, "_is_buffer", False)):
            self._set_buffer(name, value)
        else:
            object.__setattr__(self, name, value)

    def _set_buffer(self, name, value):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign '{_typename(value)}' as buffer '{name}' "
                "(torch.nn.Buffer, torch.Tensor or None expected)"
            )
        if value is not None and getattr(value, "_is_buffer", False):
            persistent = value.persistent
        else:
            persistent = name not in self._non_persistent_buffers_set
        self._forget(name, keep=self._buffers)
        self.register_buffer(name, value, persistent)

    def _forget(self, name, keep):
        """Removes name from wherever it is stored, except from the dictionary `keep` (its place there stays)."""
        d = self.__dict__
        d.pop(name, None)
        for registry in (d["_parameters"], d["_buffers"], d["_modules"]):
            if registry is not keep:
                registry.pop(name, None)
        d["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name):
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[:1].isdigit())

    # --- registration -------------------------------------------------------------------------------------------

    def _check_new_name(self, name, kind, registry, hint=""):
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."{hint}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name, param):
        """Adds a parameter; None makes the name known without a value."""
        registry = self.__dict__.get("_parameters")
        if registry is None:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_new_name(name, "parameter", registry)
        if param is not None:
            if not is_parameter(param):
                raise TypeError(
                    f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created "
                    f"explicitly. To express '{name}' as a function of another Tensor, compute the value in the "
                    "forward() method."
                )
            if GLOBAL_PARAMETER_REGISTRATION:
                param = at_registration(GLOBAL_PARAMETER_REGISTRATION, self, name, param)
        registry[name] = param

    def register_buffer(self, name, tensor, persistent=True):
        """Adds a tensor that belongs to the module's state but is not a parameter, such as a running mean.

        Args:
            persistent: save it in the state_dict.
        """
        registry = self.__dict__.get("_buffers")
        if registry is None:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_new_name(name, "buffer", registry)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        if GLOBAL_BUFFER_REGISTRATION:
            tensor = at_registration(GLOBAL_BUFFER_REGISTRATION, self, name, tensor)
        registry[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name, module):
        """Adds a child."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_new_name(name, "module", self._modules, f", got: {name}")
        if GLOBAL_MODULE_REGISTRATION:
            module = at_registration(GLOBAL_MODULE_REGISTRATION, self, name, module)
        self._modules[name] = module

    def register_module(self, name, module):
        """The same as add_module."""
        self.add_module(name, module)

    # --- access by dotted name ----------------------------------------------------------------------------------

    def get_submodule(self, target):
        """The descendant with the dotted name target; "" is the module itself."""
        module = self
        for name in target.split(".") if target else ():
            child = getattr(module, name, _MISSING)
            if child is _MISSING:
                raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
            if not isinstance(child, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
            module = child
        return module

    def set_submodule(self, target, module, strict=False):
        """Puts module in the place target. With strict that place must exist already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def _get_tensor(self, target):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        value = getattr(module, name, _MISSING)
        if value is _MISSING:
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        return module, name, value

    def get_parameter(self, target):
        """The parameter with the dotted name target."""
        _, name, value = self._get_tensor(target)
        if not is_parameter(value):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return value

    def get_buffer(self, target):
        """The buffer with the dotted name target."""
        module, name, value = self._get_tensor(target)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return value

    # --- walking ------------------------------------------------------------------------------------------------

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, value in get_members_fn(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def parameters(self, recurse=True):
        """Iterates over the parameters; each is given once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Iterates over (dotted name, parameter)."""
        yield from self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """Iterates over the buffers; each is given once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """Iterates over (dotted name, buffer)."""
        yield from self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self):
        """Iterates over the direct children; each is given once."""
        for _, module in self.named_children():
            yield module

    def named_children(self):
        """Iterates over (name, direct child)."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate=True):
        """Iterates over the module itself and all descendants."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """Iterates over (dotted name, module): the module itself, then its descendants, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def apply(self, fn):
        """Calls fn on every descendant, children first, and on the module itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # --- modes and gradients ------------------------------------------------------------------------------------

    def train(self, mode=True):
        """Sets training mode (Dropout and BatchNorm act) for the module and its descendants."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """Sets evaluation mode: the same as train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Sets requires_grad of all parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Clears the gradients of all parameters: removes them, or fills them with zeros."""
        for parameter in self.parameters():
            grad = parameter.grad
            if grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                if grad.grad_fn is not None:
                    grad.detach_()
                else:
                    grad.requires_grad_(False)
                grad.zero_()

    # --- printing and copying -----------------------------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """The text between the parentheses of repr; lines are separated by newlines."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        return _assemble_repr(self._get_name(), extra_lines, child_lines)

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        # files of older versions lack some of the entries
        for name in _HOOK_DICTIONARIES:
            if name not in self.__dict__:
                self.__dict__[name] = OrderedDict()
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.setdefault("_is_full_backward_hook", None)

    def _replicate_for_data_parallel(self):
        replica = type(self).__new__(type(self))
        replica.__dict__ = dict(self.__dict__)
        for name in ("_parameters", "_buffers", "_modules"):
            replica.__dict__[name] = dict(replica.__dict__[name])
        replica.__dict__["_parameters"] = {}
        replica._is_replica = True
        return replica


_quick_attributes(Module.__getattr__, Module)



_MISSING = object()


def _refuse_before_init(value):
    kinds = {"module": isinstance(value, Module), "parameters": False, "buffer": False}
    if isinstance(value, Tensor):
        kinds["parameters"] = is_parameter(value)
        kinds["buffer"] = getattr(value, "_is_buffer", False)
    for kind, found in kinds.items():
        if found:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")


def _typename(value):
    """The name of a value's type as the error messages give it."""
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _indent(text, spaces=2):
    """Indents all lines but the first."""
    return text.replace("\n", "\n" + spaces * " ")


def _assemble_repr(name, extra_lines, child_lines):
    if len(extra_lines) == 1 and not child_lines:
        return f"{name}({extra_lines[0]})"
    lines = extra_lines + child_lines
    return f"{name}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{name}()"
