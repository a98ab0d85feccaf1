"""How many events one core takes over HTTP, each of them in the log when it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.gateway import Gateway
from bench.loading import measure
from bench.plan import Requests
from bench.questions.question import Column, Figures, Goal, Question, of_the_floor

if TYPE_CHECKING:
    from bench.targets import Target

_CONNECTIONS = 64
_SINGLE = 12_000
_BATCH = 100
_BATCHES = 1_000
_BATCH_CONNECTIONS = 16


def ask(target: Target) -> Figures:
    """Publish one event a request, then many."""
    found = _figures(target, "one", 1, _requests(target, target.publication(), _SINGLE, _CONNECTIONS))
    if isinstance(target, Gateway):
        batches = _requests(target, target.publication(_BATCH), _BATCHES, _BATCH_CONNECTIONS)
        found |= _figures(target, "batch", _BATCH, batches)
    return found


def _requests(target: Target, request: bytes, count: int, connections: int) -> Requests:
    return Requests(target.port, request, count, connections, target.published)


def _figures(target: Target, name: str, size: int, requests: Requests) -> Figures:
    measured = measure(requests, target)
    report = measured.report
    events = report.answers * size
    return {
        f"rate_{name}": events / report.seconds,
        f"cost_{name}": measured.server_us / events,
        f"store_{name}": measured.store_us / events,
        f"p99_{name}": report.answer_ms.p99,
        f"faults_{name}": report.faults,
        "load": measured.load,
    }


QUESTION = Question(
    name="publishing",
    title="Publish over HTTP: one event a request, and a hundred",
    explanation=(
        f"{_SINGLE:,} requests over {_CONNECTIONS} connections, then {_BATCHES:,} batches of {_BATCH} over "
        f"{_BATCH_CONNECTIONS}; nobody listens. nchan keeps events in its own memory, ours has them in Redis when it "
        "answers."
    ),
    peers=("gapless", "nchan"),
    group="requests",
    ask=ask,
    columns=(
        Column("rate_one", "one: events/s", 0),
        Column("cost_one", "CPU, µs"),
        Column("store_one", "Redis, µs"),
        Column("p99_one", "p99, ms", 1),
        Column("rate_batch", "batches: events/s", 0),
        Column("cost_batch", "CPU, µs"),
        Column("store_batch", "Redis, µs"),
        Column("p99_batch", "p99, ms", 1),
        Column("load", "load's core"),
    ),
    goals=(
        of_the_floor("one event each: ≥ 0.041 × the floor's deliveries", "rate_one", least=0.041),
        of_the_floor("batches of 100: events ≥ 0.245 × the floor's deliveries", "rate_batch", least=0.245),
        Goal("no refusal of one", "faults_one", most=0),
        Goal("no refusal of a batch", "faults_batch", most=0),
    ),
    plotted=("rate_one",),
)
