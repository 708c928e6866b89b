"""`python -m benchmarks`: run the cases, print a table, and write it to benchmarks/RESULTS.md on demand."""

import argparse
import importlib.util
import os
import platform
import sys
import time
from pathlib import Path

from . import cases
from .timing import Worker, compare

RESULTS = Path(__file__).with_name("RESULTS.md")


def figure(value, unit):
    """A value with three digits in a unit that suits it."""
    if value is None:
        return ""
    if unit == "MB":
        return f"{value:.2f} MB"
    for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def limit(result):
    """The case's limit, and whether it is kept."""
    case = result.case
    if case.limit is None:
        return ""
    kept = result.ours is not None and result.ours <= case.limit
    return f"{figure(case.limit, case.unit)} {'kept' if kept else 'NOT KEPT'}"


def row(result):
    ratio = f"{result.ratio:.2f}" if result.ratio else ""
    unit = result.case.unit
    return result.case.name, figure(result.ours, unit), figure(result.theirs, unit), ratio, limit(result)


def machine():
    """One line about the processor."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def parse():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", default="", help="cases or groups whose name contains this")
    parser.add_argument("--against", metavar="PYTHON", help="interpreter that has torch (default: this one, if it has)")
    parser.add_argument("--alone", action="store_true", help="do not compare with torch")
    parser.add_argument("--rounds", type=int, default=7, help="blocks per case and library (default: 7)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    return parser.parse_args()


def main():
    args = parse()
    against = args.against or (sys.executable if importlib.util.find_spec("torch") else None)
    workers, versions = [], []
    for python, module in [(sys.executable, "rushlight"), (against, "torch")]:
        if python and not (module == "torch" and args.alone):
            workers.append(Worker(python, module))
            versions.append(f"{module} {workers[-1].version}")
    head = ", ".join(versions)
    print(f"{machine()}\n{head}; ratio: torch's time / rushlight's\n")
    page = [
        "# Benchmark results",
        "",
        f"{machine()}; {head}. Written by `python -m benchmarks --write` on {time.strftime('%Y-%m-%d')}.",
        "Ratio: PyTorch's time divided by ours, median over rounds taken by turns (above 1: rushlight is faster).",
        "",
    ]
    layout = "{:40s} {:>12s} {:>12s} {:>7s}  {}"
    for group in cases.GROUPS:
        chosen = [c for c in cases.load(group) if args.only in c.name or args.only in group]
        if not chosen:
            continue
        print(layout.format(group, "rushlight", "torch", "ratio", "limit"))
        page += [f"## {group}", "", "| case | rushlight | torch | ratio | limit |", "|---|---:|---:|---:|---|"]
        for case in chosen:
            result = compare(group, case, workers, args.rounds)
            cells = row(result)
            print(("  " + layout.format(*cells)).rstrip(), flush=True)
            page.append("| `" + cells[0] + "` | " + " | ".join(cells[1:]) + " |")
            if result.error:
                print("      " + result.error[:200])
                page[-1] = f"| `{case.name}` | failed: {result.error[:100]} | | | |"
        print()
        page.append("")
    for worker in workers:
        worker.close()
    if args.write:
        RESULTS.write_text("\n".join(page), encoding="utf-8")
        print(f"written: {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
