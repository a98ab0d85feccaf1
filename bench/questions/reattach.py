"""A crowd that is cut off and comes back at once, each with its cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gateway import Gateway
from bench.loading import loading, measure
from bench.machine import room_for
from bench.plan import Audience, Publisher
from bench.questions.question import COST, FAULTS, NO_LOSS, Column, Figures, Goal, Question
from bench.questions.streams import streams

if TYPE_CHECKING:
    from bench.targets import Target

CLIENTS = 10_000
_MISSED = 20
_READS = {"xread", "xrange", "xrevrange"}
"""What the log is read with, from outside and inside of functions; by the follower too, which reads on."""


def ask(target: Target) -> Figures:
    """Lose them all, publish, and let them all come back at once, each with the cursor it had."""
    assert isinstance(target, Gateway)
    count = room_for(CLIENTS)
    with streams(target, count):
        cursor = target.tail()
    publisher = Publisher(target.publication(), _MISSED)
    measure(Audience(target.port, {}, (publisher,)), target)
    clients = [target.stream(user, cursor) for user in range(count)]
    before, server_us = target.calls(), target.processes.cpu_us()
    with loading(Audience(target.port, {"sse": clients}, at_once=0, earlier=(1, _MISSED)), target) as running:
        measured = running.go()
    after, server_us = target.calls(), target.processes.cpu_us() - server_us
    report = measured.report
    return {
        "served": report.served_seconds,
        "each": report.served_seconds * 1e6 / count,
        "cost": server_us / count,
        "faults": report.faults,
        "calls": (after["fcall"] - before["fcall"]) / count,
        "reads": sum(calls - before.get(name, 0) for name, calls in after.items() if name in _READS),
    }


QUESTION = Question(
    name="reattach",
    title="10,000 clients lost and re-attaching with cursors at once",
    explanation=(
        f"From the first connection until the last of the {_MISSED} missed events is with the last client. "
        "Reads of the log are all XREADs and XRANGEs of that time, the follower's few too. "
        "FCALLs are the leases by which streams are counted for their user's limit, over all gateways."
    ),
    peers=("gapless",),
    group="reattach",
    ask=ask,
    columns=(
        Column("served", "all served after, s"),
        Column("each", "for each, µs", 0),
        COST,
        Column("reads", "reads of the log", 0),
        Column("calls", "FCALLs a client", 2),
        FAULTS,
    ),
    goals=(
        Goal(
            "served in the time of ≤ 123 of the floor's deliveries for each client",
            "each",
            most=123,
            peer="floor",
            of="cost",
            asked="saturated",
        ),
        Goal(
            "no Redis read for cursors inside the window (≤ 200, the follower's included)",
            "reads",
            most=200,
        ),
        NO_LOSS,
    ),
    plotted=("served",),
)
