"""What clients that take nothing cost those that do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

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
_FILLING = 2
_BATCH = 500
"""Events of some 250 bytes: more than what the kernel and the gateway hold for one client."""
_ASIDE = "topic:aside"
"""What only those see that take nothing."""


class _Delivered(NamedTuple):
    """What came of one load; memory in kB."""

    report: Report
    held: float
    """What the gateway holds for those that have stalled."""
    growth: float
    """What it holds more when all has been delivered to the others."""


def ask(target: Target) -> Figures:
    """Deliver to healthy clients alone; then beside as many stalled ones; then twice as much beside such."""
    assert isinstance(target, Gateway)
    alone = _deliver(target, 0, _EVENTS)
    beside = _deliver(target, _CLIENTS, _EVENTS)
    longer = _deliver(target, _CLIENTS, 2 * _EVENTS)
    return {
        "alone_p99": alone.report.latency("sse").p99,
        "p99": beside.report.latency("sse").p99,
        "longer_p99": longer.report.latency("sse").p99,
        "held": beside.held / _CLIENTS,
        "growth": beside.growth / _CLIENTS,
        "longer_growth": longer.growth / _CLIENTS,
        "faults": sum(one.report.faults for one in (alone, beside, longer)),
    }


def _deliver(gateway: Gateway, stalled: int, events: int) -> _Delivered:
    clients = {
        "sse": [gateway.stream(user) for user in range(_CLIENTS)],
        "stalled": [gateway.stream(user, scopes=(_ASIDE,)) for user in range(_CLIENTS, _CLIENTS + stalled)],
    }
    publisher = Publisher(gateway.publication(), events, lanes=_LANES, rate=_RATE)
    with loading(Audience(gateway.port, clients, (publisher,)), gateway) as running:
        time.sleep(SETTLE_S)
        before_kb = gateway.processes.memory_kb()
        for _ in range(_FILLING):
            gateway.publish(_BATCH, _ASIDE)
            time.sleep(SETTLE_S)
        stalled_kb = gateway.processes.memory_kb()
        report = running.go().report
        return _Delivered(report, stalled_kb - before_kb, gateway.processes.memory_kb() - stalled_kb)


QUESTION = Question(
    name="stalled",
    title="1,000 clients that take nothing beside 1,000 that do",
    explanation=(
        f"{_RATE} events a second: {_EVENTS:,} to the healthy, {_EVENTS:,} beside the stalled, then {2 * _EVENTS:,}. "
        f"Those that take nothing have {_FILLING * _BATCH:,} others before, that nobody else sees, and stall. "
        "Memory: what the gateway holds for each of them then, and how much more when all is delivered."
    ),
    peers=("gapless",),
    group="stalled",
    ask=ask,
    columns=(
        Column("alone_p99", "healthy alone: p99, ms", 1),
        Column("p99", "beside stalled: p99, ms", 1),
        Column("longer_p99", "twice as long: p99, ms", 1),
        Column("held", "held for each, kB", 1),
        Column("growth", "more after that, kB", 1),
        Column("longer_growth", "after twice as long, kB", 1),
        FAULTS,
    ),
    goals=(
        Goal("the healthy ones' p99 ≤ 1.5 × what it is alone", "p99", most=1.5, of="alone_p99"),
        Goal("twice as long: p99 ≤ 1.5 × what it is alone", "longer_p99", most=1.5, of="alone_p99"),
        Goal("memory flat: ≤ 8 kB more a stalled client", "growth", most=8),
        Goal("twice as long: ≤ 8 kB more", "longer_growth", most=8),
        NO_LOSS,
    ),
    plotted=("held",),
)
