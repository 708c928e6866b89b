"""Writes docs/coverage.md: which public names of PyTorch (tools/torch_names.json) exist here, and which answers differ.

    python tools/coverage.py                    the names; the section about answers stays as it is in the file
    python tools/coverage.py --report FILE      FILE is what `check_vectors.py rushlight -v` printed

An object is partial when it has an attribute `__rushlight_partial__` (a text: what is missing), stands in PARTIAL, or
calls an operator that the core does not have. A function that only raises NotImplementedError counts as missing.
"""

import argparse
import ast
import importlib
import inspect
import json
import re
import sys
import textwrap
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
NAMES = TOP / "tools" / "torch_names.json"
PAGE = TOP / "docs" / "coverage.md"
ANSWERS = "## Answers that differ"

# What objects of the core, which cannot carry an attribute, do not do yet: "namespace.name" to the missing part.
PARTIAL: dict[str, str] = {}


def holder_of(space):
    """The module (or the Tensor class) that holds a namespace, or None where it does not exist."""
    if space == "Tensor":
        return importlib.import_module("rushlight").Tensor
    try:
        return importlib.import_module("rushlight" if space == "torch" else "rushlight." + space)
    except ImportError:
        return None


def only_raises(value):
    """True for a Python function whose whole body is `raise NotImplementedError(...)`."""
    if not inspect.isfunction(value):
        return False
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    except (OSError, SyntaxError):
        return False
    body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.unparse(body[0])


def absent_operators(value):
    """The operators that a Python function or class asks the core for and that the core does not have."""
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return []
    try:
        asked = set(re.findall(r"\b_C\.(\w+)", inspect.getsource(value)))
    except (OSError, TypeError):
        return []
    core = importlib.import_module("rushlight")._C
    return sorted(name for name in asked if not hasattr(core, name))


def state_of(space, holder, name):
    """("implemented" | "partial" | "missing", what is missing of a partial one)."""
    if holder is None:
        return "missing", ""
    try:
        value = inspect.getattr_static(holder, name) if space == "Tensor" else getattr(holder, name)
    except AttributeError:
        return "missing", ""
    except NotImplementedError as error:
        return "partial", str(error)
    if only_raises(value):
        return "missing", ""
    reason = PARTIAL.get(f"{space}.{name}") or getattr(value, "__rushlight_partial__", None)
    if not reason and absent_operators(value):
        reason = "needs the operator " + ", ".join(absent_operators(value))
    return ("partial", str(reason)) if reason else ("implemented", "")


def survey():
    """{namespace: {name: (state, reason)}} in the order of the stored list."""
    stored = json.loads(NAMES.read_text())
    stored.pop("version")
    return {space: {n: state_of(space, holder_of(space), n) for n in names} for space, names in stored.items()}


def folded(title, names):
    """A list of names that opens on a click."""
    if not names:
        return []
    text = textwrap.fill(", ".join(f"`{n}`" for n in names), 110, break_long_words=False, break_on_hyphens=False)
    return [f"<details><summary>{title} ({len(names)})</summary>", "", text, "", "</details>", ""]


def names_part():
    """The page up to the section about answers."""
    version = json.loads(NAMES.read_text())["version"]
    found = survey()
    lines = [
        "# Coverage",
        "",
        f"What exists here of the public names of PyTorch {version}. `tools/coverage.py` writes this page; a test",
        "compares the two. Partial: the name exists, and the part that is missing raises an error that names it.",
        "",
        "| namespace | names | implemented | partial | missing | share |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    total = dict.fromkeys(["implemented", "partial", "missing"], 0)
    for space, names in found.items():
        count = {state: sum(s == state for s, _ in names.values()) for state in total}
        for state in total:
            total[state] += count[state]
        lines.append(row(f"`{space}`", count))
    lines += [row("**all**", total), ""]
    for space, names in found.items():
        lines += [f"## {space}", ""]
        partial = {n: reason for n, (state, reason) in names.items() if state == "partial"}
        lines += [f"- `{n}` (partial): {reason}" for n, reason in partial.items()] + ([""] if partial else [])
        lines += folded("missing", [n for n, (state, _) in names.items() if state == "missing"])
        lines += folded("implemented", [n for n, (state, _) in names.items() if state == "implemented"])
    return "\n".join(lines)


def row(title, count):
    names = sum(count.values())
    share = (count["implemented"] + count["partial"]) / names
    return f"| {title} | {names} | {count['implemented']} | {count['partial']} | {count['missing']} | {share:.0%} |"


def cause_of(got):
    """Why an answer differs, judged from what came instead of the recorded one."""
    missing = re.search(r"(?:has no attribute|cannot import name|No module named) '([\w.]+)'", got.replace('\\"', '"'))
    if missing:
        return f"missing name `{missing[1]}`"
    if "NotImplementedError" in got:
        return "not implemented"
    if got == "no error":
        return "nothing is raised"
    kind = re.match(r"(?:\(['\"]|raises )(\w+)", got)
    return f"`{kind[1]}` with another text or in another place" if kind else "another value"


def answers_part(report):
    """The section about answers, from the verbose report of check_vectors.py."""
    lines = [ANSWERS, "", "Recorded answers of PyTorch (values, texts and errors) that are not matched, by cause.", ""]
    title, causes, blocks = None, {}, []
    for line in [*report.splitlines(), "end of report 0 of 0 match"]:
        header = re.match(r"(.+?)\s+(\d+) of\s+(\d+) match$", line)
        if header:
            if title:
                blocks.append((title, causes))
            title, causes = f"{header[1]}: {header[2]} of {header[3]} match", {}
        elif line.startswith("    ") and " -> " in line:
            expression, got = line.strip().split(" -> ", 1)
            causes.setdefault(cause_of(got), []).append(expression)
    for title, causes in blocks:
        lines += [f"### {title}", ""]
        for cause, expressions in sorted(causes.items(), key=lambda item: (-len(item[1]), item[0])):
            lines += [f"<details><summary>{cause} ({len(expressions)})</summary>", "", "```"]
            lines += [textwrap.shorten(e, 110, placeholder=" ...") for e in expressions] + ["```", "", "</details>", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="output of check_vectors.py rushlight -v")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the page's names are out of date")
    args = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    names, answers = names_part(), ANSWERS + old.partition(ANSWERS)[2] if ANSWERS in old else ""
    if args.check:
        current = old.partition(ANSWERS)[0].rstrip() == names.rstrip()
        print("docs/coverage.md is", "up to date" if current else "out of date: run `make docs`")
        return 0 if current else 1
    if args.report:
        answers = answers_part(args.report.read_text(encoding="utf-8"))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text((names.rstrip() + "\n\n" + answers.rstrip()).rstrip() + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
