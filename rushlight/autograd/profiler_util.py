"""What the profiler collected, as events, averages and tables."""

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "Interval"]


def _time_text(us):
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    if us >= 1e3:
        return f"{us / 1e3:.3f}ms"
    return f"{us:.3f}us"


def _scaled_text(us, unit):
    divisor, digits = {"s": (1e6, "s"), "ms": (1e3, "ms"), "us": (1.0, "us")}[unit]
    return f"{us / divisor:.3f}{digits}"


def _memory_text(nbytes):
    for limit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if abs(nbytes) >= limit:
            return f"{nbytes / limit:.2f} {name}"
    return f"{nbytes} B"


class Interval:
    """Start and end in microseconds since the profile began."""

    def __init__(self, start, end):
        self.start, self.end = start, end

    def elapsed_us(self):
        return self.end - self.start


class _Times:
    """What events and averages share: totals in text form."""

    @property
    def cpu_time(self):
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self):
        return _time_text(self.cpu_time)

    @property
    def cpu_time_total_str(self):
        return _time_text(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self):
        return _time_text(self.self_cpu_time_total)


class FunctionEvent(_Times):
    """One call of an operator, one node of a backward pass, or one record_function range."""

    count = 1

    def __init__(self, id, name, kind, start, end, memory, sequence, shapes, result=(), stack=()):
        self.id, self.name, self.key, self.kind = id, name, name, kind
        self.time_range = Interval(start, end)
        self.total_memory, self.sequence_nr = memory, sequence
        self.input_shapes = [list(s) for s in shapes]
        self.stack, self.flops = list(stack), _flops(name, shapes, result)
        self.thread = 1
        self.cpu_parent, self.cpu_children = None, []
        self.is_user_annotation = kind == 2

    @property
    def cpu_time_total(self):
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self):
        return self.cpu_time_total - sum(c.cpu_time_total for c in self.cpu_children)

    @property
    def cpu_memory_usage(self):
        return self.total_memory

    @property
    def self_cpu_memory_usage(self):
        return self.total_memory - sum(c.total_memory for c in self.cpu_children)

    def __repr__(self):
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start} end_us={self.time_range.end} "
            f"cpu_children={[c.id for c in self.cpu_children]} thread={self.thread} input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(_Times):
    """All events of one name (and of the same input shapes and stack, where those count) together."""

    def __init__(self, event, shapes, stack=()):
        self.key, self.input_shapes, self.stack, self.events = event.key, shapes, list(stack), []
        self.flops = 0
        self.count = self.cpu_time_total = self.self_cpu_time_total = 0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.is_user_annotation = event.is_user_annotation

    def add(self, event):
        self.count += 1
        self.flops += event.flops
        # a call inside a call of the same name would count twice
        parent = event.cpu_parent
        while parent is not None and parent.key != event.key:
            parent = parent.cpu_parent
        if parent is None:
            self.cpu_time_total += event.cpu_time_total
            self.cpu_memory_usage += event.cpu_memory_usage
        self.self_cpu_time_total += event.self_cpu_time_total
        self.self_cpu_memory_usage += event.self_cpu_memory_usage
        return self

    def __repr__(self):
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} cpu_time={self.cpu_time_str} "
            f" input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>"
        )


