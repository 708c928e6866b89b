"""Optimizer, the base of all optimisers: parameter groups, state, saving and loading, hooks, and the loop that hands
each group's tensors to an optimiser's update rule."""

from collections import OrderedDict, defaultdict
from contextlib import contextmanager
from copy import deepcopy

import rushlight as rl
from rushlight import Tensor
from rushlight._C import _with_gradients
from rushlight.utils.hooks import RemovableHandle

_GLOBAL_PRE_HOOKS = OrderedDict()
_GLOBAL_POST_HOOKS = OrderedDict()


class _Required:
    """Default of an option that every group must give."""

    def __repr__(self):
        return "<required parameter>"


required = _Required()

_HOOK_DICTIONARIES = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


def _register(hooks, hook, prepend=False):
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook):
    """Calls hook(optimizer, args, kwargs) before every optimiser's step."""
    return _register(_GLOBAL_PRE_HOOKS, hook)


def register_optimizer_step_post_hook(hook):
    """Calls hook(optimizer, args, kwargs) after every optimiser's step."""
    return _register(_GLOBAL_POST_HOOKS, hook)


def _named_step(cls):
    """step of the class in messages; several classes share one function."""
    return f"<function {cls.__name__}.step at {id(cls.step):#x}>"


def _with_hooks(step):
    """step() with the registered hooks around it. Applied to the step of every subclass when it is defined."""

    def hooked(self, *args, **kwargs):
        if not (
            self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or _GLOBAL_PRE_HOOKS
            or _GLOBAL_POST_HOOKS
        ):
            return step(self, *args, **kwargs)
        args = (self, *args)
        for hook in (*_GLOBAL_PRE_HOOKS.values(), *self._optimizer_step_pre_hooks.values()):
            result = hook(self, args, kwargs)
            if result is not None:
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(
                        f"{_named_step(type(self))} must return None or a tuple of (new_args, new_kwargs), but got {result}."
                    )
                args, kwargs = result
        out = step(*args, **kwargs)
        for hook in (*self._optimizer_step_post_hooks.values(), *_GLOBAL_POST_HOOKS.values()):
            hook(self, args, kwargs)
        return out

    hooked.__name__, hooked.__qualname__, hooked.__doc__ = step.__name__, step.__qualname__, step.__doc__
    hooked.__module__, hooked.__wrapped__, hooked.hooked = step.__module__, step, True
    return hooked


