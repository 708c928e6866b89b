"""Pruning: entries of a module's parameter held at zero by a mask.

A pruned parameter <name> lives on as <name>_orig with the buffer <name>_mask; before each forward call a hook sets the
attribute <name> to their product.
"""

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable

import rushlight as rl


class BasePruningMethod(ABC):
    """Base of the ways to prune. A subclass has PRUNING_TYPE ("unstructured", "structured" or "global") and defines
    compute_mask(t, default_mask)."""

    PRUNING_TYPE = "unstructured"

    def __call__(self, module, inputs):
        """The hook before a forward call."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t, default_mask):
        """The mask for importance scores t: default_mask with further zeros."""

    def apply_mask(self, module):
        """The product of the original parameter and its mask."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        mask, original = (getattr(module, self._tensor_name + end) for end in ("_mask", "_orig"))
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module, name, *args, importance_scores=None, **kwargs):
        """Prunes module.<name> by cls(*args, **kwargs), on top of pruning that is there already.

        Args:
            importance_scores: what is small is pruned first; the parameter itself by default.
        """
        former = _method_of(module, name)
        if former is not None:
            for key, hook in list(module._forward_pre_hooks.items()):
                if hook is former:
                    del module._forward_pre_hooks[key]
        method = cls(*args, **kwargs)
        if former is not None:
            container = former
            if not isinstance(former, PruningContainer):
                container = PruningContainer()
                container._tensor_name = name
                container.add_pruning_method(former)
            method._tensor_name = name
            container.add_pruning_method(method)
            method = container
        method._tensor_name = name

        original = getattr(module, name)
        if importance_scores is not None and importance_scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, "
                f"got {importance_scores.shape} vs {original.shape}"
            )
        scores = original if importance_scores is None else importance_scores
        if former is None:
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
            default_mask = rl.ones_like(original)
        else:
            default_mask = getattr(module, name + "_mask").detach().clone(memory_format=rl.contiguous_format)
        try:
            with rl.no_grad():
                mask = method.compute_mask(scores, default_mask=default_mask)
            module.register_buffer(name + "_mask", mask)
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if former is None:
                module.register_parameter(name, getattr(module, name + "_orig"))
                del module._parameters[name + "_orig"]
            raise
        return method

    def prune(self, t, default_mask=None, importance_scores=None):
        """t with the entries that this method chooses set to zero."""
        if importance_scores is None:
            importance_scores = t
        elif importance_scores.shape != t.shape:
            raise AssertionError(
                "importance_scores should have the same shape as tensor t, "
                f"got {importance_scores.shape} vs {t.shape}"
            )
        if default_mask is None:
            default_mask = rl.ones_like(t)
        return t * self.compute_mask(importance_scores, default_mask=default_mask)

    def remove(self, module):
        """Makes the pruned parameter an ordinary one; its zeros stay."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        value = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters[name + "_orig"]
        original.data = value.data
        del module._parameters[name + "_orig"]
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


def _method_of(module, name):
    """The pruning hook of module.<name>, or None."""
    found = [
        hook
        for hook in module._forward_pre_hooks.values()
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
    ]
    if len(found) > 1:
        raise AssertionError(
            f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}."
        )
    return found[0] if found else None


class PruningContainer(BasePruningMethod):
    """Several prunings of one tensor, each among the entries that the ones before left."""

    def __init__(self, *args):
        self._pruning_methods = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method):
        """Adds a BasePruningMethod for the same tensor."""
        if not isinstance(method, BasePruningMethod) and method is not None:
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self):
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, idx):
        return self._pruning_methods[idx]

    def compute_mask(self, t, default_mask):
        """The mask of the newest method among the entries that default_mask leaves."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(dtype=t.dtype)
        if method.PRUNING_TYPE == "unstructured":
            where = mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    "Pruning methods of PRUNING_TYPE structured need to have the attribute `dim` defined."
                )
            dim = method.dim % t.dim()
            left = mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0  # slices not hidden entirely
            where = (slice(None),) * dim + (left,)
        elif method.PRUNING_TYPE == "global":
            where = (slice(None),) * t.dim()
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask[where] = method.compute_mask(t[where], default_mask=mask[where]).to(mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing, and makes the mask."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        return default_mask

    @classmethod
    def apply(cls, module, name):
        return super().apply(module, name)


class _Unstructured(BasePruningMethod):
    """Prunes a number, or a share, amount of the entries: those of smallest rank."""

    def __init__(self, amount):
        _validate_pruning_amount_init(amount)
        self.amount = amount

    @abstractmethod
    def _rank(self, t):
        """A tensor like t: the entries with small numbers are pruned first."""

    def compute_mask(self, t, default_mask):
        count = _number_to_prune(self.amount, t.nelement())
        mask = default_mask.clone(memory_format=rl.contiguous_format)
        if count:
            mask.view(-1)[rl.topk(self._rank(t).view(-1), k=count, largest=False).indices] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes entries at random: a number, or a share, amount of them."""

    def _rank(self, t):
        return -rl.rand_like(t)  # as in PyTorch, where the largest draws are pruned

    @classmethod
    def apply(cls, module, name, amount):
        return super().apply(module, name, amount=amount)


class L1Unstructured(_Unstructured):
    """Prunes the entries of smallest absolute value."""

    def _rank(self, t):
        return rl.abs(t)

    @classmethod
    def apply(cls, module, name, amount, importance_scores=None):
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class _Structured(BasePruningMethod):
    """Prunes whole slices along dim."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount, dim=-1):
        _validate_pruning_amount_init(amount)
        self.amount, self.dim = amount, dim

    def _count(self, t):
        _validate_structured_pruning(t)
        _validate_pruning_dim(t, self.dim)
        return _number_to_prune(self.amount, t.shape[self.dim])

    def _mask(self, t, default_mask, kept):
        """default_mask within the kept slices, zero elsewhere."""
        mask = rl.zeros_like(t)
        where = [slice(None)] * t.dim()
        where[self.dim] = kept
        mask[tuple(where)] = 1
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Structured):
    """Prunes slices along dim at random."""

    def compute_mask(self, t, default_mask):
        count = self._count(t)
        if not count:
            return default_mask
        slices = t.shape[self.dim]
        threshold = rl.kthvalue(draws := rl.rand(slices), k=count).values
        return self._mask(t, default_mask, draws > threshold)

    @classmethod
    def apply(cls, module, name, amount, dim=-1):
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Structured):
    """Prunes the slices along dim of smallest n-norm."""

    def __init__(self, amount, n, dim=-1):
        super().__init__(amount, dim)
        self.n = n

    def compute_mask(self, t, default_mask):
        count = self._count(t)
        norm = _compute_norm(t, self.n, self.dim)
        if not count:
            return default_mask
        kept = rl.topk(norm, k=t.shape[self.dim] - count, largest=True)
        return self._mask(t, default_mask, kept.indices)

    @classmethod
    def apply(cls, module, name, amount, n, dim, importance_scores=None):
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes where a given mask is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask):
        self.mask = mask

    def compute_mask(self, t, default_mask):
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f"shape mismatch: {default_mask.shape} != {self.mask.shape}")
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module, name, mask):
        return super().apply(module, name, mask=mask)


