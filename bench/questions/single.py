"""What one delivery costs when events come one at a time, and joining them helps nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.plan import Publisher
from bench.questions.question import CORES, COST, FAULTS, LATENCIES, NO_LOSS, STORE, Figures, Goal, Question, figures
from bench.questions.streams import streams

if TYPE_CHECKING:
    from bench.targets import Target

CLIENTS = 1_000
_RATE = 20
_EVENTS = 30


def ask(target: Target) -> Figures:
    """Send one event at a time to everyone."""
    return cost_of_a_delivery(target, CLIENTS)


def cost_of_a_delivery(target: Target, clients: int, events: int = _EVENTS) -> Figures:
    """Return the figures for so many clients; also what one of them holds while it is idle."""
    before_kb = target.processes.memory_kb()
    with streams(target, clients, Publisher(target.publication(), events, rate=_RATE)) as running:
        held_kb = target.processes.memory_kb() - before_kb
        measured = running.go()
    return figures(measured, measured.report.received, target.kind) | {"idle": held_kb / clients}


QUESTION = Question(
    name="single",
    title="One event at a time to 1,000 clients, 20 a second",
    explanation="CPU of the server's processes for one delivery, publishing included. A second and a half a round.",
    peers=("gapless", "nchan", "floor", "socket.io", "node", "sse-starlette", "quart"),
    group="streams",
    ask=ask,
    columns=(COST, STORE, *LATENCIES, FAULTS, *CORES),
    goals=(Goal("CPU for a delivery ≤ 1.0 × nchan's", "cost", most=1.0, peer="nchan"), NO_LOSS),
)
