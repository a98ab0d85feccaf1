"""What was published, what the log had of it, and what each client must therefore have been given. Pure.

Written from the protocol, not from the code: ids are compared as two numbers, visibility is a few lines, and the log is
what publishers were acknowledged and what was read from the streams of Redis itself. Ids decide, and clocks don't: an
id belongs to the logs that had it (`lineage`), however long ago that was. One clock is asked, for the retention.

The rule (PROTOCOL §1) for a stretch of a client's way, from the cursor it attached at to the last one it was given:

* what it received lies strictly after the cursor, each id greater than the one before, none ever given to it twice;
* it was visible to it at that time, and is what was published;
* every visible event between the two cursors that was in the log which gave the second one was received;
* a visible event between the two cursors that was in another log may be missing if the client was told later on: at
  once is impossible, for it takes a witness to know what was lost;
* no fence lies between the two cursors: whoever crosses one is told;
* it was told nothing else: `history.truncated` has a reason that the model knows (a cap, the retention, a cursor that
  is not in the log, a fence), and a fence has one, too (a loss).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.promise.lineage import Id, Lineage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.promise.lineage import Record


@dataclass(frozen=True)
class Publication:
    """One event as it was published; `number` makes it unlike any other."""

    number: int
    channel: str
    scope: str
    event: str
    padding: int = 0
    idempotency_key: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        return {"n": self.number, "pad": "\u2028\n…" + "x" * self.padding}

    def body(self) -> dict[str, Any]:
        """Write it as publishers do."""
        body = {"event": self.event, "scope": self.scope, "data": self.data, "version": 1 + self.number % 3}
        return body if self.idempotency_key is None else {**body, "idempotency_key": self.idempotency_key}


@dataclass(frozen=True)
class Sight:
    """What a client may see: a channel, exact scopes, topic patterns, and the types it asked for (`None`: all)."""

    channel: str
    scopes: frozenset[str]
    types: tuple[str, ...] | None = None

    def sees(self, one: Publication) -> bool:
        return (
            one.channel == self.channel
            and any(_covers(held, one.scope) for held in self.scopes)
            and (self.types is None or any(_covers(wanted, one.event) for wanted in self.types))
        )

    @property
    def has_pattern(self) -> bool:
        return any(scope.endswith("*") for scope in self.scopes)


def _covers(held: str, asked: str) -> bool:
    return held == asked or (held.endswith("*") and asked.startswith(held[:-1]))


@dataclass(frozen=True)
class Told:
    """A `history.truncated`, or a 410: what was said, and when, in unix seconds."""

    requested: Id
    floor: Id
    cursor: Id | None
    at: float


class Step(NamedTuple):
    """A cursor that was given; when, in unix seconds, and by which gateway, for whoever reads a failure."""

    cursor: Id
    at: float
    gateway: str


@dataclass
class Stretch:
    """A part of a client's way: from one attachment or truncation to the next."""

    sight: Sight
    start: Id | None
    """Where it began; `None` until the service has said what "now" is."""
    anew: bool = False
    """Whether the client itself chose to begin anew, at the floor that a 410 named or without a cursor."""
    received: list[tuple[Id, int]] = field(default_factory=list)
    """Ids and numbers of publications, as they came."""
    steps: list[Step] = field(default_factory=list)
    """Every cursor given."""
    told: Told | None = None
    """How it ended, if it ended so."""

    @property
    def end(self) -> Id | None:
        return self.steps[-1].cursor if self.steps else self.start

    def __str__(self) -> str:
        """Tell it in a line."""
        seen = f"{self.sight.channel} {sorted(self.sight.scopes)} {self.sight.types or ''}"
        gateways = ", ".join(sorted({step.gateway for step in self.steps}))
        times = f"{self.steps[0].at:.3f} to {self.steps[-1].at:.3f}" if self.steps else ""
        numbers = [number for _, number in self.received]
        return f"from {self.start} to {self.end}, {times} on {gateways}; {seen}; received {numbers}; told {self.told}"

    def passed(self, id_: Id) -> Step:
        """Tell when the client's cursor went past an id."""
        return next(step for step in self.steps if step.cursor >= id_)


class Loss(NamedTuple):
    """Something that may have cost the log entries that it had."""

    flushed: bool
    lost: int


