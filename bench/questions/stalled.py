"""What clients that take nothing cost those that do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.gateway import Gateway
from bench.loading import loading
from bench.plan import Audience, Publisher
from bench.questions.question import FAULTS, NO_LOSS, Column, Figures, Goal, Question
from bench.questions.streams import SETTLE_S

if TYPE_CHECKING:
    from bench.loading import Report
    from bench.targets import Target

_CLIENTS = 1_000
_RATE = 500
_EVENTS = 1_000
_LANES = 16


def ask(target: Target) -> Figures:
    """Deliver to healthy clients alone; then beside as many stalled ones; then as much again to the same ones."""
    assert isinstance(target, Gateway)
    alone, _, _ = _deliver(target, 0, _EVENTS)
    report, held_kb, _ = _deliver(target, _CLIENTS, _EVENTS)
    longer, twice_kb, faults = _deliver(target, _CLIENTS, 2 * _EVENTS)
    return {
        "alone_p99": alone.latency("sse").p99,
        "p99": report.latency("sse").p99,
        "held": held_kb / _CLIENTS,
        "held_twice": twice_kb / _CLIENTS,
        "growth": (twice_kb - held_kb) / _CLIENTS,
        "faults": alone.faults + report.faults + faults,
        "longer_p99": longer.latency("sse").p99,
    }


def _deliver(gateway: Gateway, stalled: int, events: int) -> tuple[Report, float, int]:
    """Return the report, the kB that the gateway holds more than before, and the faults."""
    clients = {
        "sse": [gateway.stream(user) for user in range(_CLIENTS)],
        "stalled": [gateway.stream(user) for user in range(_CLIENTS, _CLIENTS + stalled)],
    }
    publisher = Publisher(gateway.publication(), events, lanes=_LANES, rate=_RATE)
    with loading(Audience(gateway.port, clients, (publisher,)), gateway) as running:
        time.sleep(SETTLE_S)
        before_kb = gateway.processes.memory_kb()
        report = running.go().report
        return report, gateway.processes.memory_kb() - before_kb, report.faults


QUESTION = Question(
    name="stalled",
    title="1,000 clients that take nothing beside 1,000 that do",
    explanation=(
        f"{_RATE} events a second: {_EVENTS:,} to the healthy, {_EVENTS:,} beside the stalled, then {2 * _EVENTS:,}."
        " Memory: what the gateway holds more at the end than at the beginning, for each stalled client."
    ),
    peers=("gapless",),
    group="stalled",
    ask=ask,
    columns=(
        Column("alone_p99", "healthy alone: p99, ms", 1),
        Column("p99", "beside stalled: p99, ms", 1),
        Column("longer_p99", "twice as long: p99, ms", 1),
        Column("held", "held for each, kB", 1),
        Column("held_twice", "after twice as many events, kB", 1),
        FAULTS,
    ),
    goals=(
        Goal("the healthy ones' p99 ≤ 1.5 × what it is alone", "p99", most=1.5, of="alone_p99"),
        Goal("memory flat: twice the events hold ≤ 8 kB more a stalled client", "growth", most=8),
        NO_LOSS,
    ),
    plotted=("held",),
)
