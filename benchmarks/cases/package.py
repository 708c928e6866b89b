"""What the package costs before it computes anything: time of the import, size on disk and as a wheel."""

import importlib.util
import time  # noqa: F401  (used by the cases)
import zipfile
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.timing import Case


def files_of(module):
    """The files of an installed package, without compiled Python."""
    folder = Path(importlib.util.find_spec(module).origin).parent
    return [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def installed_size(module):
    return sum(p.stat().st_size for p in files_of(module)) / 1e6


def wheel_size(module):
    """A wheel is a zip file of the package's files."""
    with TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files_of(module):
                archive.write(path)
        return file.tell() / 1e6


CASES = [
    Case(
        "import, beyond numpy",
        "import numpy",
        "t = time.perf_counter(); __import__(module); result = time.perf_counter() - t",
        limit=0.06,
        fresh=True,
    ),
    Case("installed size", "", "result = installed_size(module)", limit=25, fresh=True, unit="MB"),
    Case("wheel size", "", "result = wheel_size(module)", limit=8, fresh=True, unit="MB", versus=False),
]
