"""Helpers around the core; each submodule (data, serialization, ...) loads on first use."""


def __getattr__(name):
    import importlib

    if not name.startswith("__"):
        module = f"{__name__}.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
