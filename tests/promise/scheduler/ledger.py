"""What was published, which logs had it, and what each client must therefore have been given or told. Pure.

Written from the protocol. It knows nothing of the service: ids are pairs of numbers, and a log is what was read from
Redis. It judges at once what can be judged at once, and the rest when all is quiet.

* A client is given what it may see, as it was published, in the order of ids, after its cursor, once.
* Where a log has the position that a client was brought to, it had the one before, and the client was given all that it
  sees between.
* What some living gateway knew (it was acknowledged there, or followed) is given to each client that was there before,
  or the client is told afterwards. It is told before it is given what follows the loss, by a gateway that knew.
* A client is told only when its cursor is not of the log that it asked, or a fence in that log lies after it, or a cap,
  the retention or the bound in bytes has cut what follows it. A fence is written only for what a gateway knew and the
  log has not.
* An event is in a log once, and a batch is there whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.promise.scheduler.lineage import Id, Line, Lineage, by_epoch
from tests.promise.scheduler.sight import Publication, Sight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Fault(NamedTuple):
    """Something that must not be: its kind, and what was seen."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class Bounds:
    """How much history is kept, by the smallest settings of any gateway."""

    retention_ms: int
    scope_cap: int
    topics_cap: int
    max_bytes: int


@dataclass(eq=False)
class Client:
    """What one client was given."""

    name: str
    sight: Sight
    cursor: Id | None = None
    """`None` before its first answer."""
    begun: int = -1
    """The step of its first answer."""
    told: int = -1
    """The step at which it was told last."""
    since: Id = Id(0, 0)  # noqa: RUF009 - a value
    """Where it began, or was told to go on."""
    received: dict[Id, int] = field(default_factory=dict)
    """By id, the step at which it was received."""
    numbers: set[int] = field(default_factory=set)
    """The publications received. One may be under two ids: in a log, and once more in another after a lost reply."""


@dataclass
class Memory:
    """The ids that gateways saw."""

    known: set[Id] = field(default_factory=set)
    """Acknowledged, or followed."""
    untold: set[Id] = field(default_factory=set)
    """Those of them that no log need have been asked for yet: the next fence tells of them, if its log lacks them."""
    glimpsed: set[Id] = field(default_factory=set)
    """In a log that was asked: perhaps the last of them was seen."""

    def add(self, other: Memory) -> None:
        """Add what others saw."""
        self.known |= other.known
        self.untold |= other.untold
        self.glimpsed |= other.glimpsed


class Answer(NamedTuple):
    """One answer to a client: where it was before, what it was given, and where it is then."""

    before: Id | None
    entries: Sequence[tuple[Id, int]]
    after: Id
    is_told: bool = False


