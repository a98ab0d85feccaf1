"""What a delivery costs when events come fast enough to be joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.plan import Publisher
from bench.questions.question import (
    CORES,
    COST,
    FAULTS,
    LATENCIES,
    NO_LOSS,
    STORE,
    Column,
    Figures,
    Goal,
    Question,
    figures,
)
from bench.questions.streams import streams

if TYPE_CHECKING:
    from bench.targets import Target

_CLIENTS = 1_000
_RATE = 1_000
_EVENTS = 1_500
_LANES = 32
_MOST_MS = 1_600
_GRACE_MS = 500


def ask(target: Target) -> Figures:
    """Publish at a fixed rate; count what has come half a second after the last event."""
    publisher = Publisher(target.publication(), _EVENTS, lanes=_LANES, rate=_RATE, most_ms=_MOST_MS)
    with streams(target, _CLIENTS, publisher, grace_ms=_GRACE_MS) as running:
        measured = running.go()
    report = measured.report
    found = figures(measured, report.received, target.kind)
    return found | {"rate": report.received / (report.publish_seconds or report.seconds)}


QUESTION = Question(
    name="broadcast",
    title="1,000 events a second to 1,000 clients",
    explanation=(
        "Each event is a request of its own, for a second and a half. Who can't keep up is sent fewer, and what hasn't "
        "come half a second after the last one counts as a fault."
    ),
    peers=("gapless", "nchan"),
    group="streams",
    ask=ask,
    columns=(Column("rate", "deliveries/s", 0), COST, STORE, *LATENCIES, FAULTS, *CORES),
    goals=(
        Goal("CPU for a delivery ≤ 1/8 of nchan's", "cost", most=0.125, peer="nchan"),
        Goal("≥ 900,000 deliveries a second", "rate", least=900_000),
        Goal("p99 ≤ 40 ms", "p99", most=40),
        NO_LOSS,
    ),
)
