"""What the machine can do at best, measured: multiply-adds, memory traffic, an empty Python call."""

import os
import shutil
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

SOURCE = Path(__file__).with_name("limits.c")
TITLES = {
    "fma_f32": "multiply-adds, float32 (GFLOP/s)",
    "fma_f64": "multiply-adds, float64 (GFLOP/s)",
    "copy": "copy, bytes read and written (GB/s)",
    "read": "read (GB/s)",
    "call": "empty Python call (ns)",
}


def measure(threads):
    """{name: (with one thread, with `threads`)}; without a C compiler only the empty call."""
    result = {"call": (empty_call(), None)}
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        print("no C compiler: the processor's limits are not measured", file=sys.stderr)
        return result
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "limits"
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-fassociative-math", "-fno-signed-zeros"]
        subprocess.run(
            [compiler, *options, "-fno-trapping-math", "-pthread", SOURCE, "-o", program], check=True
        )
        lines = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        name, one, all_ = line.split()
        result[name] = (float(one), float(all_))
    return result


def empty_call():
    """Nanoseconds of calling a Python function that does nothing."""
    count = 200_000
    return min(timeit.repeat("f()", "def f(): pass", number=count, repeat=7)) / count * 1e9