class Ledger:
    """The world outside of the service."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.step = 0
        self.publications: dict[int, Publication] = {}
        self.faults: list[Fault] = []
        self.truncations = 0
        self._memories: dict[str, Memory] = {}
        """By gateway that lives, what it saw."""
        self._kept: dict[int, Memory] = {}
        """By a log's first epoch, what gateways had seen when they wrote that down for this log."""
        self._born: dict[Id, int] = {}
        """In which step an id was given."""
        self._homes: dict[Id, list[Lineage]] = {}
        self._numbers: dict[Id, int] = {}
        self._batches: list[tuple[int, ...]] = []
        self._lineages: list[Lineage] = []

    def blame(self, kind: str, detail: str) -> None:
        """Take down something that must not be."""
        self.faults.append(Fault(kind, detail))

    # What happened to logs

    def lineage(self, of: Lineage | None = None) -> Lineage:
        """Begin a log, empty or as a copy."""
        made = of.copy() if of else Lineage()
        self._lineages.append(made)
        for id_ in made.entries:
            self._homes[id_].append(made)
        return made

    def observe(self, lineage: Lineage, lines: Iterable[Line], first: Id | None, now_ms: int, by: str) -> None:
        """Take down what came into a log in a step that a gateway made, and where the log begins."""
        self.age(lineage, now_ms)
        lineage.first = first
        lost, highest = self._lost(lineage, by), self._highest_lost(lineage, by)
        new = [line for line in lines if line.id not in lineage.entries]
        for line in new:
            self._enter(lineage, line.id, line.number)
        fences = [line.id for line in new if line.word == "fence"]
        if fences and not lost:
            self.blame("false fence", f"{fences[0]}, by {by}: nothing is lost that it has seen and no fence told of")
        if fences:
            lineage.fences += fences
            lineage.tell(highest)

    def _highest_lost(self, lineage: Lineage, gateway: str) -> set[Id]:
        """Return what a gateway's fence surely tells of: of each epoch the highest lost id, if the gateway knew it."""
        memory = self._memory(gateway)
        known, glimpsed = (by_epoch(seen - lineage.entries.keys()) for seen in (memory.known, memory.glimpsed))
        return set(known.values()) & set(glimpsed.values()) & memory.untold

    def age(self, lineage: Lineage, now_ms: int) -> None:
        """A log's server shows this time: what is older than the retention may be gone for good."""
        lineage.kept_ms = max(lineage.kept_ms, now_ms - self.bounds.retention_ms)

    def _lost(self, lineage: Lineage, gateway: str) -> set[Id]:
        """Find what a gateway knew, or else may have seen, that a log has not, and that no fence told of."""
        memory = self._memory(gateway)
        known, glimpsed = (seen - lineage.entries.keys() for seen in (memory.known, memory.glimpsed))
        return lineage.untold(known) or lineage.untold(glimpsed)

    def glimpse(self, gateway: str, lineage: Lineage) -> None:
        """A gateway asked a server that holds this log."""
        self._memory(gateway).glimpsed.update(lineage.entries)

    def compare(self, gateway: str, lineage: Lineage) -> None:
        """A gateway may have touched a log: it goes on with this log's end in place of all other epochs' ids."""
        memory, tail = self._memory(gateway), lineage.tail
        memory.untold = {id_ for id_ in memory.untold if tail is not None and id_.epoch == tail.epoch}

    def _memory(self, gateway: str) -> Memory:
        return self._memories.setdefault(gateway, Memory())

    def _enter(self, lineage: Lineage, id_: Id, number: int | None) -> None:
        if number is not None:
            if number in lineage.numbers():
                self.blame("published twice", f"publication {number} again under {id_}")
            self._numbers.setdefault(id_, number)
        lineage.entries[id_] = number
        self._born.setdefault(id_, self.step)
        self._homes.setdefault(id_, []).append(lineage)

    # What happened at gateways

    def publish(self, numbers: Sequence[int], kinds: Sequence[tuple[str, str]]) -> None:
        """Take down what somebody tries to publish at once: numbers, and the scope and type of each."""
        for number, (scope, event) in zip(numbers, kinds, strict=True):
            self.publications.setdefault(number, Publication(number, scope, event, self.step))
        if len(numbers) > 1:
            self._batches.append(tuple(numbers))

    def acknowledge(self, gateway: str, lineage: Lineage, id_: Id, number: int, *, is_duplicate: bool) -> None:
        """A publisher was given an id."""
        if lineage.entries.get(id_) not in {number, None} or self._numbers.setdefault(id_, number) != number:
            self.blame("wrong acknowledgement", f"{id_} is not publication {number}")
        if id_ not in lineage.entries:
            if is_duplicate or lineage.first is None or id_ >= lineage.first:
                self.blame("acknowledged and not there", f"{id_}, publication {number}")
            self._enter(lineage, id_, number)
        self.know(gateway, [id_])

    def know(self, gateway: str, ids: Iterable[Id]) -> None:
        """A gateway saw that entries are in a log."""
        memory, seen = self._memory(gateway), set(ids)
        memory.untold |= seen - memory.known
        memory.known |= seen

    def end(self, gateway: str) -> None:
        """A gateway has ended: what it did not write down nobody knows."""
        self._memories.pop(gateway, None)

    def keep(self, gateway: str, born: int) -> None:
        """A gateway writes down what it saw, for the log with this first epoch."""
        self._kept.setdefault(born, Memory()).add(self._memory(gateway))

    def recall(self, gateway: str, lineage: Lineage | None) -> None:
        """A gateway that starts reads what others wrote down, and knows what is of its log (`None`: no answer)."""
        memory = self._memory(gateway)
        for of, kept in self._kept.items():
            is_ours = lineage is not None and of == lineage.born
            memory.add(kept if is_ours else Memory(glimpsed=kept.glimpsed | kept.known))

    # What a client was given

    def answer(self, client: Client, gateway: str, lineage: Lineage, answer: Answer) -> None:
        """Judge one answer to a client by a gateway whose server holds a log."""
        client.numbers.update(number for _, number in answer.entries)
        if client.begun < 0:
            client.begun = self.step
            client.since = answer.before or answer.after
        if answer.is_told:
            self._judge_telling(client, lineage, answer)
            client.told = self.step
            client.since = answer.after
            self.truncations += 1
        else:
            self._judge_order(client, answer)
            self._judge_contents(client, lineage, answer)
            self._judge_completeness(client, lineage, answer)
            self._judge_lateness(client, gateway, lineage, answer)
        client.received.update({id_: self.step for id_, _ in answer.entries})
        client.cursor = answer.after

    def _judge_order(self, client: Client, answer: Answer) -> None:
        last = answer.before or Id(0, 0)
        for id_, _ in answer.entries:
            if id_ <= last:
                self.blame("backwards", f"{client.name} was given {id_} after {last}")
            last = id_
        if answer.after < last:
            self.blame("backwards", f"{client.name} was brought from {last} to {answer.after}")

    def _judge_contents(self, client: Client, lineage: Lineage, answer: Answer) -> None:
        for id_, number in answer.entries:
            publication = self.publications.get(number)
            if publication is None or self._numbers.get(id_) != number:
                self.blame("wrong event", f"{client.name} was given {id_} as publication {number}")
            elif not client.sight.sees(publication):
                self.blame("leak", f"{client.name} was given {id_}: {publication.scope} {publication.event}")
            before = client.received.get(id_)
            if before is not None and before > client.told:
                self.blame("given twice", f"{client.name} was given {id_} in step {before} and again")
            elif before is not None and id_ not in lineage.entries:
                self.blame("lost and repeated", f"{client.name} was given {id_} again, which the log has lost")

    def _judge_completeness(self, client: Client, lineage: Lineage, answer: Answer) -> None:
        if answer.before is None or answer.after not in lineage.entries:
            return
        if answer.before not in lineage.entries and (lineage.first is None or answer.before >= lineage.first):
            self.blame(
                "lost cursor", f"{client.name} was led from {answer.before}, which the log lost, to {answer.after}"
            )
        given = {id_ for id_, _ in answer.entries}
        for id_ in self._visible(client.sight, lineage, answer.before, answer.after):
            if id_ not in given:
                number = lineage.entries[id_]
                self.blame("silent gap", f"{client.name} was brought past {id_}, publication {number}, at once")

    def _judge_lateness(self, client: Client, gateway: str, lineage: Lineage, answer: Answer) -> None:
        """Find what the gateway knew to be lost when it led a client to what was written after it."""
        if answer.before is None or answer.after not in lineage.entries or answer.after == answer.before:
            return
        for id_ in self._owed(client, self._memory(gateway).known):
            homes = self._homes[id_]
            if self._born[answer.after] <= self.publications[self._numbers[id_]].step:
                continue
            if lineage not in homes and not any(answer.after in home.entries for home in homes):
                self.blame(
                    "told late", f"{client.name} was led to {answer.after} before it was told that {id_} is lost"
                )
                return

    def _judge_telling(self, client: Client, lineage: Lineage, answer: Answer) -> None:
        if answer.entries:
            self.blame("told and given", f"{client.name} was given {len(answer.entries)} entries too")
        if answer.after not in lineage.entries:
            self.blame("wrong event", f"{client.name} was told to go on at {answer.after}, which the log has not")
        if answer.before is not None and not self._explains(client.sight, lineage, answer.before):
            self.blame("false truncation", f"{client.name} was told at {answer.before}, and nothing after it is gone")

    def _explains(self, sight: Sight, lineage: Lineage, cursor: Id) -> bool:
        """Tell whether something that a client sees after its cursor is, or may be, gone."""
        bounds = self.bounds
        after = [n for id_, n in lineage.entries.items() if n is not None and id_ > cursor]
        failed = self.publications.keys() - self._numbers.values()  # what was undone may have made room before
        scopes = Counter(self.publications[number].scope for number in (*after, *failed))
        topics = sum(count for scope, count in scopes.items() if scope.startswith("topic:"))
        is_cut = bounds.max_bytes > 0 and (lineage.first is None or cursor < lineage.first)
        return (
            cursor not in lineage.entries
            or any(fence > cursor for fence in lineage.fences)
            or any(scopes[scope] > bounds.scope_cap for scope in sight.scopes)
            or (sight.has_pattern and topics > bounds.topics_cap)
            or cursor.ms < lineage.kept_ms
            or is_cut
        )

    def _visible(self, sight: Sight, lineage: Lineage, after: Id, until: Id) -> Iterator[Id]:
        for id_, number in lineage.entries.items():
            if number is not None and after < id_ <= until and sight.sees(self.publications[number]):
                yield id_

    def _owed(self, client: Client, known: Iterable[Id]) -> Iterator[Id]:
        """Find what was known after a client was told last, and it was not given."""
        since = max(client.begun, client.told)
        for id_ in sorted(known):
            number = self._numbers.get(id_)
            if number is None or number in client.numbers or client.begun < 0:
                continue
            publication = self.publications[number]
            if publication.step > since and client.sight.sees(publication):
                yield id_

    # When all is quiet

    def rest(self, positions: dict[str, Id], lineage: Lineage) -> None:
        """Judge where the gateways stand that had time to come to the end of a log."""
        for gateway, position in positions.items():
            if position != lineage.tail:
                self.blame("deaf", f"{gateway} stands at {position}, and the log ends at {lineage.tail}")

    def settle(self, clients: Sequence[Client], lineage: Lineage) -> None:
        """Judge what is owed to clients that have come to the end of a log.

        An id that lies before where a client began, by the clock of another server, and is older than the retention by
        the clock of this one, is not after any position of the client's.
        """
        known = set().union(*(memory.known for memory in self._memories.values()))
        for client in clients:
            for id_ in self._owed(client, known):
                if id_ > client.since or id_.ms >= lineage.kept_ms:
                    self.blame("silent gap", f"{client.name} never had {id_}, publication {self._numbers[id_]}")
        for one in self._lineages:
            self._judge_batches(one.numbers())

    def _judge_batches(self, there: set[int]) -> None:
        """Find those of which a log has a part. Where the bound in bytes cuts, the part may be what it left."""
        for numbers in self._batches:
            part = there.intersection(numbers)
            if 0 < len(part) < len(numbers) and not self.bounds.max_bytes:
                self.blame("half a batch", f"of {numbers}, {sorted(part)} are in a log")
