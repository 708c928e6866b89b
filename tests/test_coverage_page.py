"""docs/coverage.md says what is there: its part about names is what tools/coverage.py would write now."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("coverage_tool", TOP / "tools" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date():
    """In a process of its own: a submodule that another test imported would count as present."""
    command = [sys.executable, str(TOP / "tools" / "coverage.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_counted_once(tool):
    for space, names in tool.survey().items():
        assert names, space
        assert {state for state, _ in names.values()} <= {"implemented", "partial", "missing"}


def test_function_that_only_raises_is_missing(tool):
    class Space:
        def there(self):
            return 1

        def absent(self):
            """Says why."""
            raise NotImplementedError("not yet")

        def half(self, x):
            if x:
                raise NotImplementedError("not yet")

        def marked(self):
            return 1

        marked.__rushlight_partial__ = "only on Mondays"

    states = {name: tool.state_of("nn", Space, name) for name in ("there", "absent", "half", "marked", "nowhere")}
    assert states == {
        "there": ("implemented", ""),
        "absent": ("missing", ""),
        "half": ("implemented", ""),
        "marked": ("partial", "only on Mondays"),
        "nowhere": ("missing", ""),
    }


def test_report_is_sorted_by_cause(tool):
    report = (
        "rng_vectors              10 of   10 match\n"
        "error_vectors             1 of    4 match\n"
        "    torch.foo(1) -> ('AttributeError', \"module 'rushlight' has no attribute 'foo'\")\n"
        "    torch.zeros(-1) -> no error\n"
        "    torch.ones(2) + torch.ones(3) -> ('RuntimeError', 'sizes')\n"
    )
    page = tool.answers_part(report)
    assert "rng_vectors: 10 of 10 match" in page
    assert "missing name `foo` (1)" in page and "nothing is raised (1)" in page
    assert "`RuntimeError` with another text or in another place (1)" in page