class EventList(list):
    """Events or averages, with tables and traces."""

    def __init__(self, events=(), with_memory=False, with_shapes=False, with_stack=False, with_flops=False):
        super().__init__(events)
        self.with_memory, self.with_shapes = with_memory, with_shapes
        self.with_stack, self.with_flops = with_stack, with_flops

    @classmethod
    def collected(cls, rows, with_memory, with_shapes, with_stack=False, with_flops=False):
        """From the core's rows, which are in order of their start; ranges that were not closed end with the last."""
        kinds = with_memory, with_shapes, with_stack, with_flops
        if not rows:
            return cls((), *kinds)
        first, last = rows[0][2], max(max(row[2], row[3]) for row in rows)
        events, open_ones = cls((), *kinds), []
        for i, (name, kind, start, end, memory, *rest) in enumerate(rows):
            if not end:
                end, memory = last, 0
            event = FunctionEvent(i, name, kind, (start - first) / 1e3, (end - first) / 1e3, memory, *rest)
            while open_ones and open_ones[-1].time_range.end <= event.time_range.start:
                open_ones.pop()
            if open_ones:
                event.cpu_parent = open_ones[-1]
                open_ones[-1].cpu_children.append(event)
            open_ones.append(event)
            events.append(event)
        for event in events:
            if any(child.flops for child in event.cpu_children):
                event.flops = 0  # counted where they are done
        return events

    @property
    def self_cpu_time_total(self):
        return sum(e.self_cpu_time_total for e in self)

    def key_averages(self, group_by_input_shape=False, group_by_stack_n=0, group_by_overload_name=False):
        """One row for each name; with group_by_input_shape, for each name and input shapes; with group_by_stack_n, for
        each name and innermost n entries of the stack (which has to be collected: with_stack)."""
        groups = {}
        for event in self:
            stack = event.stack[:group_by_stack_n]
            key = event.key, str(event.input_shapes) if group_by_input_shape else "", *stack
            if key not in groups:
                groups[key] = FunctionEventAvg(event, event.input_shapes if group_by_input_shape else "", stack)
            groups[key].add(event)
        with_stack = self.with_stack and group_by_stack_n > 0
        return EventList(groups.values(), self.with_memory, group_by_input_shape, with_stack, self.with_flops)

    def total_average(self):
        """Everything in one row."""
        total = None
        for event in self:
            total = total or FunctionEventAvg(event, "")
            total.add(event)
        if total:
            total.key = "Total"
        return total

    def table(
        self,
        sort_by=None,
        row_limit=100,
        max_src_column_width=75,
        max_name_column_width=55,
        max_shapes_column_width=80,
        header=None,
        top_level_events_only=False,
        time_unit=None,
    ):
        """The rows as text.

        Args:
            sort_by: name of an attribute, such as "cpu_time_total", "self_cpu_time_total", "count"; largest first.
            row_limit: how many rows; -1 for all.
            time_unit: "s", "ms" or "us" for all times.
        """
        if not self:
            return ""
        rows = list(self)
        if sort_by is not None:
            rows.sort(key=lambda e: getattr(e, _attribute(sort_by)), reverse=True)
        if top_level_events_only:
            rows = [e for e in rows if getattr(e, "cpu_parent", None) is None]
        total = self.self_cpu_time_total

        def text(us):
            return _time_text(us) if time_unit is None else _scaled_text(us, time_unit)

        def share(us):
            return f"{us * 100.0 / total:.2f}%" if total else "NaN"

        names = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
        names += ["CPU Mem", "Self CPU Mem"] if self.with_memory else []
        names += ["# of Calls"]
        widths = [12] * len(names)
        widths[0] = min(max(len(e.key) for e in rows) + 4, max_name_column_width)
        if self.with_shapes:
            names += ["Input Shapes"]
            widths += [min(max(len(str(e.input_shapes)) for e in rows) + 4, max_shapes_column_width)]
        if self.with_stack:
            names += ["Source Location"]
            longest = max((len(line) for e in rows for line in e.stack), default=12)
            widths += [min(longest + 4, max_src_column_width)]
        if self.with_flops:
            scale, unit = _flops_unit(max(e.flops for e in rows))
            names += [f"Total {unit}"]
            widths += [12]
        lines = [_line("-" * w for w in widths), _line(n.rjust(w) for n, w in zip(names, widths))]
        lines.append(lines[0])
        for e in rows if row_limit < 0 else rows[:row_limit]:
            cells = [_cut(e.key, widths[0]), share(e.self_cpu_time_total), text(e.self_cpu_time_total),
                     share(e.cpu_time_total), text(e.cpu_time_total), text(e.cpu_time)]  # fmt: skip
            if self.with_memory:
                cells += [_memory_text(e.cpu_memory_usage), _memory_text(e.self_cpu_memory_usage)]
            cells += [str(e.count)]
            if self.with_shapes:
                cells += [_cut(str(e.input_shapes), widths[len(cells)])]
            source = len(cells)
            if self.with_stack:
                cells += [_tail(e.stack[0], widths[source]) if e.stack else "--"]
            if self.with_flops:
                cells += [f"{e.flops / scale:.3f}" if e.flops else "--"]
            lines.append(_line(c.rjust(w) for c, w in zip(cells, widths)))
            if self.with_stack:  # the callers, one below the other
                blank = [" " * w for w in widths]
                for caller in e.stack[1:]:
                    lines.append(_line([*blank[:source], _tail(caller, widths[source]).rjust(widths[source])]))
        lines += [lines[0], f"Self CPU time total: {text(total)}", ""]
        if header is not None:
            lines = ["=" * len(lines[0]), header, *lines]
        return "\n".join(lines)

    def __str__(self):
        return self.table()

    def trace_events(self):
        """The events in Chrome's trace format."""
        kinds = {0: "cpu_op", 1: "cpu_op", 2: "user_annotation"}
        return [
            {
                "ph": "X",
                "cat": kinds[e.kind],
                "name": e.name,
                "pid": 0,
                "tid": e.thread,
                "ts": e.time_range.start,
                "dur": e.time_range.elapsed_us(),
                "args": {"External id": e.id, "Sequence number": e.sequence_nr}
                | ({"Input Dims": e.input_shapes} if self.with_shapes else {})
                | ({"Call stack": ";".join(reversed(e.stack))} if self.with_stack else {}),
            }
            for e in self
        ]

    def export_chrome_trace(self, path):
        """Writes a file for chrome://tracing or Perfetto; compressed where its name ends in .gz."""
        write_trace(path, {"traceEvents": self.trace_events(), "displayTimeUnit": "ms"})

    def export_stacks(self, path, metric):
        """Writes "outermost;...;innermost microseconds" for each event that has a stack."""
        known = ["self_cpu_time_total", "self_cuda_time_total", "self_xpu_time_total", "self_privateuse1_time_total"]
        if metric not in known:
            raise ValueError(f"metric should be one of: {known}")
        translated = str.maketrans(" ;\t\n", "____")
        with open(path, "w") as file:
            for e in self:
                value = int(getattr(e, metric, 0))
                if e.stack and value > 0:
                    frames = [line.translate(translated) for line in reversed(e.stack)]
                    file.write(f"{';'.join(frames)} {value}\n")


