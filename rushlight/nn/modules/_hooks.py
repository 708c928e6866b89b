"""Hooks of modules: their registration (per module and for all modules) and the call that runs them.

Module.__call__ goes straight to forward() as long as none of the dictionaries here holds anything for the module."""

from collections import OrderedDict

import rushlight as rl
from rushlight import Tensor
from rushlight.utils.hooks import RemovableHandle

# hooks of all modules; each runs before the module's own hooks of its kind
GLOBAL_FORWARD_PRE = OrderedDict()
GLOBAL_FORWARD = OrderedDict()
GLOBAL_FORWARD_WITH_KWARGS = OrderedDict()
GLOBAL_FORWARD_ALWAYS_CALLED = OrderedDict()
GLOBAL_BACKWARD_PRE = OrderedDict()
GLOBAL_BACKWARD = OrderedDict()
GLOBAL_BUFFER_REGISTRATION = OrderedDict()
GLOBAL_MODULE_REGISTRATION = OrderedDict()
GLOBAL_PARAMETER_REGISTRATION = OrderedDict()
_global_backward_is_full = None  # None until the first global backward hook is registered

_MIXED_KINDS = (
    "Cannot use both regular backward hooks and full backward hooks {}. Please use only one of them."
)


def _add(hooks, hook, extra=()):
    """Stores a hook; extra lists (dictionary, flag) pairs: the id goes into those whose flag is set."""
    handle = RemovableHandle(hooks, extra_dict=[d for d, _ in extra])
    hooks[handle.id] = hook
    for flags, wanted in extra:
        if wanted:
            flags[handle.id] = True
    return handle


