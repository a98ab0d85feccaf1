"""A log, with every entry that it ever had. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


_EPOCH_BITS: Final = 20


class Id(NamedTuple):
    """A position."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @property
    def epoch(self) -> int:
        """Of which life of the log it is: a log's ids lie in one row within an epoch, and nowhere else."""
        return self.seq >> _EPOCH_BITS


_BEFORE_ALL: Final = Id(0, 0)


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
    fenced: dict[int, Id] = field(default_factory=dict)
    """By epoch, the highest lost id for which a fence was written: with it, all below it are told."""
    kept_ms: int = 0
    """What is older may be gone by the retention."""
    first: Id | None = None
    """The oldest entry that is still there."""

    def copy(self) -> Lineage:
        return Lineage(dict(self.entries), list(self.fences), dict(self.fenced), self.kept_ms, self.first)

    def tell(self, lost: Iterable[Id]) -> None:
        """Take down that a fence was written for lost ids."""
        self.fenced = by_epoch([*self.fenced.values(), *lost])

    def untold(self, lost: Iterable[Id]) -> set[Id]:
        """Return those of lost ids that no fence tells of."""
        return {id_ for id_ in lost if id_ > self.fenced.get(id_.epoch, _BEFORE_ALL)}

    @property
    def born(self) -> int | None:
        """Its first epoch, which tells it from logs that began elsewhere."""
        return next((id_.epoch for id_ in self.entries), None)

    @property
    def tail(self) -> Id | None:
        return max(self.entries, default=None)

    def numbers(self) -> set[int]:
        """Return the numbers of the events that it ever had."""
        return {number for number in self.entries.values() if number is not None}


def by_epoch(ids: Iterable[Id]) -> dict[int, Id]:
    """Return the highest of each epoch."""
    return {id_.epoch: id_ for id_ in sorted(ids)}
