"""The log in Redis: append, check, replay, and what keeps it honest.

All writing and judging is done by the functions of ``log.lua``, atomically; this module calls them, and reads the
streams. The ten rules are in ``docs/architecture.md``.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from realtime.channel.durability import MEMORY
from realtime.channel.event import EVERY_TOPIC, ORIGIN, Cursor, Draft, Entry, Interest, stored_cursor
from realtime.channel.library import Library, was_refused
from realtime.errors import IdempotencyConflict, LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from redis.asyncio import Redis

    from realtime.channel.durability import Durability
    from realtime.channel.library import Command

Fields = dict[bytes, bytes]

NO_EVICTION: Final = "noeviction"
"""The ``maxmemory-policy`` of a server that keeps what it was given (rule 10)."""

_REQUEST_TTL_MS = 60_000
_TRIES = 2
_MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much history is kept: milliseconds, events of a scope, events of all topics, bytes (0: unbounded)."""

    retention_ms: int
    scope_cap: int
    topics_cap: int
    max_bytes: int
    idempotency_ms: int


class Appended(NamedTuple):
    """The answer to one published event."""

    id: Cursor
    duplicate: bool


class Verdict(NamedTuple):
    """Whether a cursor can be resumed (rule 3), where history begins for that reader, and the log's tail.

    `complete`: whether the log has the horizon that a replay read up to. If not, the replay says nothing.
    `strange`: whether the cursor is of an epoch that the log has never heard of.
    `missing`: the streams that should hold entries, and are not there.
    """

    good: bool
    floor: Cursor
    tail: Cursor
    complete: bool = True
    strange: bool = False
    missing: tuple[bytes, ...] = ()


class Pulse(NamedTuple):
    """What a touch returns: the log's tail, where history begins, and Redis's clock in unix milliseconds.

    `fenced`: whether the touch found that entries were lost, and said so. `born`: the number of the log's first epoch.
    `policy`: the server's ``maxmemory-policy``.
    """

    tail: Cursor
    floor: Cursor
    now_ms: int
    fenced: bool = False
    born: int = 0
    policy: str = NO_EVICTION


class Replay(NamedTuple):
    """A part of history: visible entries, the position up to which it was examined, and whether the start was good."""

    entries: list[Entry]
    position: Cursor
    verdict: Verdict


class Link(NamedTuple):
    """An entry with the id of the one before it."""

    entry: Entry
    previous: Cursor


