"""What it costs to answer one that waits, and to have it waiting again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.loading import loading
from bench.plan import Audience, Publisher
from bench.questions.question import CORES, COST, FAULTS, LATENCIES, NO_LOSS, STORE, Figures, Goal, Question, figures
from bench.targets import Polled

if TYPE_CHECKING:
    from bench.targets import Target

_WAITING = 1_000
_TURNS = 30
_PAUSE_MS = 40
"""After all have been answered, so that all wait again."""
_SETTLE_S = 0.8


def ask(target: Target) -> Figures:
    """Answer all that wait with one event, again and again."""
    assert isinstance(target, Polled)
    clients = [target.long_poll(user) for user in range(_WAITING)]
    publisher = Publisher(target.publication(), _TURNS, outstanding=1, pause_ms=_PAUSE_MS)
    with loading(Audience(target.port, {"long-poll": clients}, (publisher,)), target) as running:
        time.sleep(_SETTLE_S)
        measured = running.go()
    return figures(measured, measured.report.received, "long-poll")


QUESTION = Question(
    name="turnaround",
    title="Long-poll turnaround, 1,000 waiting",
    explanation=f"{_TURNS} events, each when all have been waiting again; CPU for one answer and the next request.",
    peers=("gapless", "nchan"),
    group="requests",
    ask=ask,
    columns=(COST, STORE, *LATENCIES, FAULTS, *CORES),
    goals=(Goal("CPU for a turn ≤ 1.5 × nchan's", "cost", most=1.5, peer="nchan"), NO_LOSS),
)
