"""The only timer. It runs the same piece of code by turns in two live processes, one per library, and compares
medians.

Taking turns in short blocks gives both libraries the same share of whatever else the machine does, and the ratio of
each round is taken within that round. A worker is `python -m benchmarks.timing MODULE`: it reads one JSON request per
line and answers with one line.
"""

import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import timeit
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


@dataclass
class Case:
    """One benchmark: Python code in which `torch` is the library and the names of the case's file are known.

    fresh: run setup and stmt once per round in a new process; stmt then leaves the figure in `result`.
    limit: what the figure of rushlight must not exceed, in the case's unit ("s" or "MB").
    """

    name: str
    setup: str
    stmt: str
    limit: float | None = None
    fresh: bool = False
    unit: str = "s"
    versus: bool = True  # False: PyTorch has no such figure, or it takes too long to find out


@dataclass
class Result:
    case: Case
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None  # theirs / ours, median over the rounds
    error: str = ""


class Worker:
    """A live process that has imported one of the libraries."""

    def __init__(self, python, module):
        self.python, self.module = python, module
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.timing", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP, env=environment(),
        )  # fmt: skip
        self.version = self.ask()["version"]

    def ask(self, **request):
        """Send one request, wait for its answer."""
        if request:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.module} ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def environment():
    """The workers' environment: this folder's modules come first, and compiled Python is kept, as after an install."""
    path = os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")]))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path}


def compare(group, case, workers, rounds=7, block=0.02):
    """Time one case in all workers (rushlight first, then torch if there is one)."""
    workers = workers if case.versus else workers[:1]
    figures = [[] for _ in workers]
    try:
        if case.fresh:
            for _ in range(rounds):
                for worker, list_ in zip(workers, figures):
                    list_.append(run_fresh(worker, group, case))
        else:
            counts = [w.ask(group=group, prepare=case.name, block=block)["count"] for w in workers]
            for _ in range(rounds):
                for worker, count, list_ in zip(workers, counts, figures):
                    list_.append(worker.ask(run=count)["seconds"] / count)
    except RuntimeError as error:
        return Result(case, error=str(error))
    medians = [statistics.median(f) for f in figures]
    if len(medians) == 1:
        return Result(case, medians[0])
    return Result(case, *medians, statistics.median(t / o for o, t in zip(*figures)))


def run_fresh(worker, group, case):
    """Run setup and stmt in a new process of the worker's interpreter and return what stmt left in `result`."""
    code = (
        "import sys\n"
        "from benchmarks.timing import scope\n"
        f"names = scope({group!r})\nnames['module'] = {worker.module!r}\n"
        f"exec({case.setup!r}, names)\nexec({case.stmt!r}, names)\nprint(names['result'])"
    )
    done = subprocess.run([worker.python, "-c", code], capture_output=True, text=True, cwd=TOP, env=environment())
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no error text")
    return float(done.stdout.split()[-1])


def scope(group):
    """The names that the code of a group's cases can use."""
    return dict(vars(importlib.import_module(f"benchmarks.cases.{group}")))


def serve(module):
    """The worker's side: answer requests until the input ends. What cases print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    torch = importlib.import_module(module)
    answer(version=torch.__version__)
    timer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                names = scope(request["group"])
                case = next(c for c in names["CASES"] if c.name == request["prepare"])
                torch.manual_seed(0)
                torch.set_grad_enabled(True)
                timer = timeit.Timer(case.stmt, case.setup, globals={**names, "torch": torch})
                answer(count=repetitions(timer, request["block"]))
            else:
                answer(seconds=timer.timeit(request["run"]))
        except Exception as error:  # a case that this library cannot run is a row in the table
            answer(error=f"{module}: {type(error).__name__}: {error}")


def repetitions(timer, block):
    """How many times the statement runs in one block of time (warms it up, too)."""
    count = 1
    while True:
        seconds = timer.timeit(count)
        if seconds >= block / 2:
            return max(1, round(count * block / seconds))
        count = max(2 * count, min(10 * count, int(count * block / max(seconds, 1e-9))))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(sys.argv[1])