def write_trace(path, content):
    import gzip
    import json

    with gzip.open(path, "wt") if str(path).endswith(".gz") else open(path, "w") as file:
        json.dump(content, file)


def _attribute(name):
    known = {"cpu_time", "cpu_time_total", "self_cpu_time_total", "cpu_memory_usage", "self_cpu_memory_usage", "count"}
    if name not in known:
        raise AttributeError(f"'FunctionEventAvg' object has no attribute '{name}'")
    return name


# ---- operations ----

_BATCHED = {"aten::mm", "aten::bmm", "aten::matmul", "aten::addmm", "aten::baddbmm", "aten::linear"}
_CONVOLUTIONS = {"aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution"}


def _product(sizes):
    total = 1
    for n in sizes:
        total *= n
    return total


def _flops(name, shapes, result):
    """Additions and multiplications of a call; 0 where they are not counted, or the shapes were not collected."""
    if name in ("aten::add", "aten::mul"):
        return _product(result) if shapes else 0
    if name in _BATCHED and len(shapes) >= 2:
        left = shapes[1] if name in ("aten::addmm", "aten::baddbmm") else shapes[0]
        return 2 * _product(result) * left[-1] if left else 0
    if name in _CONVOLUTIONS and len(shapes) >= 2:
        return 2 * _product(result) * _product(shapes[1][1:])  # each element of the output sees one filter
    return 0


def _flops_unit(largest):
    for scale, name in ((1e12, "TFLOPs"), (1e9, "GFLOPs"), (1e6, "MFLOPs"), (1e3, "KFLOPs")):
        if largest >= scale:
            return scale, name
    return 1, "FLOPs"


def _line(cells):
    return "  ".join(cells) + "  "


def _cut(text, width):
    return text if len(text) <= width else text[: width - 3] + "..."


def _tail(text, width):
    """The end of a line, which says more about a place in a file than its beginning."""
    return text if len(text) <= width else "..." + text[len(text) - width + 3 :]
