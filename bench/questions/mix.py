"""All transports at once, on one log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.gateway import Gateway
from bench.loading import loading
from bench.plan import Audience, Publisher
from bench.questions.question import CORES, FAULTS, NO_LOSS, Column, Figures, Question, as_late_as_the_floor
from bench.questions.scopes import OWN_SCOPE, USERS

if TYPE_CHECKING:
    from bench.targets import Target

_SECONDS = 6
_BROADCASTS = 50
_EVENTS = 5_000
_BATCH = 20
_LANES = 16
_SETTLE_S = 0.8
_KINDS = ("sse", "long-poll", "poll")


def ask(target: Target) -> Figures:
    """Publish to everyone and to each one, while a third each streams, waits, and polls in the service's rhythm."""
    assert isinstance(target, Gateway)
    cursor = target.tail()
    third = USERS // 3
    clients = {
        "sse": [target.stream(user, cursor) for user in range(third)],
        "long-poll": [target.polling("long-poll", user, cursor) for user in range(third, 2 * third)],
        "poll": [target.polling("poll", user, cursor) for user in range(2 * third, USERS)],
    }
    everyone = Publisher(target.publication(), _SECONDS * _BROADCASTS, lanes=4, rate=_BROADCASTS).at(target.pace)
    batches = target.publication(_BATCH, OWN_SCOPE)
    each = Publisher(batches, _SECONDS * _EVENTS, lanes=_LANES, rate=_EVENTS, users=USERS).at(target.pace)
    with loading(Audience(target.port, clients, (everyone, each)), target) as running:
        time.sleep(_SETTLE_S)
        measured = running.go()
    report = measured.report
    found: Figures = {
        "cost": measured.server_us / report.received,
        "faults": report.faults,
        "server": measured.server,
        "load": measured.load,
    }
    for kind in _KINDS:
        latency = report.latency(kind)
        found |= {f"{kind}_p95": latency.p95, f"{kind}_p99": latency.p99}
    return found


QUESTION = Question(
    name="mix",
    title="SSE, long-poll and polling in thirds, 2,000 in all: 50 broadcasts/s and 5,000 user events/s, times the pace",
    explanation=(
        f"For {_SECONDS} seconds. Those that poll come when the service told them to, every 5 s, and once more at the "
        "end; those that wait come back at once."
    ),
    peers=("gapless",),
    group="mix",
    ask=ask,
    columns=(
        Column("sse_p95", "SSE p95, ms", 1),
        Column("sse_p99", "SSE p99, ms", 1),
        Column("long-poll_p95", "long-poll p95, ms", 1),
        Column("long-poll_p99", "long-poll p99, ms", 1),
        Column("poll_p99", "poll p99, ms", 0),
        Column("cost", "CPU for an event, µs"),
        FAULTS,
        *CORES,
    ),
    goals=(
        as_late_as_the_floor("SSE p95 ≤ 14 × the floor's with one event at a time", "sse_p95", most=14, of="p95"),
        as_late_as_the_floor("SSE p99 ≤ 31 × the floor's with one event at a time", "sse_p99", most=31, of="p99"),
        NO_LOSS,
    ),
    plotted=("sse_p99",),
)
