"""The recorded graph as programs see it: nodes, edges, hooks on what is saved, hooks on several tensors."""

import contextlib
import threading
import weakref
from collections import namedtuple

from .. import _C

Node = _C._Node

GradientEdge = namedtuple("GradientEdge", ["node", "output_nr", "ownership_token"], defaults=[None])
GradientEdge.__doc__ = "Where the gradient of a tensor goes: a node, and which of its outputs the tensor is."


def get_gradient_edge(tensor):
    """The GradientEdge of a tensor that requires a gradient."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(*_C._gradient_edge(tensor))


def increment_version(tensor):
    """Counts an in-place write that happened behind the library's back."""
    for t in [tensor] if isinstance(tensor, _C.Tensor) else tensor:
        _C._increment_version(t)


class saved_tensors_hooks:
    """Inside, what an operation saves for backward goes through pack_hook; unpack_hook gives it back when it is needed.

    >>> x = rl.ones(2, requires_grad=True)
    >>> with rl.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(force=True), rl.from_numpy):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 2.])
    """

    def __init__(self, pack_hook, unpack_hook):
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self):
        _C._push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exception):
        _C._pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Inside, saved tensors are kept in CPU memory and go back to their device for backward."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda t: (t.device, t.cpu()), lambda packed: packed[1].to(packed[0]))


class _AllowMutationOnSavedContext:
    """The values that calls inside the context have saved."""

    def __init__(self):
        self.copies = weakref.WeakSet()

    def clear(self):
        """Forget them: backward is no longer possible."""
        for copy in list(self.copies):
            copy.value = None


class _Copy:
    __slots__ = ("__weakref__", "value")

    def __init__(self, value):
        self.value = value


_allowing_mutation = None


@contextlib.contextmanager
def allow_mutation_on_saved_tensors():
    """Inside, tensors that backward needs may be changed in place: what is saved are copies of their values.

    Backward has to run inside, too.

    >>> with rl.autograd.graph.allow_mutation_on_saved_tensors():
    ...     x = rl.ones(2, requires_grad=True)
    ...     y = x.clone()
    ...     out = (y * y).sum()
    ...     y.zero_()
    ...     out.backward()
    tensor([0., 0.], grad_fn=<ZeroBackward0>)
    >>> x.grad
    tensor([2., 2.])
    """
    global _allowing_mutation
    if _allowing_mutation is not None:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    context = _AllowMutationOnSavedContext()

    def pack(t):
        copy = _Copy(t.detach().clone())
        context.copies.add(copy)
        return copy

    def unpack(copy):
        if _allowing_mutation is not context or copy.value is None:
            raise AssertionError("Trying to backward outside of the 'allow_mutation_on_saved_tensors' contextin which the "
                                 "graph was originally recorded.")  # fmt: skip
        return copy.value

    with saved_tensors_hooks(pack, unpack):
        _allowing_mutation = context
        try:
            yield context
        finally:
            _allowing_mutation = None
            context.clear()


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message):
    """Inside, saved_tensors_hooks raises with this message."""
    _C._disable_saved_tensors_hooks(error_message)
    try:
        yield
    finally:
        _C._disable_saved_tensors_hooks(None)


class _Handles:
    """Removes several hooks at once."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self):
        for handle in self.handles:
            handle.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Calls fn(grads) when the gradients of all tensors are known, or fn(grad) for the first of them (mode="any")."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    lock = threading.Lock()
    arrived = {}

    def reset():
        arrived.clear()

    def hook_of(index):
        def hook(grad):
            with lock:
                if not arrived:
                    _C._queue_callback(reset)
                first = not arrived
                arrived[index] = grad
                complete = len(arrived) == len(tensors)
            if mode == "any":
                if first:
                    fn(grad)
            elif complete:
                fn([arrived.get(i) for i in range(len(tensors))])

        return hook

    return _Handles([t.register_hook(hook_of(i)) for i, t in enumerate(tensors)])
