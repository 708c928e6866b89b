"""The tables: how figures are written, and the page benchmarks/RESULTS.md.

The page has one section per group. A run that measures some groups replaces their sections and keeps the others.
"""

import os
import platform
import time
from pathlib import Path

from . import limits

PAGE = Path(__file__).with_name("RESULTS.md")
HEAD = [
    "case",
    "rushlight",
    "torch",
    "ratio",
    "1 thread",
    "torch",
    "ratio",
    "asked",
    "",
    "of the machine's limit",
]
TOTAL_INTRO = (
    "Ratio: PyTorch's time divided by ours, the median over rounds taken by turns (above 1: rushlight is faster), "
    "at the default number of threads and at one. `held` asks it of both."
)


def figure(value, unit="s"):
    """A value with three digits in a unit that suits it."""
    if value is None:
        return ""
    if unit != "s":
        return f"{value:.4g} {unit}"
    for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def asked(case):
    """What the case is asked to reach."""
    parts = [f">= {case.floor:g}"] if case.floor is not None else []
    parts += [f"<= {figure(case.limit, case.unit)}"] if case.limit is not None else []
    return ", ".join(parts)


def share(result, peaks):
    """The part of the processor's limit that a case with a known amount of work reaches, per setting of threads."""
    case = result.case
    name = "read" if case.traffic else "fma_f64" if "f64" in case.name else "fma_f32"
    amount = case.traffic or case.flop
    if not amount or name not in peaks:
        return ""
    parts = []
    for setting, f in result.figures.items():
        peak = peaks[name][0 if setting == "one" else 1]
        parts.append(f"{amount / f.ours / 1e9 / peak:.0%}")
    return " / ".join(parts)


def cells(result, peaks):
    """One row of the table, as text."""
    case, row = result.case, [result.case.name]
    for setting in ("default", "one"):
        f = result.figures.get(setting)
        if f is None:
            row += ["", "", ""]
        else:
            row += [
                figure(f.ours, case.unit),
                figure(f.theirs, case.unit),
                f"{f.ratio:.2f}" if f.ratio else "",
            ]
    held = result.held()
    row += [asked(case), "" if held is None else "held" if held else "SHORT", share(result, peaks)]
    if result.error:
        row[1], row[8] = "failed", result.error[:120].replace("|", "/").replace("\n", " ")
    return row


WIDTHS = (44, 9, 9, 7, 9, 9, 7, 12, 6, 0)


def line(row):
    """A row for the terminal."""
    first, *rest = row
    return (f"{first:{WIDTHS[0]}s}" + " ".join(f"{c:>{w}s}" for c, w in zip(rest, WIDTHS[1:]))).rstrip()


def section(title, results, peaks, heading, note, short=""):
    """The Markdown of one group; `short` says what limits the rows that fall short."""
    rows = ["| " + " | ".join(heading) + " |", "|---" + "|---:" * 6 + "|---|---|---|"]
    for result in results:
        first, *rest = cells(result, peaks)
        rows.append("| `" + first + "` | " + " | ".join(rest) + " |")
    short = [short, ""] if short and any(result.held() is False for result in results) else []
    return "\n".join([f"## {title}", "", note, "", *rows, "", *short])


def limits_section(peaks, note):
    rows = ["| | one thread | default threads |", "|---|---:|---:|"]
    for name, title in limits.TITLES.items():
        if name in peaks:
            one, all_ = peaks[name]
            rows.append(f"| {title} | {one:.4g} | {'' if all_ is None else f'{all_:.4g}'} |")
    return "\n".join(["## limits", "", note, "", *rows, ""])


def machine():
    """One line about the processor."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, Python {platform.python_version()}"


def measured(versions):
    """Who was measured, and when: the note under each section's title."""
    return f"{', '.join(versions)}; {machine()}; {time.strftime('%Y-%m-%d')}."


def write(sections, order):
    """Replace the given sections ({title: Markdown}) of the page and keep the others."""
    kept = {}
    if PAGE.exists():
        for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
            kept[part.split("\n", 1)[0]] = "## " + part.strip("\n") + "\n"
    kept.update(sections)
    top = ["# Benchmark results", "", f"Written by `python -m benchmarks --write`. {TOTAL_INTRO}", ""]
    PAGE.write_text("\n".join(top + [kept[title] for title in order if title in kept]), encoding="utf-8")
