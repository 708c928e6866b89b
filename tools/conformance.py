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
REQUIRED = {"rng_vectors": 1.0, "printing_vectors": 1.0, "behaviour_vectors": 0.85, "error_vectors": 0.85}


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


def main():
    if not SHARED.is_dir():
        print("conformance: skipped, there is no ../shared folder")
        return 0
    problems = []
    status, _ = run("seed_conformance/run.py", "--module", "rushlight")
    if status:
        problems.append("a seed script failed")
    status, report = run("specs/tools/check_vectors.py", "rushlight")
    if status:
        problems.append(f"check_vectors.py ended with status {status}")
    found = shares(report)
    for name, least in REQUIRED.items():
        good, total = found.get(name, (0, 0))
        if not total or good < least * total:
            problems.append(f"{name}: {good} of {total} match, {least:.0%} are required")
    for problem in problems:
        print("conformance:", problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