class Log:
    """One partition of the log."""

    def __init__(self, redis: Redis, limits: Limits, partition: int | str = 0) -> None:
        """Use a client whose own retries are off: an append repeated by it would be another event.

        `partition` names the log among those of one server: a channel's by its number, the control log by its name.
        """
        self._redis = redis
        self._limits = limits
        self._library = Library(redis, "realtime.channel", "log.lua")
        self.execute, self.transact, self.run = self._library.execute, self._library.transact, self._library.run
        """Plain commands on the log's server (`Library`)."""
        self.name = str(partition)
        self._base = f"{{gapless:{partition}}}:"
        self.key = f"{self._base}log"
        self.acknowledged = ORIGIN
        """The highest id an append of ours got; `ORIGIN` after a restart of the window."""
        self._witnessed: dict[int, Cursor] = {}
        """By epoch, the highest id that we followed or were acknowledged (rule 5)."""
        self._testimony = ""
        self.born = 0
        """The log's first epoch, as of the last touch: it tells this log from all others."""

    @property
    def timed(self) -> Callable[[float | None], None]:
        """Who is told how long each command took (`Library.timed`)."""
        return self._library.timed

    @timed.setter
    def timed(self, told: Callable[[float | None], None]) -> None:
        self._library.timed = told

    async def append(
        self,
        drafts: Sequence[Draft],
        publisher: str = "",
        *,
        beside: Sequence[Command] = (),
        durability: Durability = MEMORY,
    ) -> list[Appended]:
        """Append all events or none, once each, also when the first answer is lost (then the same call is made again).

        Return when they are as durable as is wanted.

        The plain commands `beside` are run just before, in one transaction. They must bear being run twice, and one
        that fails keeps nothing else from happening: who needs to know looks at what it left.

        Raises:
            IdempotencyConflict: a key was used for another event; nothing was appended.
            LogUnavailable: no answer, or not as durable as wanted: the events are perhaps in the log. Or refused: they
                are not.
        """
        limits = self._limits
        caps = (limits.scope_cap, limits.topics_cap, limits.max_bytes)
        request = (secrets.token_urlsafe(12), _REQUEST_TTL_MS)
        arguments = (*caps, *request, limits.idempotency_ms, self._testimony, *_events(drafts, publisher))
        command = ("FCALL", *self._function("append", *arguments))
        answer, reached = await _again(partial(self._write, (*beside, command), durability.command))
        kind, _, told = answer.partition(b" ")
        if kind == b"conflict":
            raise IdempotencyConflict.of(int(told) - 1)
        durability.require(reached)
        answers = _appended(told)
        newest = next((id_ for id_, duplicate in reversed(answers) if not duplicate), None)
        if newest is not None:
            self.witness(newest)
            self.acknowledged = max(self.acknowledged, newest)
        return answers

    async def _write(self, commands: Sequence[Command], wait: Command | None) -> tuple[Any, Any]:
        """Run commands in one transaction; return the last one's answer, and that of the wait behind it."""
        if wait is None:
            return await self.transact(commands), None
        return await self._library.transact_and_wait(commands, wait)

    async def check(self, cursor: Cursor, interest: Interest | None = None) -> Verdict:
        """Judge a cursor for a reader (rule 3).

        Raises:
            LogUnavailable: Redis does not answer, or refuses it.
        """
        verdict, _ = await self._judged(cursor, cursor, _streams(interest), ())
        return verdict

    async def touch(self) -> Pulse:
        """Give a sign of life (rule 6), and have what we witnessed compared with the log (rule 5).

        What the log then has is witnessed in place of what it lost: it may be lost in its turn.

        Raises:
            LogUnavailable: Redis does not answer, or refuses it.
        """
        return await self._touch("", 0)

    async def mistrust(self) -> Pulse:
        """Touch the log, and have it say that entries were lost, for nobody knows which: no older cursor is good.

        Raises:
            LogUnavailable: Redis does not answer, or refuses it: perhaps it was said.
        """
        return await self._touch("", 1)

    async def _touch(self, strange: Cursor | str, lost: int) -> Pulse:
        told = dict(self._witnessed)
        answer = await self._call("touch", self._limits.max_bytes, self._testimony, str(strange), lost)
        tail, floor, now, fenced, born, policy = answer
        pulse = Pulse(stored_cursor(tail), stored_cursor(floor), int(now), fenced == 1, int(born), policy.decode())
        self.born = pulse.born
        self._settle(told, pulse.tail)
        return pulse

    def _settle(self, told: dict[int, Cursor], tail: Cursor) -> None:
        """Forget what was told of other epochs than the tail's; what was witnessed since has to be told yet."""
        for epoch, id_ in told.items():
            if epoch != tail.epoch and self._witnessed.get(epoch) == id_:
                del self._witnessed[epoch]
        if told:
            self.witness(tail)
        self._testify()

    @property
    def witnesses(self) -> list[Cursor]:
        """By epoch, the highest id that we followed or were acknowledged, as far as the log may not know it yet."""
        return list(self._witnessed.values())

    def witness(self, id_: Cursor) -> None:
        """Remember that an id was in the log."""
        known = self._witnessed.get(id_.epoch)
        if known is None or known < id_:
            self._witnessed[id_.epoch] = id_
            self._testify()

    def _testify(self) -> None:
        self._testimony = " ".join(map(str, self._witnessed.values()))

    async def replay(
        self, interest: Interest, after: Cursor, horizon: Cursor, limit: int, until: Cursor | None = None
    ) -> Replay:
        """Read up to `limit` visible entries in (`after`, `horizon`] from the scope streams (rule 7).

        The horizon is an id that the log has: up to there all appends are complete. With `until`, reading stops there.
        With fewer, everything up to the horizon has been examined, unless history broke off meanwhile: then everything
        up to the position has, and the next read from there is told. Pages grow, for a filter may hide most of them.
        """
        count, end = limit, horizon if until is None else min(horizon, until)
        replay = await self._page(interest, after, (horizon, end), count)
        while len(replay.entries) < limit and _goes_on(replay.verdict) and replay.position < end:
            count = min(count * 4, max(limit, _MOST_AT_ONCE))
            page = await self._page(interest, replay.position, (horizon, end), count)
            if replay.entries and not _goes_on(page.verdict):
                break
            replay = Replay(replay.entries + page.entries, page.position, page.verdict)
        if len(replay.entries) <= limit:
            return replay
        return Replay(replay.entries[:limit], replay.entries[limit - 1].id, replay.verdict)

    async def _page(self, interest: Interest, after: Cursor, bounds: tuple[Cursor, Cursor], count: int) -> Replay:
        """Read up to `count` entries of each stream; the bounds are the horizon and where to stop."""
        horizon, end = bounds
        sources = list(self._sources(interest))
        ranges = [("XRANGE", key, f"({after}", str(end), "COUNT", count) for key, _ in sources]
        verdict, streams = await self._judged(after, horizon, _streams(interest), ranges)
        if not verdict.complete:
            return Replay([], after, verdict)
        found, safe = _collect(interest, sources, streams, count, max(after, end))
        return Replay(found, safe, verdict)

    async def _judged(
        self, cursor: Cursor, horizon: Cursor, streams: Sequence[str], reads: Sequence[Command]
    ) -> tuple[Verdict, list[Any]]:
        """Judge a cursor after other reads, sent together; return the verdict, and what they gave.

        A log that does not know what we witnessed, or was not begun by this server process, judges nothing before a
        touch. Streams that are missing are remembered to be. Who comes from another log is put at a new marker.
        """
        *found, judged = await self._library.pipe([*reads, self._judge(cursor, horizon, streams)])
        if judged is None:
            await self.touch()
            *found, judged = await self._library.pipe([*reads, self._judge(cursor, horizon, streams)])
        if judged is None:
            message = "the log was replaced while it was asked: try again"
            raise LogUnavailable(message)
        verdict = _verdict(judged)
        if verdict.missing:
            await self._call("lose", *verdict.missing)
        if verdict.strange and reads:
            verdict = verdict._replace(tail=(await self._touch(cursor, 0)).tail)
        return verdict, found

    def _judge(self, cursor: Cursor, horizon: Cursor, streams: Sequence[str]) -> Command:
        return "FCALL", *self._function("check", str(cursor), str(horizon), self._testimony, *streams)

    async def backwards(self, before: Cursor | None, count: int) -> list[Link]:
        """Read up to `count` entries of the log before an id (`None`: from the tail), newest first."""
        start = "+" if before is None else f"({before}"
        return _links(await self.execute("XREVRANGE", self.key, start, "-", "COUNT", count))

    async def follow(self, connection: Redis, after: Cursor, block_ms: int | None, count: int) -> list[Link]:
        """Wait up to `block_ms` (`None`: not at all) for entries after an id, on a connection of the caller's own."""
        waiting = () if block_ms is None else ("BLOCK", block_ms)
        command = ("XREAD", "COUNT", count, *waiting, "STREAMS", self.key, str(after))
        answer: Any = await self._library.run(partial(connection.execute_command, *command), waits=True)
        if not answer:
            return []
        ((_, raws),) = answer
        return _links(raws)

    def _sources(self, interest: Interest) -> Iterator[tuple[str, str]]:
        for scope in interest.scopes:
            yield f"{self._base}scope {interest.channel} {scope}", scope
        if interest.prefixes:
            yield f"{self._base}topics {interest.channel}", EVERY_TOPIC

    def _function(self, name: str, *arguments: object) -> tuple[object, ...]:
        keys = (self.key, f"{self._base}meta")
        return f"gapless_3_{name}", 2, *keys, self._base, self._limits.retention_ms, *arguments

    async def _call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - what a Redis function returns
        return await self.execute("FCALL", *self._function(name, *arguments))