class Optimizer:
    """Base of all optimisers.

    Args:
        params: tensors, or (name, tensor) pairs, or dictionaries with the key "params" and options of their own.
        defaults: the options of groups that do not give them.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        step = cls.__dict__.get("step")
        if step is not None and not getattr(step, "hooked", False):
            cls.step = _with_hooks(step)

    def __init__(self, params, defaults):
        self.defaults = defaults
        for name in _HOOK_DICTIONARIES:
            setattr(self, name, OrderedDict())
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group))

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        self.__dict__.update(state)
        for name in _HOOK_DICTIONARIES:
            if name not in self.__dict__:
                setattr(self, name, OrderedDict())
        self.defaults.setdefault("differentiable", False)

    def __repr__(self):
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    def add_param_group(self, param_group):
        """Adds a group: a dictionary with the key "params" and options."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in "
                "sets will change between runs. Please use a list instead."
            )
        param_group["params"] = params = list(params)
        _split_names(param_group)
        params = param_group["params"]
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}"
                )
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter {name}"
                )
            param_group.setdefault(name, default)
        if len(params) != len(set(params)):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        known = {p for group in self.param_groups for p in group["params"]}
        if self.param_groups and ("param_names" in param_group) != ("param_names" in self.param_groups[0]):
            given = "with names" if "param_names" in param_group else "without names"
            raise ValueError(
                "all optimizer param groups should be with/without names. "
                f"cannot add param group {given} to the optimizer"
            )
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none=True):
        """Clears the gradients of all parameters: removes them, or fills them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                grad = p.grad
                if grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    if grad.grad_fn is not None:
                        grad.detach_()
                    else:
                        grad.requires_grad_(False)
                    grad.zero_()

    def step(self, closure=None):
        """Changes the parameters once, from their gradients."""
        raise NotImplementedError

    def _step_by_groups(self, closure=None):
        """The step of the optimisers here. closure, if given, computes the loss again and returns it.

        A subclass provides _init_state(group, p, state), which fills the state of one parameter, and
        _update_group(group, params, grads, states), which collects its lists and applies its update rule."""
        loss = None
        if closure is not None:
            with rl.enable_grad():
                loss = closure()
        with rl.set_grad_enabled(self.defaults.get("differentiable", False)):
            for group in self.param_groups:
                params, grads, states = self._gather(group)
                if params:
                    self._update_group(group, params, grads, states)
        return loss

    def _gather(self, group):
        """The parameters of a group that have a gradient, the gradients (negated when maximising), the states (an empty
        list where the rule keeps none)."""
        params, grads, plain = _with_gradients(group["params"])
        if not plain and True in [grad.is_sparse for grad in grads]:
            self._refuse_sparse()
        states = []
        if self._keeps_state(group):
            states = [self.state[p] for p in params]
            for p, state in zip(params, states):
                if not state:
                    self._init_state(group, p, state)
        if group.get("maximize", False):
            grads = [-grad for grad in grads]
        return params, grads, states

    def _keeps_state(self, group):
        """Whether the update rule has any state with the options of this group."""
        return True

    def _init_state(self, group, p, state):
        """Fills the state of a parameter before its first update."""

    def _refuse_sparse(self):
        raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")

    # --- saving and loading -------------------------------------------------------------------------------------

    def state_dict(self):
        """The state and the options; parameters are represented by their number over all groups."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers, packed_groups = {}, []
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            packed_groups.append(packed)
        state = {(numbers[id(k)] if isinstance(k, Tensor) else k): v for k, v in self.state.items()}
        state_dict = {"state": state, "param_groups": packed_groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            result = hook(self, state_dict)
            if result is not None:
                state_dict = result
        return state_dict

    def load_state_dict(self, state_dict):
        """Takes over what state_dict() gave. The groups must match in number and size."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            result = hook(self, state_dict)
            if result is not None:
                state_dict = result
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(saved_groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        by_number = {}
        for group, saved in zip(self.param_groups, saved_groups):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )
            by_number.update((n, (p, saved)) for n, p in zip(saved["params"], group["params"]))
        state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_number:
                param, saved = by_number[key]
                state[param] = _fit(param, value, saved)
            else:
                state[key] = value
        new_groups = []
        for group, saved in zip(self.param_groups, saved_groups):
            saved["params"] = group["params"]
            if "param_names" in group and "param_names" not in saved:
                saved["param_names"] = group["param_names"]
            new_groups.append(saved)
        self.__setstate__({"state": state, "param_groups": new_groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # --- hooks --------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook):
        """Calls hook(optimizer, args, kwargs) before step; it may return new (args, kwargs)."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Calls hook(optimizer, args, kwargs) after step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Calls hook(optimizer) before state_dict."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Calls hook(optimizer, state_dict) after state_dict; it may return another dictionary."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Calls hook(optimizer, state_dict) before load_state_dict; it may return another dictionary."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Calls hook(optimizer) after load_state_dict."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _split_names(group):
    """Parameters may be given as (name, tensor): the names move to the option "param_names"."""
    params = group["params"]
    named = [isinstance(p, tuple) for p in params]
    if not any(named):
        return
    if not all(named):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    group["params"] = [p for _, p in params]
    group["param_names"] = [name for name, _ in params]


def _fit(param, value, group, key=None):
    """Loaded state with the dtype and device of its parameter; step counters stay as they are."""
    if isinstance(value, Tensor):
        if key == "step":
            if group.get("capturable") or group.get("fused"):
                return value.to(dtype=rl.float32, device=param.device)
            return value
        if param.is_floating_point():
            return value.to(dtype=param.dtype, device=param.device)
        return value.to(device=param.device)
    if isinstance(value, dict):
        return {k: _fit(param, v, group, key=k) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return type(value)(_fit(param, v, group) for v in value)
    return value


# --- what the optimisers' files share ---------------------------------------------------------------------------


@contextmanager
def swap_in_optimizer_params_and_state(optimizer, swapin_parameters, swapin_optim_state):
    """Inside, the optimizer works on other parameters with another state; afterwards it has its own again.

    Args:
        swapin_parameters: name to tensor, in the order of the optimizer's parameters.
        swapin_optim_state: what a state_dict() gives; its tensors are used themselves, so that steps change them.
    """
    own_groups, own_state = optimizer.param_groups, optimizer.state
    given = list(swapin_parameters.values())
    count = sum(len(group["params"]) for group in own_groups)
    if len(given) != count:
        raise ValueError(f"expected {count} parameters to swap in, but got {len(given)}")
    saved_groups = swapin_optim_state["param_groups"]
    if [len(g["params"]) for g in saved_groups] != [len(g["params"]) for g in own_groups]:
        raise ValueError("the groups of swapin_optim_state do not fit those of the optimizer")
    rest = iter(given)
    groups = [{**group, "params": [next(rest) for _ in group["params"]]} for group in saved_groups]
    places = [place for group in saved_groups for place in group["params"]]
    by_place = dict(zip(places, given))
    state = defaultdict(dict)
    for place, values in swapin_optim_state["state"].items():
        state[by_place.get(place, place)] = dict(values) if isinstance(values, dict) else values
    optimizer.param_groups, optimizer.state = groups, state
    try:
        yield
    finally:
        optimizer.param_groups, optimizer.state = own_groups, own_state


def check_options(**options):
    """Raises where a number is out of range, in the order given: lr, eps and all others must not be negative, the two betas
    lie in [0, 1)."""
    for name, value in options.items():
        if name == "betas":
            for i in (0, 1):
                if not 0.0 <= value[i] < 1.0:
                    raise ValueError(f"Invalid beta parameter at index {i}: {value[i]}")
            continue
        if name == "lr" and isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not 0.0 <= value:
            text = {"lr": "learning rate", "eps": "epsilon value"}.get(name, f"{name} value")
            raise ValueError(f"Invalid {text}: {value}")


def check_fused(optimizer, fused, foreach, differentiable):
    if fused:
        if differentiable:
            raise RuntimeError("`fused` does not support `differentiable`")
        if foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def new_step(p=None):
    """A step counter: a 0-d tensor, as the saved form requires."""
    return rl.tensor(0.0, dtype=rl.float64 if rl.get_default_dtype() == rl.float64 else rl.float32)


def zeros_of(p):
    return rl.zeros_like(p, memory_format=rl.preserve_format)


def as_float(value):
    """A hyperparameter that may be a 1-element tensor."""
    return value.item() if isinstance(value, Tensor) else value


def columns(states, *names):
    """The state lists of several parameters: one list per name."""
    return [[state[name] for state in states] for name in names]


def count(steps):
    """Adds one to the step counters; returns their values."""
    counts = []
    for step in steps:
        step += 1
        counts.append(step.item())
    return counts


def real_views(params, *lists):
    """Complex tensors as pairs of real numbers, so that a rule treats the two parts separately."""
    lists = (params, *lists)
    if not any(p.is_complex() for p in params):
        return lists
    return tuple([rl.view_as_real(t) if t is not None and t.is_complex() else t for t in ts] for ts in lists)


def add_weight_decay(params, grads, weight_decay):
    """Gradients with the L2 term added."""
    if weight_decay == 0:
        return grads
    return [g.add(p, alpha=weight_decay) for p, g in zip(params, grads)]
