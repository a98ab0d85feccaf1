"""A log, with every entry that it ever had. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Id(NamedTuple):
    """A position."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


class Line(NamedTuple):
    """An entry as it was read from a log: an event's number, or a marker's word."""

    id: Id
    number: int | None
    word: str


@dataclass(eq=False)
class Lineage:
    """One log, with every entry that it ever had, cut or not; a copy of the data has a copy of it."""

    entries: dict[Id, int | None] = field(default_factory=dict)
    fences: list[Id] = field(default_factory=list)
    fenced: set[Id] = field(default_factory=set)
    """Lost ids for which a fence was written: of each fence the highest that its writer knew."""
    kept_ms: int = 0
    """What is older may be gone by the retention."""
    first: Id | None = None
    """The oldest entry that is still there."""

    def copy(self) -> Lineage:
        return Lineage(dict(self.entries), list(self.fences), set(self.fenced), self.kept_ms, self.first)

    @property
    def tail(self) -> Id | None:
        return max(self.entries, default=None)

    def numbers(self) -> set[int]:
        """Return the numbers of the events that it ever had."""
        return {number for number in self.entries.values() if number is not None}
