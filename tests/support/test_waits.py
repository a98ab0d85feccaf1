"""No test waits for the clock: what the tests may not do, looked for in their text (see `tests.support.waiting`)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_TESTS: Final = Path(__file__).parents[1]
_WAITING: Final = _TESTS / "support" / "waiting.py"
_NOT_TESTS: Final = {
    _WAITING: "the only place where anything sleeps",
    _TESTS / "support" / "stuck.py": "what ends a test that is stuck",
    _TESTS / "foreign" / "clients.py": "a program that is tested: clients, which pause before they come again",
    _TESTS / "promise" / "clients.py": "clients, which poll and come again until their test ends them",
}
_SLEEPS: Final = {"time.sleep", "asyncio.sleep"}
_BOUNDS: Final = {"asyncio.timeout", "asyncio.timeout_at", "asyncio.wait_for"}
_ALARMS: Final = {"signal.SIGALRM", "signal.alarm", "signal.setitimer"}
_CLOCKS: Final = {"time.monotonic", "time.perf_counter", "time.time", "loop.time"}
FILES: Final = sorted(
    file for file in _TESTS.rglob("*.py") if file not in _NOT_TESTS and "node_modules" not in file.parts
)


def faults(source: str) -> list[str]:
    """Return what a test's text does that depends on how fast the machine is, by line."""
    tree = ast.parse(source)
    found = [(getattr(node, "lineno", 0), what) for node in ast.walk(tree) for what in _faults(node)]
    return [f"{line}: {what}" for line, what in sorted(found)]


def _faults(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ImportFrom) and node.module in {"time", "asyncio"}:
        for name in node.names:
            if f"{node.module}.{name.name}" in _SLEEPS | _BOUNDS:
                yield f"imports {name.name}: write {node.module}.{name.name}, which is looked for"
    elif isinstance(node, ast.Call):
        yield from _faults_of_call(node)
    elif isinstance(node, ast.Attribute) and _dotted(node) in _ALARMS:
        yield "a signal that strikes in arbitrary code: bound the wait by `patience`"
    elif isinstance(node, ast.While) and any(map(_is_pause, ast.walk(node))):
        yield "a loop that looks again and again without an end: use `until`"
    elif isinstance(node, ast.Compare) and _is_speed(node):
        yield "an upper bound of elapsed seconds: use `patience`, or `at_once`"


def _faults_of_call(call: ast.Call) -> Iterator[str]:
    name = _dotted(call.func)
    if name in _SLEEPS and not _is_turn(call):
        yield "a sleep: wait `until` something holds; a duration of the story is an `interlude`"
    elif name in _BOUNDS or (name == "asyncio.wait" and any(one.arg == "timeout" for one in call.keywords)):
        yield "a bound in seconds of the clock: use `patience`"


def _is_pause(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and (_dotted(node.func) in _SLEEPS or _dotted(node.func).endswith("interlude"))


def _is_turn(call: ast.Call) -> bool:
    """Tell whether a sleep is none, but a turn of the event loop."""
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def _is_speed(node: ast.Compare) -> bool:
    """Tell whether a difference of two readings of a clock is to be below a number."""
    below, above = ast.Lt | ast.LtE, ast.Gt | ast.GtE
    for left, operator, right in zip((node.left, *node.comparators), node.ops, node.comparators, strict=False):
        small, large = (left, right) if isinstance(operator, below) else (right, left)
        is_bound = isinstance(operator, below | above) and isinstance(large, ast.Constant)
        if is_bound and isinstance(small, ast.BinOp) and isinstance(small.op, ast.Sub) and _reads_a_clock(small):
            return True
    return False


def _reads_a_clock(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call) and _dotted(one.func) in _CLOCKS for one in ast.walk(node))


def _dotted(node: ast.expr) -> str:
    """Return a name as it is written, such as ``asyncio.sleep``."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(_TESTS)))
def test_a_test_does_not_depend_on_how_fast_the_machine_is(file: Path) -> None:
    assert faults(file.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(0.1)",
        "await asyncio.sleep(delay)",
        "from asyncio import sleep",
        "signal.signal(signal.SIGALRM, handler)",
        "signal.setitimer(signal.ITIMER_REAL, 1)",
        "await asyncio.wait_for(task, 5)",
        "asyncio.timeout(5)",
        "asyncio.wait([task], timeout=5)",
        "while True: await asyncio.sleep(0)",
        "while not done: await interlude(0.1)",
        "assert time.monotonic() - began < 1",
        "assert 0.2 < time.monotonic() - began < 1",
        "assert 1 >= time.perf_counter() - began",
    ],
)
def test_what_does_is_found(line: str) -> None:
    assert faults(f"async def test() -> None:\n    {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "await asyncio.sleep(0)",
        "await interlude(0.1)",
        "assert time.monotonic() - began >= 1",
        "while not seen: seen += await stream.read()",
        "await until(lambda: task.done())",
    ],
)
def test_what_does_not_is_not(line: str) -> None:
    assert faults(f"async def test() -> None:\n    {line}\n") == []
