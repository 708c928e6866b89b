"""The profiler: events and their nesting, averages, tables, traces, schedules."""

import gzip
import json

import pytest

import rushlight as rl
from rushlight.autograd import profiler
from rushlight.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
)


def work():
    x = rl.ones(4, 4, requires_grad=True)
    (x @ x).sum().backward()


def test_events_nest_and_add_up():
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, profile_memory=True) as p, record_function("mine"):
        work()
        keep = rl.empty(1000, 1000)
    events = {e.name: e for e in p.events()}
    assert events["mine"].cpu_parent is None and events["aten::mm"].input_shapes == [[4, 4], [4, 4]]
    node = events["autograd::engine::evaluate_function: MmBackward0"]
    assert node.cpu_parent is events["mine"] and any(c.name == "aten::mm" for c in node.cpu_children)
    averages = {row.key: row for row in p.key_averages()}
    assert averages["aten::mm"].count == 3 and averages["mine"].cpu_memory_usage >= 4 * keep.numel()
    total = sum(row.self_cpu_time_total for row in p.key_averages())
    assert total == pytest.approx(averages["mine"].cpu_time_total, rel=1e-6)
    assert all(e.cpu_time_total >= e.self_cpu_time_total >= 0 for e in p.events())


def test_nothing_is_collected_outside():
    with profiler.profile() as p:
        rl.ones(2).add_(1)
    rl.ones(2).exp()
    names = [e.name for e in p.function_events]
    assert "aten::add_" in names and "aten::exp" not in names
    with profiler.profile(enabled=False) as off:
        assert off is None
    with pytest.raises(RuntimeError, match="not reentrant"), p:
        pass


def test_table():
    with profile(record_shapes=True, profile_memory=True) as p:
        work()
    text = p.key_averages(group_by_input_shape=True).table(sort_by="cpu_time_total", row_limit=3)
    lines = text.split("\n")
    assert lines[0] == lines[2] and set(lines[0]) == {"-", " "} and len({len(line) for line in lines[:6]}) == 1
    for column in ("Name", "Self CPU %", "CPU total", "CPU time avg", "CPU Mem", "# of Calls", "Input Shapes"):
        assert column in lines[1]
    assert len(lines) == 9 and lines[-2].startswith("Self CPU time total: ")
    assert str(p.events()).count("aten::mm") == 3
    with pytest.raises(AttributeError):
        p.key_averages().table(sort_by="beauty")


def test_schedule_handlers_and_traces(tmp_path):
    plan = schedule(wait=1, warmup=1, active=2, repeat=1, skip_first=1)
    actions = [ProfilerAction.NONE] * 2 + [ProfilerAction.WARMUP, ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE]
    assert [plan(i) for i in range(7)] == actions + [ProfilerAction.NONE] * 2
    seen = []
    handler = tensorboard_trace_handler(str(tmp_path), "w", use_gzip=True)
    with profile(schedule=plan, on_trace_ready=lambda p: (seen.append(p.step_num), handler(p))) as p:
        for _ in range(7):
            work()
            p.step()
    assert seen == [5]
    steps = [e.name for e in p.events() if e.name.startswith("ProfilerStep")]
    assert steps == ["ProfilerStep#3", "ProfilerStep#4"]
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("w.") and path.name.endswith(".pt.trace.json.gz")
    p.add_metadata("note", "x")
    p.export_chrome_trace(str(tmp_path / "trace.json"))
    packed = json.load(gzip.open(path))
    plain = json.load(open(tmp_path / "trace.json"))
    assert plain["note"] == "x" and plain["traceEvents"] == packed["traceEvents"]
    row = next(e for e in plain["traceEvents"] if e["name"] == "aten::mm")
    assert row["ph"] == "X" and row["dur"] > 0 and row["cat"] == "cpu_op"


def test_record_function_as_decorator():
    @record_function("decorated")
    def f(x):
        return x + 1

    with profile() as p:
        f(rl.ones(2))
    assert [e.name for e in p.events() if e.is_user_annotation] == ["decorated"]


def inner(x):
    return x @ x


def outer(x):
    return inner(x).relu()


def test_stacks(tmp_path):
    with rl.profiler.profile(with_stack=True) as prof:
        x = rl.ones(4, 4)
        outer(x)
        inner(x)
    products = [e for e in prof.events() if e.name in ("aten::matmul", "aten::mm") and e.cpu_parent is None]
    assert len(products) == 2
    assert [line.rpartition(" ")[2] for line in products[0].stack[:2]] == ["inner", "outer"]
    assert all("/rushlight/" not in line.partition("(")[0] for line in products[0].stack)
    name = products[0].key
    assert [r.count for r in prof.key_averages() if r.key == name] == [2]
    # the two calls come from different lines below inner()
    assert [r.count for r in prof.key_averages(group_by_stack_n=1) if r.key == name] == [2]
    assert [r.count for r in prof.key_averages(group_by_stack_n=2) if r.key == name] == [1, 1]
    table = prof.key_averages(group_by_stack_n=2).table()
    assert "Source Location" in table and "): inner" in table and "): outer" in table
    prof.export_stacks(tmp_path / "stacks.txt")
    lines = (tmp_path / "stacks.txt").read_text().splitlines()
    for line in lines:  # those that took a microsecond
        frames, _, value = line.rpartition(" ")
        assert int(value) > 0 and frames.split(";")[-1].endswith(("):_inner", "):_outer", "):_test_stacks"))
    with pytest.raises(ValueError, match="metric should be one of"):
        prof.export_stacks(tmp_path / "stacks.txt", "nothing")
    trace = tmp_path / "trace.json"
    prof.export_chrome_trace(str(trace))
    assert "Call stack" in trace.read_text()


def test_operations_are_counted():
    F = rl.nn.functional
    with rl.profiler.profile(with_flops=True) as prof:
        x = rl.ones(4, 4)
        rl.mm(x, x)
        rl.addmm(x, x, rl.ones(4, 4))
        rl.bmm(rl.ones(2, 3, 4), rl.ones(2, 4, 5))
        F.linear(rl.ones(7, 4), rl.ones(6, 4), rl.ones(6))
        F.conv2d(rl.ones(1, 2, 5, 5), rl.ones(3, 2, 3, 3))
        x * x  # noqa: B018
        x.exp()
    # as PyTorch counts them, each where it is done: the fourth is linear(), which may be a call of addmm()
    assert [e.flops for e in prof.events() if e.flops] == [128, 128, 240, 336, 972, 16]
    assert "Total FLOPs" in prof.key_averages().table()
