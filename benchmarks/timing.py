"""The only timer. It runs the same piece of code by turns in two live processes, one per library, and compares
medians.

Taking turns in short blocks gives both libraries the same share of whatever else the machine does, and the ratio of
each round is taken within that round. A worker is `python -m benchmarks.timing MODULE`: it reads one JSON request per
line and answers with one line.
"""

import contextlib
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
LEAST_ROUNDS, MOST_ROUNDS = 3, 7
REST = 0.03  # seconds before a turn with several threads: the other library's idle threads keep their cores busy so long


@dataclass
class Case:
    """One benchmark: Python code in which `torch` is the library and the names of the case's file are known.

    floor: the ratio (PyTorch's time / rushlight's) to reach.
    limit: what the figure of rushlight must not exceed, in the case's unit ("s" or "MB").
    flop, traffic: floating point operations, or bytes read and written: shown as a share of the machine's limit.
    theirs: further lines of setup, of which PyTorch's side takes the fastest (memory formats).
    fresh: run setup and stmt once per round in a new process; stmt then leaves the figure in `result`.
    """

    name: str
    setup: str
    stmt: str
    floor: float | None = None
    limit: float | None = None
    flop: float | None = None
    traffic: float | None = None
    theirs: tuple = ()
    fresh: bool = False
    unit: str = "s"
    versus: bool = True  # False: PyTorch has no such figure, or it takes too long to find out


@dataclass
class Figures:
    """Medians at one setting of the threads; the ratio is theirs / ours, the median over the rounds."""

    ours: float
    theirs: float | None = None
    ratio: float | None = None


@dataclass
class Result:
    case: Case
    figures: dict = field(default_factory=dict)  # "default" and "one" (threads) -> Figures
    error: str = ""

    def held(self):
        """Whether the floor and the limit hold at every setting of the threads; None where there is neither."""
        if self.error:
            return False
        checks = []
        for f in self.figures.values():
            if self.case.floor is not None and f.ratio is not None:
                checks.append(f.ratio >= self.case.floor)
            if self.case.limit is not None:
                checks.append(f.ours <= self.case.limit)
        return all(checks) if checks else None


class Worker:
    """A live process that has imported one of the libraries; `variables` are added to its environment."""

    def __init__(self, python, module, variables=None):
        self.python, self.module = python, module
        self.environment = {**environment(), **(variables or {})}
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.timing", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP, env=self.environment,
        )  # fmt: skip
        hello = self.ask()
        self.version, self.threads = hello["version"], hello["threads"]

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

    def prepare(self, group, case, block):
        """Run the setup and warm up; returns how many runs of the statement fill one block of time."""
        choices = range(1 + len(case.theirs) if self.module == "torch" else 1)
        request = {"group": group, "prepare": case.name, "block": block}
        if len(choices) > 1:
            seconds = [self.ask(variant=v, **request)["seconds"] for v in choices]
            request["variant"] = seconds.index(min(seconds))
        return self.ask(**request)["count"]

    def time(self, count):
        """Seconds of one run of the statement, over `count` runs."""
        return self.ask(run=count)["seconds"] / count

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


def environment():
    """The workers' environment: this folder's modules come first, and compiled Python is kept, as after an install."""
    path = os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")]))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path}


def compare(group, case, workers, budget=0.4, block=0.01):
    """Time one case in all workers (rushlight first, then torch if there is one), `budget` seconds per setting."""
    workers = workers if case.versus else workers[:1]
    result = Result(case)
    try:
        if case.fresh:
            rounds = rounds_of([lambda w=w: run_fresh(w, group, case) for w in workers], 4 * budget)
            result.figures["default"] = figures_of(rounds)
            return result
        counts = [w.prepare(group, case, block) for w in workers]
        for setting in ["default", "one"] if workers[0].threads > 1 else ["default"]:
            for worker in workers:
                worker.ask(threads=1 if setting == "one" else worker.threads)
            turns = [lambda w=w, n=n: w.time(n) for w, n in zip(workers, counts)]
            result.figures[setting] = figures_of(rounds_of(turns, budget, REST if setting == "default" else 0))
    except RuntimeError as error:
        result.error = str(error)
    finally:
        for worker in workers:
            if worker.process.poll() is None and not case.fresh:
                worker.ask(threads=worker.threads)
    return result