def register_module_forward_pre_hook(hook):
    """Calls hook(module, args) before every module's forward; what it returns replaces the arguments."""
    return _add(GLOBAL_FORWARD_PRE, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Calls hook(module, args[, kwargs], output) after every module's forward; what it returns replaces the
    output. With always_call also when forward raised."""
    extra = [(GLOBAL_FORWARD_WITH_KWARGS, with_kwargs), (GLOBAL_FORWARD_ALWAYS_CALLED, always_call)]
    return _add(GLOBAL_FORWARD, hook, extra)


def register_module_backward_hook(hook):
    """The older form of register_module_full_backward_hook: sees the last operation of a forward only."""
    return _register_global_backward(hook, full=False)


def register_module_full_backward_pre_hook(hook):
    """Calls hook(module, grad_output) before every module's backward."""
    return _add(GLOBAL_BACKWARD_PRE, hook)


def register_module_full_backward_hook(hook):
    """Calls hook(module, grad_input, grad_output) when the gradients of a module's inputs are known."""
    return _register_global_backward(hook, full=True)


def _register_global_backward(hook, full):
    global _global_backward_is_full
    if _global_backward_is_full is (not full):
        raise RuntimeError(_MIXED_KINDS.format("as a global Module hook"))
    _global_backward_is_full = full
    return _add(GLOBAL_BACKWARD, hook)


def register_module_buffer_registration_hook(hook):
    """Calls hook(module, name, buffer) when a buffer is registered; what it returns is registered instead."""
    return _add(GLOBAL_BUFFER_REGISTRATION, hook)


def register_module_module_registration_hook(hook):
    """Calls hook(module, name, submodule) when a child is registered; what it returns is registered instead."""
    return _add(GLOBAL_MODULE_REGISTRATION, hook)


def register_module_parameter_registration_hook(hook):
    """Calls hook(module, name, parameter) when a parameter is registered; what it returns is registered instead."""
    return _add(GLOBAL_PARAMETER_REGISTRATION, hook)


def at_registration(hooks, module, name, value):
    """Passes what is being registered through the registration hooks."""
    for hook in hooks.values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


class HookMethods:
    """The part of Module that registers hooks."""

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Calls hook(module, args) before forward, or hook(module, args, kwargs) with with_kwargs. A result other
        than None replaces the arguments: args (a single value is wrapped), or the pair (args, kwargs)."""
        handle = _add(self._forward_pre_hooks, hook, [(self._forward_pre_hooks_with_kwargs, with_kwargs)])
        if prepend:
            self._forward_pre_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Calls hook(module, args[, kwargs], output) after forward. A result other than None replaces the output.

        Args:
            prepend: run it before the module's other forward hooks.
            with_kwargs: pass the keyword arguments too.
            always_call: run it also when forward raised.
        """
        extra = [
            (self._forward_hooks_with_kwargs, with_kwargs),
            (self._forward_hooks_always_called, always_call),
        ]
        handle = _add(self._forward_hooks, hook, extra)
        if prepend:
            self._forward_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Calls hook(module, grad_output) before the module's backward. A result replaces grad_output."""
        handle = _add(self._backward_pre_hooks, hook)
        if prepend:
            self._backward_pre_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_full_backward_hook(self, hook, prepend=False):
        """Calls hook(module, grad_input, grad_output) when the gradients of the inputs are known. A result
        replaces grad_input."""
        if self._is_full_backward_hook is False:
            raise RuntimeError(_MIXED_KINDS.format("on a single Module"))
        self._is_full_backward_hook = True
        handle = _add(self._backward_hooks, hook)
        if prepend:
            self._backward_hooks.move_to_end(handle.id, last=False)
        return handle

    def register_backward_hook(self, hook):
        """The older form of register_full_backward_hook: sees the last operation of forward only."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(_MIXED_KINDS.format("on a single Module"))
        self._is_full_backward_hook = False
        return _add(self._backward_hooks, hook)


def call_with_hooks(module, args, kwargs):
    """forward() with every hook around it."""
    called = set()
    try:
        return _call(module, args, kwargs, called)
    except Exception:
        _run_always_called(module, args, kwargs, called)
        raise


def _call(module, args, kwargs, called):
    full, non_full = [], []
    if GLOBAL_BACKWARD:
        (full if _global_backward_is_full else non_full).extend(GLOBAL_BACKWARD.values())
    if module._backward_hooks:
        (full if module._is_full_backward_hook else non_full).extend(module._backward_hooks.values())
    pre = [*GLOBAL_BACKWARD_PRE.values(), *module._backward_pre_hooks.values()]

    for hook in list(GLOBAL_FORWARD_PRE.values()):
        args = _replace_args(args, hook(module, args))
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                        f"but got {replaced}."
                    )
                args, kwargs = replaced
        else:
            args = _replace_args(args, hook(module, args))

    backward = None
    if full or pre:
        backward = BackwardHook(module, full, pre)
        args = backward.watch_inputs(args)
    result = module.forward(*args, **kwargs)
    for key, hook, with_kwargs, _ in _forward_hooks(module):
        called.add(key)
        replaced = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if replaced is not None:
            result = replaced
    if backward is not None:
        result = backward.watch_outputs(result)
    if non_full:
        _hook_last_operation(module, non_full, args, result)
    return result


def _replace_args(args, replaced):
    if replaced is None:
        return args
    return replaced if isinstance(replaced, tuple) else (replaced,)


def _forward_hooks(module):
    """(key, hook, with_kwargs, always_called) of the global hooks, then of the module's."""
    hooks = [
        (("global", key), hook, key in GLOBAL_FORWARD_WITH_KWARGS, key in GLOBAL_FORWARD_ALWAYS_CALLED)
        for key, hook in GLOBAL_FORWARD.items()
    ]
    with_kwargs, always = module._forward_hooks_with_kwargs, module._forward_hooks_always_called
    hooks += [(key, hook, key in with_kwargs, key in always) for key, hook in module._forward_hooks.items()]
    return hooks


def _run_always_called(module, args, kwargs, called):
    """After an error: the hooks that asked to be called in any case and were not yet."""
    for key, hook, with_kwargs, always in _forward_hooks(module):
        if not always or key in called:
            continue
        try:
            if with_kwargs:
                hook(module, args, kwargs, None)
            else:
                hook(module, args, None)
        except Exception as error:
            import warnings

            kind = "global module forward hook" if isinstance(key, tuple) else "module forward hook"
            warnings.warn(
                f"{kind} with ``always_call=True`` raised an exception that was silenced as another error was raised "
                f"in forward: {error!s}",
                stacklevel=2,
            )


def _hook_last_operation(module, hooks, args, result):
    """Attaches the older backward hooks to the operation that made the (first) result."""
    tensor = result
    while not isinstance(tensor, Tensor):
        tensor = (
            next(v for v in tensor.values() if isinstance(v, Tensor))
            if isinstance(tensor, dict)
            else tensor[0]
        )
    node = tensor.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(lambda grad_input, grad_output, hook=hook: hook(module, grad_input, grad_output))
    _warn_about_non_full(result, args, node)


def _all_tensors(values):
    return isinstance(values, tuple) and all(isinstance(value, Tensor) for value in values)


def _warn_about_non_full(result, args, node):
    """Says why a hook of the older kind will not see all gradients, where that is so."""
    results = (result,) if isinstance(result, Tensor) else result
    on_a_module = "Using non-full backward hooks on a Module that does not"
    if not _all_tensors(results):
        case, lost = f"{on_a_module} return a single Tensor or a tuple of Tensors", "some of the grad_output"
    elif not _all_tensors(args):
        case, lost = (
            f"{on_a_module} take as input a single Tensor or a tuple of Tensors",
            "some of the grad_input",
        )
    elif {r.grad_fn for r in results if r.grad_fn is not None} != {node}:
        case = "Using a non-full backward hook when outputs are generated by different autograd Nodes"
        lost = "some grad_output"
    elif {edge for edge, _ in node.next_functions} != {a.grad_fn for a in args if a.grad_fn is not None}:
        case = "Using a non-full backward hook when the forward contains multiple autograd Nodes"
        lost = "some grad_input"
    else:
        return
    import warnings

    warnings.warn(
        f"{case} is deprecated and will be removed in future versions. This hook will be missing {lost}. "
        "Please use register_full_backward_hook to get the documented behavior.",
        FutureWarning,
        stacklevel=4,
    )


_identity = None


def _identity_with_callback():
    """The Function that hands the gradients passing it to a callback. Made on first use."""
    global _identity
    if _identity is None:

        class BackwardHookFunction(rl.autograd.Function):
            forward_from_backward = True

            @staticmethod
            def forward(ctx, callback, *tensors):
                ctx.callback = callback
                ctx.set_materialize_grads(False)
                outputs = tuple(t.view_as(t) for t in tensors)
                ctx.mark_non_differentiable(*[o for o, t in zip(outputs, tensors) if not t.requires_grad])
                return outputs

            @staticmethod
            def backward(ctx, *grads):
                return (None, *ctx.callback(grads))

        _identity = BackwardHookFunction
    return _identity


class BackwardHook:
    """The full backward hooks of one call of a module: its inputs and outputs pass through an identity whose
    backward shows the gradients to the hooks."""

    def __init__(self, module, hooks, pre_hooks):
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.input_positions = None  # stays None when no input needs a gradient
        self.output_positions = None
        self.input_count = -1
        self.output_count = -1
        self.grad_outputs = None

    def watch_inputs(self, args):
        watched, self.input_positions = self._watch(args, self._at_inputs)
        self.input_count = len(args)
        return watched

    def watch_outputs(self, result):
        single = not isinstance(result, tuple)
        results = (result,) if single else result
        watched, self.output_positions = self._watch(results, self._at_outputs)
        self.output_count = len(results)
        return watched[0] if single else watched

    @staticmethod
    def _watch(values, callback):
        positions = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
        if not (rl.is_grad_enabled() and any(values[i].requires_grad for i in positions)):
            return values, None
        watched = list(values)
        for i, tensor in zip(
            positions, _identity_with_callback().apply(callback, *[values[i] for i in positions])
        ):
            watched[i] = tensor
        # a namedtuple keeps its class
        rebuilt = values._make(watched) if hasattr(values, "_make") else type(values)(watched)
        return rebuilt, positions

    @staticmethod
    def _spread(positions, grads, count):
        spread = [None] * count
        for i, grad in zip(positions, grads):
            spread[i] = grad
        return tuple(spread)

    def _at_outputs(self, grads):
        self.grad_outputs = self._spread(self.output_positions, grads, self.output_count)
        for hook in self.pre_hooks:
            replaced = hook(self.module, self.grad_outputs)
            if replaced is None:
                continue
            replaced = replaced if isinstance(replaced, tuple) else (replaced,)
            if len(replaced) != self.output_count:
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, "
                    f"got {len(replaced)}, but expected {self.output_count}"
                )
            self.grad_outputs = replaced
        grads = tuple(self.grad_outputs[i] for i in self.output_positions)
        if self.input_positions is None:
            self._call_without_inputs()
        return grads

    def _call_without_inputs(self):
        """No input needs a gradient, so nothing will pass the inputs: the hooks are called here."""
        import warnings

        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
            "require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
            "#torch.nn.Module.register_full_backward_hook for more details.",
            stacklevel=5,
        )
        for hook in self.hooks:
            result = hook(self.module, (None,) * self.input_count, self.grad_outputs)
            if result is not None and not (isinstance(result, tuple) and all(r is None for r in result)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None "
                    "for all gradients."
                )
        self.grad_outputs = None

    def _at_inputs(self, grads):
        if self.grad_outputs is None:  # the gradient did not come through the module's outputs
            return grads
        grad_input = self._spread(self.input_positions, grads, self.input_count)
        for hook in self.hooks:
            replaced = hook(self.module, grad_input, self.grad_outputs)
            if replaced is None:
                continue
            replaced = replaced if isinstance(replaced, tuple) else (replaced,)
            if len(replaced) != len(grad_input):
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, "
                    f"got {len(replaced)}, but expected {len(grad_input)}"
                )
            grad_input = replaced
        self.grad_outputs = None
        return tuple(grad_input[i] for i in self.input_positions)