@dataclass
class Ledger:
    """The log as the world outside knows it."""

    scope_cap: int
    topics_cap: int
    retention_ms: int
    publications: dict[int, Publication] = field(default_factory=dict)
    entries: dict[Id, int | None] = field(default_factory=dict)
    """Every id that was ever in a log, with the number of its publication; markers have none."""
    acknowledged: dict[int, set[Id]] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    lost: dict[Id, int] = field(default_factory=dict)
    """Ids that are not in the log any more, though it never cut them: by which of the losses."""
    losses: list[Loss] = field(default_factory=list)
    witnesses: dict[Id, set[str]] = field(default_factory=dict)
    """Which gateways followed an id or were acknowledged it."""
    ended: set[str] = field(default_factory=set)
    """The gateways that ended: what they witnessed is forgotten."""
    surviving: set[Id] = field(default_factory=set)
    _tails: list[Id] = field(default_factory=list)
    """The last id of each log that was looked at."""
    _groundless: set[Id] = field(default_factory=set)
    """Fences that were there before anything was lost."""
    _order: list[Id] = field(default_factory=list)

    # What happened

    def acknowledge(self, id_: Id, number: int, gateway: str) -> None:
        """A publisher was given an id."""
        known = self.entries.setdefault(id_, number)
        assert known == number, f"{id_} is publication {known}, and was acknowledged as {number}"
        self.acknowledged.setdefault(number, set()).add(id_)
        self.witness(id_, gateway)

    def witness(self, id_: Id, gateway: str) -> None:
        self.witnesses.setdefault(id_, set()).add(gateway)

    def look(self, log: Mapping[Id, Record]) -> None:
        """Take down what a log holds."""
        for id_, record in log.items():
            known = self.entries.setdefault(id_, record.number)
            assert known == record.number, f"{id_} was publication {known}, and is {record.number}"
        before = set(self.lineage.fences)
        self.lineage.learn(log)
        if log:
            self._tails.append(max(log))
        if not self.lost:
            self._groundless |= self.lineage.fences - before

    def lose(self, log: Mapping[Id, Record], *, flushed: bool = False) -> Loss:
        """Take down what the log holds that goes on, which may lack entries."""
        oldest = Id(0, 0) if flushed or not log else min(log)
        gone = {id_ for id_ in self.entries if id_ not in self.lost and id_ not in log and id_ >= oldest}
        loss = Loss(flushed, len(gone))
        self.lost.update(dict.fromkeys(gone, len(self.losses)))
        self.losses.append(loss)
        self.look(log)
        return loss

    def end(self, log: Mapping[Id, Record]) -> None:
        """Take down what the log holds in the end."""
        self.look(log)
        self.surviving = set(log)

    # What follows from it

    def judge_log(self) -> Iterator[str]:
        """Compare what is in the log at the end with what publishers were told."""
        copies = Counter(self.entries[id_] for id_ in self.surviving)
        del copies[None]
        for number, count in copies.items():
            if number not in self.publications:
                yield f"the log has {number}, which nobody published"
            elif count > 1:
                yield f"publication {number} is {count} times in the log"
        oldest = min(self.surviving, default=Id(0, 0))
        for number, ids in self.acknowledged.items():
            for id_ in ids:
                if id_ >= oldest and id_ not in self.surviving and id_ not in self.lost:
                    yield f"{id_} (publication {number}) was acknowledged, is not in the log, and nothing lost it"
        yield from self._judge_fences()

    def _judge_fences(self) -> Iterator[str]:
        """Find fences without a reason. A gateway raises at most one for each epoch of which something was lost."""
        yield from (f"the fence {id_} was there before anything was lost" for id_ in self._groundless)
        gateways = set().union(*self.witnesses.values())
        most = len(gateways) * len({id_.epoch for id_ in self.lost})
        if len(self.lineage.fences) > most:
            yield f"{len(self.lineage.fences)} fences, and reason for {most}: {sorted(self.lineage.fences)}"

    def judge(self, way: list[Stretch]) -> Iterator[str]:
        """Compare what a client was given with what it must have been given."""
        yield from _judge_order(way)
        for number, stretch in enumerate(way):
            was_told = any(one.told for one in way[number:])
            faults = (self._judge_contents(stretch), self._judge_gaps(stretch, was_told=was_told))
            yield from (f"stretch {number}: {fault}" for fault in chain(*faults))
            if stretch.told and not self._explains(stretch, stretch.told):
                yield f"stretch {number}: told that history is gone, and nothing was: {stretch.told}"

    def _judge_contents(self, stretch: Stretch) -> Iterator[str]:
        for id_, number in stretch.received:
            publication = self.publications.get(number)
            if publication is None:
                yield f"{id_} is publication {number}, which nobody made"
            elif not stretch.sight.sees(publication):
                yield f"{id_} leaked: {publication.channel} {publication.scope} {publication.event}"
            elif self.entries.setdefault(id_, number) != number:
                yield f"{id_} is not publication {number}"
        for cursor, _, _ in stretch.steps:
            if cursor not in self.entries and not self._was_cut_unseen(cursor) and not self._is_lost(cursor):
                yield f"the cursor {cursor} is no entry of the log"

    def _was_cut_unseen(self, id_: Id) -> bool:
        """Tell whether an id may have been appended and cut off between two looks at the log."""
        return id_ not in self.entries and id_ < min(self.surviving)

    def _is_lost(self, id_: Id) -> bool:
        """Tell whether some log that was looked at does not have an id that is not beyond its end."""
        return any(not self.lineage.had(tail, id_) for tail in self._tails if tail > id_)

    def _judge_gaps(self, stretch: Stretch, *, was_told: bool) -> Iterator[str]:
        if stretch.start is None or stretch.end is None:
            return
        received = {id_ for id_, _ in stretch.received}
        for id_ in self.visible(stretch.sight, stretch.start, stretch.end):
            if id_ in received:
                continue
            if self._was_there(id_, stretch.passed(id_).cursor):
                yield f"{id_} (publication {self.entries[id_]}) was in the log and was not given"
            elif not was_told and self._is_owed(id_):
                yield f"{id_} (publication {self.entries[id_]}) was lost, and the client was never told"
        for fence in self.lineage.fences:
            if stretch.start < fence <= stretch.end and self._was_there(fence, stretch.passed(fence).cursor):
                yield f"the fence {fence} was crossed, and the client was not told"

    def _was_there(self, id_: Id, cursor: Id) -> bool:
        """Tell whether an id was in the log that gave a later cursor."""
        had = self.lineage.had(cursor, id_)
        return id_ not in self.lost if had is None else had

    def _is_owed(self, id_: Id) -> bool:
        """Tell whether somebody lives to say that an id was lost."""
        if id_ not in self.lost:
            return True
        return self.losses[self.lost[id_]].flushed or bool(self.witnesses.get(id_, set()) - self.ended)

    def visible(self, sight: Sight, after: Id, until: Id) -> list[Id]:
        """Return the ids of what a client sees in (`after`, `until`], lost ones too."""
        if len(self._order) != len(self.entries):
            self._order = sorted(self.entries)
        found = []
        for id_ in islice(self._order, bisect_right(self._order, after), bisect_right(self._order, until)):
            number = self.entries[id_]
            if number is not None and sight.sees(self.publications[number]):
                found.append(id_)
        return found

    def _explains(self, stretch: Stretch, told: Told) -> bool:
        """Tell whether a truncation has a reason: no log has to go on from the cursor that was presented."""
        return (
            self._has_lost(stretch, told)
            or any(
                told.requested < fence <= told.floor and self.lineage.had(told.floor, fence) is not False
                for fence in self.lineage.fences
            )
            or self._was_cut_unseen(told.floor)
            or self._cut(stretch.sight, told)
        )

    def _has_lost(self, stretch: Stretch, told: Told) -> bool:
        """Tell whether the cursor is not in the log that refused it.

        On a stream that is not the one that was presented, but the last one, or an entry after it that the client does
        not see. A 410 does not say where that log ended; it may be any that was looked at.
        """
        if told.cursor is None:
            return self._is_lost(told.requested)
        last = stretch.end or told.requested
        after = (id_ for id_ in self.entries if last < id_ < told.cursor)
        return any(not self.lineage.had(told.cursor, id_) for id_ in (told.requested, last, *after))

    def _cut(self, sight: Sight, told: Told) -> bool:
        """Tell whether a cap or the retention took something after the cursor."""
        after = [self.publications[n] for id_, n in self.entries.items() if n is not None and id_ > told.requested]
        counts = Counter(one.scope for one in after if one.channel == sight.channel)
        topics = sum(count for scope, count in counts.items() if scope.startswith("topic:"))
        return (
            any(counts[scope] > self.scope_cap for scope in sight.scopes)
            or (sight.has_pattern and topics > self.topics_cap)
            or told.at * 1000 - told.requested.ms >= self.retention_ms
        )


def _judge_order(way: Iterable[Stretch]) -> Iterator[str]:
    ever: set[Id] = set()
    for stretch in way:
        if stretch.anew:
            ever.clear()
        last = stretch.start
        for id_, number in stretch.received:
            if last is not None and id_ <= last:
                yield f"{id_} (publication {number}) came after {last}"
            if id_ in ever:
                yield f"{id_} (publication {number}) came twice"
            ever.add(id_)
            last = id_
        last = stretch.start
        for cursor, _, _ in stretch.steps:
            if last is not None and cursor < last:
                yield f"the cursor went back from {last} to {cursor}"
            last = cursor
