"""How many deliveries one core makes when the next event always waits already."""

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
_EVENTS = 200
_UNDER_WAY = 2
"""Events: while one is being delivered, the next is there."""


def ask(target: Target) -> Figures:
    """Send the next event as soon as the one before the last is with everyone."""
    publisher = Publisher(target.publication(), _EVENTS, outstanding=_UNDER_WAY, lanes=_UNDER_WAY)
    with streams(target, _CLIENTS, publisher) as running:
        measured = running.go()
    return figures(measured, measured.report.received, target.kind)


QUESTION = Question(
    name="saturated",
    title="The same, saturated: two events under way at any time",
    explanation="An event is published when all but one of those before it are with all 1,000 clients.",
    peers=("gapless", "nchan", "floor"),
    group="streams",
    ask=ask,
    columns=(Column("rate", "deliveries/s", 0), COST, STORE, *LATENCIES, FAULTS, *CORES),
    goals=(
        Goal("deliveries a second ≥ 1.0 × nchan's", "rate", least=1.0, peer="nchan"),
        Goal("CPU for a delivery ≤ 1.5 × the floor's", "cost", most=1.5, peer="floor"),
        NO_LOSS,
    ),
    plotted=("rate",),
)
