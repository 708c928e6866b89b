"""`python -m rushlight ...`: the demo, or a program written for PyTorch, run as python would run it."""

import os
import sys

USAGE = """\
usage: python -m rushlight demo [options]        train on handwritten digits; --help lists the options
       python -m rushlight script.py [args ...]  run a program; its `import torch` gives rushlight
       python -m rushlight -m module [args ...]  the same for a module
       python -m rushlight --help
"""


def _fresh_main(**attributes):
    """A new, empty __main__ module, as a program finds it."""
    import builtins
    import types

    module = types.ModuleType("__main__")
    if sys.version_info < (3, 14):
        module.__annotations__ = {}
    vars(module).update(__builtins__=builtins, **attributes)
    sys.modules["rushlight.__main__"] = sys.modules["__main__"]  # this file's module stays alive
    sys.modules["__main__"] = module
    return module


def _run(function, skip):
    """Call function; an exception is reported without the `skip` innermost frames of ours."""
    try:
        function()
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        for _ in range(skip):
            trace = trace.tb_next if trace is not None else None
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    else:
        return
    sys.exit(code)


def run_script(path, arguments):
    """Run a Python file (or a folder or zip file with a __main__.py) as the main program."""
    from .compat import install_as_torch

    sys.argv = [path, *arguments]
    if not os.path.exists(path):
        reason = "[Errno 2] No such file or directory"
        print(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: {reason}", file=sys.stderr)
        sys.exit(2)
    install_as_torch()
    if os.path.isdir(path) or path.endswith((".zip", ".pyz")):
        import runpy

        sys.path[:1] = [] if _safe_path() else [path]
        _run(lambda: runpy.run_path(path, run_name="__main__"), skip=2)
        return
    full = os.path.abspath(path)
    if not _safe_path():
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    from importlib.machinery import SourceFileLoader

    loader = SourceFileLoader("__main__", full)
    module = _fresh_main(__file__=full, __loader__=loader, __spec__=None, __cached__=None)
    with open(full, "rb") as file:
        source = file.read()
    box = []
    _run(lambda: box.append(compile(source, full, "exec", dont_inherit=True)), skip=3)
    _run(lambda: exec(box[0], vars(module)), skip=2)


def run_module(name, arguments):
    """What `python -m name` does."""
    import runpy

    from .compat import install_as_torch

    install_as_torch()
    sys.argv = ["-m", *arguments]
    _fresh_main(__spec__=None)
    _run(lambda: runpy._run_module_as_main(name), skip=2)


def _safe_path():
    """Whether python was told not to put the program's folder first on sys.path."""
    return getattr(sys.flags, "safe_path", False) or sys.flags.isolated


def main(argv):
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    first, rest = argv[0], argv[1:]
    if first == "demo":
        from . import demo

        return demo.main(rest)
    if first == "-m":
        if not rest:
            print("Argument expected for the -m option\n" + USAGE, end="", file=sys.stderr)
            return 2
        return run_module(rest[0], rest[1:])
    if first.startswith("-"):
        print(f"Unknown option: {first}\n{USAGE}", end="", file=sys.stderr)
        return 2
    return run_script(first, rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
