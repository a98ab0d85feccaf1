"""What a poll costs: one that finds nothing new, and one that finds an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.loading import measure
from bench.plan import Requests
from bench.questions.question import Column, Figures, Goal, Question, of_the_floor
from bench.targets import Polled

if TYPE_CHECKING:
    from bench.targets import Poll, Target

_CONNECTIONS = 64
_POLLS = 60_000


def ask(target: Target) -> Figures:
    """Poll over and over."""
    assert isinstance(target, Polled)
    return _figures(target, "nothing", target.nothing_new()) | _figures(target, "one", target.one_event())


def _figures(target: Target, name: str, poll: Poll) -> Figures:
    requests = Requests(target.port, poll.request, _POLLS, _CONNECTIONS, poll.status, poll.wanted)
    measured = measure(requests, target)
    report = measured.report
    return {
        f"cost_{name}": measured.server_us / report.answers,
        f"rate_{name}": report.answers / report.seconds,
        f"p99_{name}": report.answer_ms.p99,
        f"faults_{name}": report.faults,
        "load": measured.load,
    }


QUESTION = Question(
    name="polls",
    title="Poll with nothing new, and with one event",
    explanation=f"{_POLLS:,} polls each, {_CONNECTIONS} connections, the next poll as soon as the last is answered.",
    peers=("gapless", "nchan"),
    group="requests",
    ask=ask,
    columns=(
        Column("cost_nothing", "nothing new: CPU, µs"),
        Column("rate_nothing", "polls/s", 0),
        Column("p99_nothing", "p99, ms", 1),
        Column("cost_one", "one event: CPU, µs"),
        Column("rate_one", "polls/s", 0),
        Column("p99_one", "p99, ms", 1),
        Column("faults_one", "faults", 0),
        Column("load", "load's core"),
    ),
    goals=(
        Goal("nothing new: CPU ≤ 1.5 × nchan's", "cost_nothing", most=1.5, peer="nchan"),
        Goal("one event: CPU ≤ 1.5 × nchan's", "cost_one", most=1.5, peer="nchan"),
        of_the_floor("nothing new: polls ≥ 0.285 × the floor's deliveries", "rate_nothing", least=0.285),
        of_the_floor("one event: polls ≥ 0.285 × the floor's deliveries", "rate_one", least=0.285),
        Goal("no wrong answer with nothing new", "faults_nothing", most=0),
        Goal("no wrong answer with one event", "faults_one", most=0),
    ),
    plotted=("cost_nothing",),
)
