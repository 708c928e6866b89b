"""The handle that every hook registration returns. It knows the dictionaries that hold its hook and nothing of
what the hook is for."""

import weakref


class RemovableHandle:
    """Removes one hook: by remove(), or on leaving a `with` block.

    Args:
        hooks_dict: the dictionary in which the hook is stored under `id`.
        extra_dict: further dictionaries (one or a list) that hold flags under the same id.
    """

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extras = extra_dict if isinstance(extra_dict, list) else [] if extra_dict is None else [extra_dict]
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras)

    def remove(self):
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self):
        return (self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref))

    def __setstate__(self, state):
        hooks, self.id, extras = state
        # a dictionary that was gone when pickling becomes a dead reference again
        self.hooks_dict_ref = weakref.ref(_WeakDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(_WeakDict() if d is None else d) for d in extras)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.remove()


class _WeakDict(dict):
    """A dict that can be weakly referenced (a plain dict cannot)."""


def warn_if_has_hooks(tensor):
    """Warns about tensor hooks that serialisation would lose."""
    if tensor._backward_hooks:
        import warnings

        for hook in tensor._backward_hooks.values():
            if not hasattr(hook, "__torch_unserializable__"):
                warnings.warn(
                    f"backward hook {hook!r} on tensor will not be serialized. If this is expected, you can decorate "
                    "the function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                    stacklevel=2,
                )


def unserializable_hook(function):
    """Marks a hook that may be dropped silently when its tensor is saved."""
    function.__torch_unserializable__ = True
    return function
