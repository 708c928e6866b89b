"""functional_call: calling a module with other tensors in place of its parameters and buffers."""

from rushlight import Tensor


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """The deprecated place of rushlight.func.functional_call."""
    import warnings

    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future "
        "version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def _functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Calls the module with the given tensors in place of its own.

    Args:
        parameters_and_buffers: a dictionary by dotted name, or a list of dictionaries with different names.
        tie_weights: a replaced tensor is replaced under all its names.
        strict: the dictionary must name every parameter and buffer, and nothing else.
    """
    values = _one_dictionary(parameters_and_buffers)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    if tie_weights:
        values = _with_tied_names(module, values)
    if strict:
        _check_names(module, values)
    slots = _slots(module, values)
    undo = []
    try:
        for registry, name, value in slots:
            undo.append((registry, name, registry[name]))
            registry[name] = value
        return module(*args, **(kwargs or {}))
    finally:
        for registry, name, value in reversed(undo):
            registry[name] = value


def _one_dictionary(given):
    if isinstance(given, dict):
        return given
    if not isinstance(given, (list, tuple)):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    if not all(isinstance(d, dict) for d in given):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    names = [name for d in given for name in d]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise ValueError(
            f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous"
        )
    return {name: value for d in given for name, value in d.items()}


def _all_named_tensors(module):
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _with_tied_names(module, values):
    """Adds the other names of every tensor that is replaced."""
    names_of = {}
    for name, tensor in _all_named_tensors(module):
        names_of.setdefault(id(tensor), []).append(name)
    complete = dict(values)
    for names in names_of.values():
        given = [name for name in names if name in values]
        if len({id(values[name]) for name in given}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(given)}, which are tied. "
                "Consider using tie_weights=False"
            )
        if given:
            complete.update((name, values[given[0]]) for name in names)
    return complete


def _check_names(module, values):
    expected = {name for name, _ in _all_named_tensors(module)}
    problems = []
    for label, names in (("Unexpected", values.keys() - expected), ("Missing", expected - values.keys())):
        if names:
            quoted = ", ".join(f"'{name}'" for name in sorted(names))
            problems.append(f"{label} key(s): {quoted}.")
    if problems:
        text = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t{text}")


def _slots(module, values):
    """(registry, name, value) for every name that exists; the same registry entry at most once."""
    slots, seen = [], set()
    for path, value in values.items():
        owner_path, _, name = path.rpartition(".")
        try:
            owner = module.get_submodule(owner_path)
        except AttributeError:
            continue
        for registry in (owner._parameters, owner._buffers):
            if name in registry and (id(registry), name) not in seen:
                if not isinstance(value, Tensor):
                    raise TypeError(f"{value} is not an instance of torch.Tensor")
                seen.add((id(registry), name))
                slots.append((registry, name, value))
    return slots
