"""Events that each concern one client of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import events
from bench.gateway import Gateway
from bench.plan import Publisher
from bench.questions.question import (
    CORES,
    COST,
    FAULTS,
    LATENCIES,
    NO_LOSS,
    STORE,
    Figures,
    Question,
    as_late_as_the_floor,
    figures,
)
from bench.questions.streams import streams

if TYPE_CHECKING:
    from bench.targets import Target

USERS = 2_000
_RATE = 10_000
_EVENTS = 30_000
_BATCH = 20
_LANES = 16
OWN_SCOPE = f"user:u-{events.USER}"


def ask(target: Target) -> Figures:
    """Publish to each user's own scope in turn."""
    assert isinstance(target, Gateway)
    request = target.publication(_BATCH, OWN_SCOPE)
    publisher = Publisher(request, _EVENTS, lanes=_LANES, rate=_RATE, users=USERS).at(target.pace)
    with streams(target, USERS, publisher) as running:
        measured = running.go()
    return figures(measured, measured.report.received, target.kind)


QUESTION = Question(
    name="scopes",
    title="10,000 events a second (times the pace), each to one of 2,000 users' own scope",
    explanation=f"Published in batches of {_BATCH}, for three seconds; CPU for one event, from publishing to delivery.",
    peers=("gapless",),
    group="scopes",
    ask=ask,
    columns=(COST, STORE, *LATENCIES, FAULTS, *CORES),
    goals=(
        as_late_as_the_floor("p99 ≤ 6.25 × the floor's with one event at a time", "p99", most=6.25, of="p99"),
        NO_LOSS,
    ),
    plotted=("p99",),
)
