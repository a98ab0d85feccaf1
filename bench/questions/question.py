"""A question: whom it is asked of, how, which figures an answer has, and what they should be."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.loading import Measured
    from bench.targets import Target

Figures: TypeAlias = dict[str, float]
OURS: Final = "gapless"
BUSY: Final = 0.9
"""How busy the load's core may be before it counts as the limit."""


class Samples(NamedTuple):
    """The figures of all rounds of one question, by peer."""

    rounds: Mapping[str, list[Figures]]
    others: Mapping[str, Mapping[str, list[Figures]]] = {}
    """Those of all questions, by name."""

    def of(self, question: str) -> Samples:
        """Return the figures of another question, in the same rounds."""
        return Samples(self.others.get(question, {}), self.others)

    def values(self, peer: str, figure: str) -> list[float]:
        """Return a figure of each round; empty when the peer was not asked."""
        return [one[figure] for one in self.rounds.get(peer, []) if figure in one]

    def median(self, peer: str, figure: str) -> float | None:
        """Return the median of a figure."""
        values = self.values(peer, figure)
        return statistics.median(values) if values else None


class Column(NamedTuple):
    """A figure in a table."""

    figure: str
    heading: str
    digits: int = 2


class Verdict(NamedTuple):
    """What became of a goal; `holds` is `None` when what it is measured by was not there."""

    goal: str
    found: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of one of our figures: a multiple of a peer's figure in the same run, or of another one of ours.

    A plain number is for what no machine makes faster or slower: faults, calls, bytes.
    """

    text: str
    figure: str
    most: float | None = None
    least: float | None = None
    peer: str = ""
    of: str = ""
    """The figure that it is a multiple of, where that has another name: the peer's, or else ours."""
    asked: str = ""
    """The question that the peer's figure answers, if it is another one."""

    def judge(self, samples: Samples) -> Verdict:
        """Compare medians."""
        ours = samples.median(OURS, self.figure)
        reference = 1.0
        if self.peer or self.of:
            others = samples.of(self.asked) if self.asked else samples
            found = others.median(self.peer or OURS, self.of or self.figure)
            if found is None or found == 0:
                return Verdict(self.text, f"not compared: {self.peer or self.of} has no figure", None)
            reference = found
        if ours is None:
            return Verdict(self.text, "not measured", None)
        found = ours / reference
        holds = (self.most is None or found <= self.most) and (self.least is None or found >= self.least)
        return Verdict(self.text, self._tell(found), holds)

    def _tell(self, found: float) -> str:
        if self.peer:
            return f"{found:.3g} × {self.peer}"
        if self.of:
            return f"{found:.2f} ×"
        return f"{found:,.2f}" if found < 100 and found % 1 else f"{found:,.0f}"


def of_the_floor(text: str, figure: str, least: float) -> Goal:
    """Compare a number a second of ours with the deliveries that the floor makes when it is saturated."""
    return Goal(text, figure, least=least, peer="floor", of="rate", asked="saturated")


def as_late_as_the_floor(text: str, figure: str, most: float, of: str) -> Goal:
    """Compare a latency of ours with the floor's (`of`: which) when it has one event at a time to deliver."""
    return Goal(text, figure, most=most, peer="floor", of=of, asked="single")


@dataclass(frozen=True, slots=True)
class Question:
    """One question."""

    name: str
    title: str
    explanation: str
    peers: tuple[str, ...]
    group: str
    ask: Callable[[Target], Figures]
    columns: tuple[Column, ...]
    goals: tuple[Goal, ...]
    plotted: tuple[str, ...] = ("cost",)
    """The figures that are drawn."""


COST: Final = Column("cost", "CPU, µs")
STORE: Final = Column("store", "Redis, µs")
LATENCIES: Final = (Column("p50", "p50, ms", 1), Column("p95", "p95, ms", 1), Column("p99", "p99, ms", 1))
FAULTS: Final = Column("faults", "faults", 0)
CORES: Final = (Column("server", "server's core", 2), Column("load", "load's core", 2))
NO_LOSS: Final = Goal("nothing lost, repeated or out of order", "faults", most=0)


def figures(measured: Measured, units: int, kind: str) -> Figures:
    """Return what most questions tell: the cost of one unit, how many there were a second, and how late they came."""
    report, latency = measured.report, measured.report.latency(kind)
    units = max(units, 1)
    return {
        "cost": measured.server_us / units,
        "store": measured.store_us / units,
        "rate": units / report.seconds,
        "p50": latency.p50,
        "p95": latency.p95,
        "p99": latency.p99,
        "faults": report.faults,
        "server": measured.server,
        "load": measured.load,
    }
