"""Custom differentiable functions: Function, its context, and once_differentiable."""

import functools
import inspect

from .. import _C

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "InplaceFunction", "NestedIOFunction", "once_differentiable"]

Tensor = _C.Tensor

# apply() of a function with a vmap() of its own, inside vmap: func/_vmap.py puts it here, since nothing else needs it
apply_batched = None


class FunctionCtx:
    """What forward, setup_context and backward share: `ctx`."""

    to_save = None
    dirty_tensors = None
    non_differentiable = None
    materialize_grads = True
    saved_for_forward = None
    needs_input_grad = ()

    def save_for_backward(self, *tensors):
        """Keeps tensors for backward, where they are ctx.saved_tensors."""
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keeps tensors for a jvp() that runs with the forward pass."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Says that forward changed these inputs in place."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args):
        """Says that these outputs have no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value):
        """With False, backward sees None for outputs that nothing used; with True zeros."""
        self.materialize_grads = value


class BackwardCFunction(_C._FunctionBase, FunctionCtx):
    """The context as an object: the grad_fn of what the function computed."""

    def apply(self, *args):
        cls = self._forward_cls
        backward, vjp = cls.backward, cls.vjp
        if backward is not Function.backward and vjp is not Function.vjp:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only "
                "implement one of them."
            )
        return (backward if vjp is Function.vjp else vjp)(self, *args)


class Function(FunctionCtx):
    """Base of functions with a derivative of their own: give it forward() and backward(), call apply().

    >>> class Double(rl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         return grad * 2
    >>> x = rl.ones(2, requires_grad=True)
    >>> Double.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """

    # vmap() over the function: by its operators, unless there is a vmap() of its own. The flag says so explicitly.
    generate_vmap_rule = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        _give_backward_class(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            "function with static forward method. (Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args, **kwargs):
        """forward(ctx, *args), or forward(*args) together with setup_context()."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Fills ctx after forward(*args)."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Gradients of forward's arguments from the gradients of its outputs; None where there is none."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @staticmethod
    def vjp(ctx, *grad_outputs):
        """Another name for backward()."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Derivative in forward mode."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """The function of a batch: (outputs, where their batch dimensions are).

        Args:
            info: info.batch_size and info.randomness.
            in_dims: for each argument, its batch dimension, or None.
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args, **kwargs):
        """Runs forward() and records the call."""
        if apply_batched is not None and cls.vmap is not Function.vmap:
            batched = apply_batched(cls, args, kwargs)
            if batched is not None:
                return batched.apply(*args, **kwargs)
        if _C._forward_level() >= 0:
            from ._function_forward import apply_with_tangents

            return apply_with_tangents(cls, args, kwargs)
        return cls._apply(cls._backward_cls(), args, kwargs)

    @classmethod
    def _apply(cls, ctx, args, kwargs):
        if cls.setup_context is Function.setup_context:
            return _C._function_apply(functools.partial(cls.forward, **kwargs) if kwargs else cls.forward, None,
                                      ctx, args)  # fmt: skip
        args = _all_arguments(cls.forward, args, kwargs)
        return _C._function_apply(cls.forward, cls.setup_context, ctx, args)


def _give_backward_class(cls):
    # Contexts are instances of a class named after the function: its name is what grad_fn shows.
    cls._backward_cls = type(cls.__name__ + "Backward", (BackwardCFunction,), {"_forward_cls": cls})
    cls._backward_cls.__module__ = cls.__module__


_give_backward_class(Function)


def _all_arguments(forward, args, kwargs):
    """Positional arguments with defaults filled in, as setup_context expects its inputs."""
    code = getattr(forward, "__code__", None)
    if not kwargs and code is not None and len(args) >= code.co_argcount:
        return args
    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


class InplaceFunction(Function):
    """A Function with a flag for the in-place form."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """The name of an old kind of function, with arguments in nests. What exists of it is what a Function has."""

    def forward_extended(self, *input):
        """To be overridden."""
        raise NotImplementedError

    def backward_extended(self, *grad_output):
        """To be overridden."""
        raise NotImplementedError


class _DifferentiatedOnce(Function):
    """Passes gradients on and refuses to be differentiated."""

    @staticmethod
    def forward(ctx, *tensors):
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx, *grads):
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def once_differentiable(backward):
    """Decorator for a backward() that does not record: differentiating its result again is an error."""

    @functools.wraps(backward)
    def wrapper(ctx, *args):
        with _no_grad():
            outputs = backward(ctx, *args)
        if not _C.is_grad_enabled() or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return outputs
        single = not isinstance(outputs, tuple)
        outputs = [outputs] if single else list(outputs)
        places = [i for i, o in enumerate(outputs) if o is not None]
        guarded = _DifferentiatedOnce.apply(*[outputs[i].detach().requires_grad_() for i in places])
        for i, o in zip(places, guarded):
            outputs[i] = o
        return outputs[0] if single else tuple(outputs)

    return wrapper


_no_grad = _C._no_grad


def recorded_as(name):
    """Decorator of a Function: the name that grad_fn shows."""

    def rename(function):
        function._backward_cls.__name__ = name
        return function

    return rename