def under_contention(group, case, worker, budget, block=0.1):
    """The same case at one thread and at the default number, by turns, on a machine that somebody else keeps busy.

    "theirs" of the figures is the time at one thread, so that the ratio is above 1 where threads still help.
    """
    result = Result(case)
    try:
        count = worker.prepare(group, case, block)

        def at(threads):
            worker.ask(threads=threads)
            return worker.time(count)

        turns = [lambda: at(worker.threads), lambda: at(1)]
        result.figures["default"] = figures_of(rounds_of(turns, budget))
    except RuntimeError as error:
        result.error = str(error)
    finally:
        worker.ask(threads=worker.threads)
    return result


@contextlib.contextmanager
def busy_cores():
    """A process that computes without end on each core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def rounds_of(turns, budget, rest=0.0):
    """Rounds in which every turn is taken once: at least three, until the budget (in seconds) is spent."""

    def rested(turn):
        time.sleep(rest)
        return turn()

    rounds, start = [], time.perf_counter()
    while len(rounds) < MOST_ROUNDS:
        rounds.append([rested(turn) for turn in turns])
        if len(rounds) >= LEAST_ROUNDS and time.perf_counter() - start > budget:
            break
    return rounds


def figures_of(rounds):
    medians = [statistics.median(column) for column in zip(*rounds)]
    if len(medians) == 1:
        return Figures(medians[0])
    return Figures(*medians, statistics.median(theirs / ours for ours, theirs in rounds))


def run_fresh(worker, group, case):
    """Run setup and stmt in a new process of the worker's interpreter and return what stmt left in `result`."""
    code = (
        "import sys\n"
        "from benchmarks.timing import scope\n"
        f"names = scope({group!r})\nnames['module'] = {worker.module!r}\n"
        f"exec({case.setup!r}, names)\nexec({case.stmt!r}, names)\nprint(names['result'])"
    )
    done = subprocess.run(
        [worker.python, "-c", code], capture_output=True, text=True, cwd=TOP, env=worker.environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no error text")
    return float(done.stdout.split()[-1])


def scope(group):
    """The names that the code of a group's cases can use."""
    return dict(vars(importlib.import_module(f"benchmarks.cases.{group}")))


LOOP = """
def loop():
    from itertools import repeat
    from time import perf_counter
{setup}
    _seconds = None
    while True:
        _count = yield _seconds
        _turns = repeat(None, _count)
        _start = perf_counter()
        for _ in _turns:
{stmt}
        _seconds = perf_counter() - _start
"""


class Timer:
    """Runs setup once, then the statement as often as asked; both share their local names."""

    def __init__(self, setup, stmt, names):
        text = LOOP.format(
            setup=textwrap.indent(setup or "pass", " " * 4), stmt=textwrap.indent(stmt, " " * 12)
        )
        names = dict(names)
        exec(compile(text, "<benchmark>", "exec"), names)
        self.loop = names["loop"]()
        next(self.loop)

    def seconds(self, count):
        """Time of `count` runs, without the cycle collector."""
        gc.collect()
        gc.disable()
        try:
            return self.loop.send(count)
        finally:
            gc.enable()

    def repetitions(self, block):
        """How many runs fill one block of time, and the time of one (warms the code up, too)."""
        self.seconds(1)  # the first call of a library sets things up, and says nothing about the next
        count = 1
        while True:
            seconds = self.seconds(count)
            if seconds >= block / 2:
                return max(1, round(count * block / seconds)), seconds / count
            count = max(2 * count, min(10 * count, int(count * block / max(seconds, 1e-9))))


def serve(module):
    """The worker's side: answer requests until the input ends. What cases print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    torch = importlib.import_module(module)
    answer(version=torch.__version__, threads=torch.get_num_threads())
    timer = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                timer = None  # frees what the last case held
                names = scope(request["group"])
                case = next(c for c in names["CASES"] if c.name == request["prepare"])
                variant = request.get("variant", 0)
                setup = case.setup + ("\n" + case.theirs[variant - 1] if variant else "")
                torch.manual_seed(0)
                torch.set_grad_enabled(True)
                timer = Timer(setup, case.stmt, {**names, "torch": torch})
                count, seconds = timer.repetitions(request["block"])
                answer(count=count, seconds=seconds)
            elif "threads" in request:
                torch.set_num_threads(request["threads"])
                answer()
            else:
                answer(seconds=timer.seconds(request["run"]))
        except Exception as error:  # a case that this library cannot run is a row in the table
            answer(error=f"{module}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve(sys.argv[1])
