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
    as_late_as_the_floor,
    figures,
    of_the_floor,
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
    """Publish at the machine's pace; count what has come half a second after the last event."""
    publisher = Publisher(target.publication(), _EVENTS, lanes=_LANES, rate=_RATE, most_ms=_MOST_MS).at(target.pace)
    with streams(target, _CLIENTS, publisher, grace_ms=_GRACE_MS) as running:
        measured = running.go()
    report = measured.report
    found = figures(measured, report.received, target.kind)
    return found | {"rate": report.received / (report.publish_seconds or report.seconds)}


QUESTION = Question(
    name="broadcast",
    title="1,000 events a second (times the pace) to 1,000 clients",
    explanation=(
        "Four times as many deliveries as the floor can make. Each event is a request of its own, for a second and a "
        "half. Who can't keep up is sent fewer, and what hasn't come half a second after the last one counts as a "
        "fault."
    ),
    peers=("gapless", "nchan"),
    group="streams",
    ask=ask,
    columns=(Column("rate", "deliveries/s", 0), COST, STORE, *LATENCIES, FAULTS, *CORES),
    goals=(
        Goal("CPU for a delivery ≤ 1/8 of nchan's", "cost", most=0.125, peer="nchan"),
        of_the_floor("deliveries a second ≥ 3.66 × the floor's, saturated", "rate", least=3.66),
        as_late_as_the_floor("p99 ≤ 5 × the floor's with one event at a time", "p99", most=5, of="p99"),
        NO_LOSS,
    ),
)
