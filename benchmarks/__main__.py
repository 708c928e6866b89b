"""`python -m benchmarks`: run the cases, print a table, and write it to benchmarks/RESULTS.md on demand."""

import argparse
import importlib.util
import sys
import time
from contextlib import nullcontext

from . import cases, limits, report
from .timing import Worker, busy_cores, compare, under_contention

# What limits rushlight, PyTorch's own kernels and the libraries that it calls to AVX2.
AVX2 = {
    "RUSHLIGHT_CPU": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
AVX2_TITLE = ", both with AVX2"
CONTENTION_SHORT = """
Two processes compute without end, one on each core. The ratio is that of the time at one thread to that at the default
number.
"""
CONTENTION_HEAD = ["case", "default", "1 thread", "ratio", "", "", "", "asked", "", ""]


def parse():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME", action="append", help="cases or groups whose name contains this"
    )
    parser.add_argument(
        "--against",
        metavar="torch|PYTHON",
        default="torch",
        help="'torch': the one of this interpreter; or the path of an interpreter that has both (default: torch)",
    )
    parser.add_argument("--alone", action="store_true", help="do not compare with torch")
    parser.add_argument("--contention", action="store_true", help="default threads beside one, on busy cores")
    parser.add_argument("--avx2", action="store_true", help="both sides limited to the instructions of AVX2")
    parser.add_argument("--budget", type=float, default=0.4, help="seconds per case and number of threads")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument(
        "--write", action="store_true", help="write the measured groups into benchmarks/RESULTS.md"
    )
    args = parser.parse_args()
    if args.only and "contention" in args.only:  # it has no cases of its own: every group's are measured in that way
        args.contention = True
        args.only.remove("contention")
    return args


def chosen(args):
    """(group, case) for every case asked for. A word that is a group's name means that group alone."""
    groups = [word for word in args.only or [] if word in cases.GROUPS]
    words = [word for word in args.only or [] if word not in cases.GROUPS]
    for group in cases.GROUPS:
        for case in cases.load(group):
            if args.only and group not in groups and not any(word in case.name for word in words):
                continue
            if not (args.contention and case.fresh):
                yield group, case


def start_workers(args):
    """Rushlight's process, and torch's where there is one."""
    python = sys.executable if args.against == "torch" else args.against
    variables = AVX2 if args.avx2 else {}
    workers = [Worker(python, "rushlight", variables)]
    if args.alone or args.contention or (args.against == "torch" and not importlib.util.find_spec("torch")):
        return workers
    return [*workers, Worker(python, "torch", variables)]


def run(args, workers, peaks):
    """Measure and print; returns {group: results}."""
    results, todo, began = {}, list(chosen(args)), time.monotonic()
    for k, (group, case) in enumerate(todo):
        if group not in results:
            results[group] = []
            print(
                "\n"
                + report.line([f"== {group} ==", *(CONTENTION_HEAD if args.contention else report.HEAD)[1:]])
            )
        if args.contention:
            case.floor, case.limit, case.flop, case.traffic = 1 / 1.2, None, None, None
            result = under_contention(group, case, workers[0], 5 * args.budget)
        else:
            if args.avx2:
                case.floor, case.limit = (1.3 if group == "matmul" else 1.0), None
            result = compare(group, case, workers, args.budget)
        results[group].append(result)
        print(report.line(report.cells(result, peaks)), flush=True)
        if sys.stderr.isatty():
            print(
                f"[{k + 1}/{len(todo)}, {time.monotonic() - began:.0f} s]",
                end="\r",
                file=sys.stderr,
                flush=True,
            )
    return results


def summary(results):
    """Counts, and the rows that fall short."""
    every = [(group, r) for group, list_ in results.items() for r in list_ if r.held() is not None]
    short = [f"{group}: {r.case.name}" for group, r in every if not r.held()]
    print(f"\n{len(every) - len(short)} of {len(every)} hold")
    for name in short:
        print("  short:", name)


def main():
    args = parse()
    if args.list:
        for group, case in chosen(args):
            print(f"{group}: {case.name}  {report.asked(case)}")
        return 0
    workers = start_workers(args)
    versions = [f"{w.module} {w.version}" for w in workers]
    print(f"{report.machine()}\n{', '.join(versions)}, {workers[0].threads} threads by default")
    peaks = {}
    if not args.avx2 and (args.write or any(case.flop or case.traffic for _, case in chosen(args))):
        peaks = limits.measure(workers[0].threads)
        for name, (one, all_) in peaks.items():
            print(
                f"  {limits.TITLES[name]}: {one:.4g}"
                + (f", {workers[0].threads} threads: {all_:.4g}" if all_ else "")
            )
    with busy_cores() if args.contention else nullcontext():
        results = run(args, workers, peaks)
    for worker in workers:
        worker.close()
    summary(results)
    if args.write:
        note, sections = report.measured(versions), {}
        if args.contention:
            everything = [r for list_ in results.values() for r in list_]
            sections["contention"] = report.section(
                "contention", everything, {}, CONTENTION_HEAD, note, CONTENTION_SHORT.strip()
            )
        elif args.avx2:
            for group, list_ in results.items():
                title, short = group + AVX2_TITLE, cases.short(group, "SHORT_AVX2")
                sections[title] = report.section(title, list_, {}, report.HEAD, note, short)
        else:
            sections["limits"] = report.limits_section(peaks, note)
            for group, list_ in results.items():
                sections[group] = report.section(group, list_, peaks, report.HEAD, note, cases.short(group))
        report.write(sections, ["limits", *cases.GROUPS, *[g + AVX2_TITLE for g in cases.GROUPS], "contention"])
        print(f"written: {report.PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
