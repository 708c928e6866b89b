"""skip_init: building a module without drawing its initial values."""


def skip_init(module_cls, *args, **kwargs):
    """Builds module_cls(*args, **kwargs) with uninitialised parameters and without using the random generator."""
    import inspect

    import rushlight as rl

    if not issubclass(module_cls, rl.nn.Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=device)