def identity(module, name):
    """Gives module.<name> a mask that prunes nothing."""
    Identity.apply(module, name)
    return module


def random_unstructured(module, name, amount):
    """Prunes a number, or a share, amount of entries of module.<name> at random."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module, name, amount, importance_scores=None):
    """Prunes the entries of module.<name> of smallest absolute value.

    >>> layer = rl.nn.utils.prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=5)
    >>> layer.weight_mask.sum()
    tensor(7.)
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module, name, amount, dim):
    """Prunes slices of module.<name> along dim at random."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module, name, amount, n, dim, importance_scores=None):
    """Prunes the slices of module.<name> along dim of smallest n-norm."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module, name, mask):
    """Prunes module.<name> where mask is 0."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters, pruning_method, importance_scores=None, **kwargs):
    """Prunes several parameters, whose entries compete with one another.

    Args:
        parameters: (module, name) pairs.
        pruning_method: a class of unstructured pruning; kwargs are its arguments.
        importance_scores: (module, name) to scores, where they are not the parameter itself.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    importance_scores = {} if importance_scores is None else importance_scores
    if not isinstance(importance_scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    parameters = [(module, name) for module, name in parameters]
    current = [getattr(module, name) for module, name in parameters]
    scores = [importance_scores.get(pair, value) for pair, value in zip(parameters, current)]
    masks = [getattr(m, n + "_mask", rl.ones_like(value)) for (m, n), value in zip(parameters, current)]
    joint_scores = rl.nn.utils.parameters_to_vector(scores)
    joint_mask = rl.nn.utils.parameters_to_vector(masks)

    container = PruningContainer()
    container._tensor_name = "temp"
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    container.add_pruning_method(method)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for '
            f"the `pruning_method`. Found method {pruning_method} of type {method.PRUNING_TYPE}"
        )
    with rl.no_grad():
        final = container.compute_mask(joint_scores, joint_mask)
    for (module, name), value, part in zip(parameters, current, final.split([v.numel() for v in current])):
        custom_from_mask(module, name, mask=part.view_as(value))


def remove(module, name):
    """Makes a pruned parameter an ordinary one; its zeros stay."""
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module):
    """Whether the module or one of its descendants has a pruned parameter."""
    return any(
        isinstance(hook, BasePruningMethod)
        for _, submodule in module.named_modules()
        for hook in submodule._forward_pre_hooks.values()
    )


def _validate_pruning_amount_init(amount):
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if (whole and amount < 0) or (not whole and not 0.0 <= float(amount) <= 1.0):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer"
        )


def _number_to_prune(amount, size):
    """How many of size entries a number or a share means."""
    if not isinstance(amount, numbers.Integral):
        return round(amount * size)
    if amount > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
    return amount


def _validate_structured_pruning(t):
    if t.dim() <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. "
            f"Found tensor of shape {t.shape} with {t.dim()} dims"
        )


def _validate_pruning_dim(t, dim):
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def _compute_norm(t, n, dim):
    """The n-norm of each slice along dim."""
    dims = list(range(t.dim()))
    if dim < 0:
        dim = dims[dim]
    dims.remove(dim)
    return rl.norm(t, p=n, dim=dims)