async def _again(call: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what the call returns
    """Make a call once more when its answer was lost; what was refused would be refused again."""
    for _ in range(_TRIES - 1):
        try:
            return await call()
        except LogUnavailable as error:
            if was_refused(error):
                raise
    return await call()


def _streams(interest: Interest | None) -> list[str]:
    """Name the streams that a reader reads, as the kernel's bounds do."""
    if interest is None:
        return []
    names = (*interest.scopes, EVERY_TOPIC) if interest.prefixes else interest.scopes
    return [f"{interest.channel} {name}" for name in names]


def _events(drafts: Sequence[Draft], publisher: str) -> list[str | bytes]:
    """Write what `append` takes of each event: channel, scope, body, whose key, fingerprint."""
    arguments: list[str | bytes] = []
    for draft in drafts:
        channel, scope, stored, key, owner = draft
        once = (f"{channel} {publisher or owner} {key}", draft.fingerprint) if key else ("", "")
        arguments += (channel, scope, stored, *once)
    return arguments


def _appended(told: bytes) -> list[Appended]:
    """Read what `append` says of the events: ``<ms>-<seq> <0|1: repeated>`` of each."""
    numbers = list(map(int, told.replace(b"-", b" ").split()))
    triples = zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    return [Appended(Cursor(ms, seq), repeated == 1) for ms, seq, repeated in triples]


def _verdict(raw: tuple[int, bytes, bytes, int, int, list[bytes]]) -> Verdict:
    good, floor, tail, complete, strange, missing = raw
    return Verdict(good == 1, stored_cursor(floor), stored_cursor(tail), complete == 1, strange == 1, tuple(missing))


def _goes_on(verdict: Verdict) -> bool:
    return verdict.good and verdict.complete


def _links(raws: Sequence[tuple[bytes, Sequence[bytes]]]) -> list[Link]:
    """Read entries as Redis gives them: an id, and the fields in the order in which ``log.lua`` writes them.

    Most follow the one before them in `raws`, whose id need not be read again.
    """
    links = []
    last, last_raw = ORIGIN, b""
    for raw, (_, channel, _, scope, _, stored, _, previous, *_) in raws:
        before = last if previous == last_raw else _stored_previous(previous)
        last, last_raw = stored_cursor(raw), raw
        links.append(Link(Entry(last, channel.decode(), scope.decode(), stored), before))
    return links


def _stored_previous(raw: bytes) -> Cursor:
    """Read the id before an entry; the first one of a log has none."""
    return stored_cursor(raw) if raw else ORIGIN


def _collect(
    interest: Interest,
    sources: Sequence[tuple[str, str]],
    streams: Sequence[Sequence[tuple[bytes, Fields]]],
    count: int,
    horizon: Cursor,
) -> tuple[list[Entry], Cursor]:
    """Merge what the streams gave; a stream that was cut at `count` says nothing about what follows its last entry."""
    safe, found = horizon, {}
    for (_, scope), raws in zip(sources, streams, strict=True):
        for id_, fields in raws:
            entry = _stored(interest.channel, scope, stored_cursor(id_), fields)
            found[entry.id] = entry
        if len(raws) >= count:
            safe = min(safe, stored_cursor(raws[-1][0]))
    visible = [found[id_] for id_ in sorted(found) if id_ <= safe and interest.sees(found[id_])]
    return visible, safe


def _stored(channel: str, scope: str, id_: Cursor, fields: Fields) -> Entry:
    return Entry(id_, channel, fields[b"s"].decode() if scope == EVERY_TOPIC else scope, fields[b"b"])
