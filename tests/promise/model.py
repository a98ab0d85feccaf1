"""What was published, what the log had of it, and what each client must therefore have been given. Pure.

Written from the protocol, not from the code: ids are compared as two numbers, visibility is a few lines, and the log is
what publishers were acknowledged and what was read from the streams of Redis itself.

The rule (PROTOCOL §1) for a stretch of a client's way, from the cursor it attached at to the last one it was given:

* what it received lies strictly after the cursor, each id greater than the one before, none ever given to it twice;
* it was visible to it at that time, and is what was published;
* every visible event between the two cursors was received, except that
  * an event which the log *lost* (a failover, a flush) after the client could still have had it, or before, may be
    missing if the client was told later on: at once is impossible, for it takes a witness to know what was lost;
* it was told nothing else: `history.truncated` has a reason that the model knows (a cap, the retention, a loss).
"""

from __future__ import annotations

import json
import math
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LARGEST = 2**53
_FENCE_S = 3.0
"""How long a gateway may take to find out what was lost: it looks once a second, and Redis has to be back."""


class Id(NamedTuple):
    """A cursor."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


def read_id(text: str) -> Id:
    ms, seq = text.split("-")
    value = Id(int(ms), int(seq))
    assert str(value) == text, f"not the one way to write it: {text!r}"
    assert max(value) < LARGEST, text
    return value


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
    """A cursor that was given: when, in unix seconds, and by which gateway."""

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
    """A time when the log lost entries that it had."""

    since: float
    """From when on a client may have passed them by."""
    at: float
    """When the gateways could begin to find out."""
    flushed: bool
    lost: int


@dataclass
class Split:
    """A time when some gateways were with one log, and some with another, which is given up at the end."""

    gateways: set[str]
    """Those with the log that is given up."""
    begin: float
    end: float = math.inf


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
    lost: dict[Id, int] = field(default_factory=dict)
    """Ids that are not in the log any more, though it never cut them: by which of the losses."""
    losses: list[Loss] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    held: list[tuple[float, float]] = field(default_factory=list)
    """From when to when a gateway heard nothing from Redis."""
    witnesses: dict[Id, set[str]] = field(default_factory=dict)
    """Which gateways followed an id or were acknowledged it."""
    ended: dict[str, float] = field(default_factory=dict)
    """When a gateway ended: what it witnessed is forgotten."""
    surviving: dict[Id, int | None] = field(default_factory=dict)
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

    def snapshot(self, log: Mapping[Id, int | None]) -> None:
        """Take down what a log holds."""
        for id_, number in log.items():
            known = self.entries.setdefault(id_, number)
            assert known == number, f"{id_} was publication {known}, and is {number}"
        self.surviving = dict(log)

    def lose(self, log: Mapping[Id, int | None], since: float, *, flushed: bool = False) -> Loss:
        """Take down what a log holds now, which may have lost entries since a time."""
        before = set(self.entries) - set(self.lost)
        self.snapshot(log)
        oldest = Id(0, 0) if flushed or not log else min(log)
        gone = {id_ for id_ in before if id_ not in log and id_ >= oldest}
        loss = Loss(since, time.time(), flushed, len(gone))
        self.lost.update(dict.fromkeys(gone, len(self.losses)))
        self.losses.append(loss)
        return loss

    # What follows from it

    def judge_log(self) -> Iterator[str]:
        """Compare what is in the log at the end with what publishers were told."""
        copies = Counter(number for number in self.surviving.values() if number is not None)
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

    def judge(self, way: list[Stretch]) -> Iterator[str]:
        """Compare what a client was given with what it must have been given."""
        yield from _judge_order(way)
        for number, stretch in enumerate(way):
            yield from (f"stretch {number}: {fault}" for fault in self._judge_contents(stretch))
            later = [one.told for one in way[number:] if one.told]
            yield from (f"stretch {number}: {fault}" for fault in self._judge_gaps(stretch, later))
        yield from self._judge_truncations(way)

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
            if cursor not in self.entries and not self._died_unseen(cursor):
                yield f"the cursor {cursor} is no entry of the log"

    def _died_unseen(self, cursor: Id) -> bool:
        """Tell whether an id may have been appended, given out, and cut off or lost, between two looks at the log."""
        return cursor < min(self.surviving) or any(abs(cursor.ms / 1000 - loss.at) < _FENCE_S for loss in self.losses)

    def _judge_gaps(self, stretch: Stretch, later: list[Told]) -> Iterator[str]:
        if stretch.start is None or stretch.end is None:
            return
        received = {id_ for id_, _ in stretch.received}
        for id_ in self.visible(stretch.sight, stretch.start, stretch.end):
            if id_ in received:
                continue
            passed = stretch.passed(id_)
            since = self.losses[self.lost[id_]].since if id_ in self.lost else math.inf
            if passed.at < since and not self._was_elsewhere(passed):
                yield f"{id_} (publication {self.entries[id_]}) was in the log and was not given"
            elif not any(told.at >= passed.at for told in later) and self._is_owed(id_):
                yield f"{id_} (publication {self.entries[id_]}) was lost, and the client was never told"

    def _was_elsewhere(self, step: Step) -> bool:
        """Tell whether a step was made at a gateway that was with the other of two logs, or had not noticed its end."""
        return any(
            step.gateway in split.gateways and split.begin <= step.at <= split.end + _FENCE_S for split in self.splits
        )

    def _is_owed(self, id_: Id) -> bool:
        """Tell whether somebody lived to say that an id was lost."""
        if id_ not in self.lost:
            return True
        loss = self.losses[self.lost[id_]]
        known = self.witnesses.get(id_, ())
        return loss.flushed or any(self.ended.get(gateway, math.inf) > loss.at + _FENCE_S for gateway in known)

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

    def _judge_truncations(self, way: list[Stretch]) -> Iterator[str]:
        """Find those that have no reason: no cap, no retention, no loss after the cursor.

        A loss is told at most twice to one client: once because its cursor is gone, and once by the fence, which can't
        know who was told already. Who pages through history may be told more often, for as long as the gateway stands
        where the log was; and so may who goes to and fro between two logs.
        """
        counted = 0
        for told in [one.told for one in way if one.told and not self._explains(one)]:
            losses = [loss for loss in self.losses if loss.lost and loss.since <= told.at]
            counted += told.cursor is not None and not self._is_split(told.at)
            is_owed = any(told.requested.ms / 1000 < self.found_out(loss) + _FENCE_S for loss in losses)
            if not is_owed or counted > 2 * len(losses):
                yield f"told at {told.requested} that history is gone, and nothing was: {len(losses)} losses"

    def found_out(self, loss: Loss) -> float:
        """Tell when every gateway could begin to find out: one that heard nothing from Redis then, once it does."""
        return max([loss.at, *(end for begin, end in self.held if begin <= loss.at + _FENCE_S and end >= loss.at)])

    def _is_split(self, at: float) -> bool:
        return any(split.begin <= at <= split.end + _FENCE_S for split in self.splits)

    def _explains(self, stretch: Stretch) -> bool:
        """Tell whether a cap or the retention explains a truncation."""
        told, sight = stretch.told, stretch.sight
        assert told is not None
        after = [self.publications[n] for id_, n in self.entries.items() if n is not None and id_ > told.requested]
        mine = [one for one in after if one.channel == sight.channel]
        counts = Counter(one.scope for one in mine)
        topics = sum(count for scope, count in counts.items() if scope.startswith("topic:"))
        age_ms = told.at * 1000 - told.requested.ms
        return (
            any(counts[scope] > self.scope_cap for scope in sight.scopes)
            or (sight.has_pattern and topics > self.topics_cap)
            or age_ms >= self.retention_ms
            or any(self._has_forgotten(begin, end) and begin <= told.at <= end + _FENCE_S for begin, end in self.held)
        )

    def _has_forgotten(self, begin: float, end: float) -> bool:
        """Tell whether the log forgot meanwhile what a gateway last knew of it; then it can't be told from lost."""
        return (end - begin) * 1000 >= self.retention_ms


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


def read_log(raw: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> dict[Id, int | None]:
    """Read the entries of the log's stream as Redis gives them."""
    found: dict[Id, int | None] = {}
    for id_, fields in raw:
        number = json.loads(b"{" + fields[b"b"])["data"]["n"] if fields[b"s"] else None
        found[read_id(id_.decode())] = number
    return found
