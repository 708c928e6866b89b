"""Compares the installed package with the recorded answers in ../shared, and says whether enough of them match.

Two commands are run: every seed script must print its expected text, and the vectors must match to the shares below.
Where ../shared is absent nothing is compared, and a line says so.
"""

import re
import subprocess
import sys
from pathlib import Path

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
# Least share of each vector file that has to match. What is missing is listed in docs/coverage.md.
REQUIRED = {"behaviour_vectors": 0.98, "error_vectors": 0.98}
# In these files every vector has to match but those that hold one of the words, for the reason given.
COMPLETE = {
    "rng_vectors": {"orthogonal_": "exact only up to the rounding of the LAPACK behind NumPy"},
    "printing_vectors": {
        "TensorDataset(torch.ones(2)).__class__": "Python classes say the module they live in",
        "torch.nn.Linear ->": "Python classes say the module they live in",
    },
}


def run(script, *args):
    """Run one script of ../shared from the top folder, show what it prints, and return its status and output."""
    command = [sys.executable, str(SHARED / script), *args]
    print("$ python ../shared/" + " ".join([script, *args]), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parent.parent)
    print(done.stdout, end="", flush=True)
    return done.returncode, done.stdout


def shares(report):
    """{'rng_vectors': (matching, total), ...} read from the report of check_vectors.py."""
    rows = re.findall(r"^(\w+)\s+(\d+) of\s+(\d+) match", report, re.M)
    return {name: (int(good), int(total)) for name, good, total in rows}


def unexplained(report):
    """Failing vectors of the complete files that no listed reason covers, as (file, line)."""
    section = None
    for line in report.splitlines():
        if heading := re.match(r"(\w+)\s+\d+ of\s+\d+ match", line):
            section = heading[1]
        elif section in COMPLETE and line.startswith("    ") and not any(word in line for word in COMPLETE[section]):
            yield section, line.strip()


def main():
    if not SHARED.is_dir():
        print("conformance: skipped, there is no ../shared folder")
        return 0
    problems = []
    status, _ = run("seed_conformance/run.py", "--module", "rushlight")
    if status:
        problems.append("a seed script failed")
    status, report = run("specs/tools/check_vectors.py", "rushlight", "-v")
    if status:
        problems.append(f"check_vectors.py ended with status {status}")
    found = shares(report)
    for name, least in REQUIRED.items():
        good, total = found.get(name, (0, 0))
        if not total or good < least * total:
            problems.append(f"{name}: {good} of {total} match, {least:.0%} are required")
    problems += [f"{name} missing" for name in COMPLETE if name not in found]
    problems += [f"{section}: {line}" for section, line in unexplained(report)]
    for problem in problems:
        print("conformance:", problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
