"""What a client holds that nothing happens to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.machine import room_for
from bench.questions.question import Column, Figures, Goal, Question
from bench.questions.streams import streams

if TYPE_CHECKING:
    from bench.targets import Target

_FEW = 1_000
_MANY = 10_000
_SLOW = ("sse-starlette", "quart")
"""They would take minutes to open many."""


def ask(target: Target) -> Figures:
    """Open some, then many: on the same server, so that the first ones pay for what it makes once."""
    few = {"few": _held_kb(target, _FEW)}
    return few if target.name in _SLOW else few | {"many": _held_kb(target, _MANY)}


def _held_kb(target: Target, count: int) -> float:
    count = room_for(count)
    before_kb = target.processes.memory_kb()
    with streams(target, count):
        return (target.processes.memory_kb() - before_kb) / count


QUESTION = Question(
    name="idle",
    title="Idle memory per connection",
    explanation="Proportional set size of the server's processes, with and without clients. The kernel's is not in it.",
    peers=("gapless", "nchan", "floor", "socket.io", "node", "sse-starlette", "quart"),
    group="idle",
    ask=ask,
    columns=(Column("few", "1,000 clients, kB", 1), Column("many", "10,000 clients, kB", 1)),
    goals=(Goal("≤ 16 kB at 1,000", "few", most=16), Goal("≤ 16 kB at 10,000", "many", most=16)),
    plotted=("many",),
)
