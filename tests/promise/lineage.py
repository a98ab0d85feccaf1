"""Which log had which id. Pure.

Redis copies a log when a replica follows it, and two copies go on apart when one is promoted. Each copy that is written
to begins an epoch of its own, with a marker that names the id before it (docs/architecture.md, rule 2). So the markers
form a tree, and an id tells by itself whether another one came before it in the same log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LARGEST = 2**53
_EPOCH_SPAN = 2**20


class Id(NamedTuple):
    """A cursor."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @property
    def epoch(self) -> int:
        return self.seq // _EPOCH_SPAN


def read_id(text: str) -> Id:
    ms, seq = text.split("-")
    value = Id(int(ms), int(seq))
    assert str(value) == text, f"not the one way to write it: {text!r}"
    assert max(value) < _LARGEST, text
    return value


class Record(NamedTuple):
    """What a log holds under an id."""

    number: int | None
    """Of the publication; a marker has none."""
    marker: str
    """Why a marker is there: `epoch`, `idle` or `fence`; empty for a publication."""
    previous: Id | None
    """The id before it; the first entry of a log has none."""


def read_log(raw: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> dict[Id, Record]:
    """Read the entries of the log's stream as Redis gives them."""
    found: dict[Id, Record] = {}
    for id_, fields in raw:
        previous = read_id(fields[b"p"].decode()) if fields[b"p"] else None
        if fields[b"s"]:
            record = Record(json.loads(b"{" + fields[b"b"])["data"]["n"], "", previous)
        else:
            record = Record(None, fields[b"b"].decode(), previous)
        found[read_id(id_.decode())] = record
    return found


@dataclass
class Lineage:
    """The tree of epochs, and the fences in it."""

    fences: set[Id] = field(default_factory=set)
    _before: dict[int, Id | None] = field(default_factory=dict)
    """By epoch, the last id of the log before it began."""

    def learn(self, log: Mapping[Id, Record]) -> None:
        """Take down the markers of a log."""
        for id_, record in log.items():
            if record.marker == "fence":
                self.fences.add(id_)
            if record.marker == "epoch":
                self._before[id_.epoch] = record.previous

    def had(self, cursor: Id, id_: Id) -> bool | None:
        """Tell whether the log that ended at `cursor` had had an id; `None`: a marker was never seen, so who knows."""
        at: Id | None = cursor
        while at is not None:
            if at.epoch == id_.epoch:
                return id_ <= at
            if at.epoch not in self._before:
                return None
            at = self._before[at.epoch]
        return False
