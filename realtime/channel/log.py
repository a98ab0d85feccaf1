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
from realtime.channel.event import BATCH_BYTES, EVERY_TOPIC, ORIGIN, Cursor, Draft, Entry, Interest, stored_cursor
from realtime.channel.library import Library, was_refused
from realtime.errors import IdempotencyConflict, LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from realtime.channel.durability import Durability
    from realtime.channel.library import Command

NO_EVICTION: Final = "noeviction"
"""The ``maxmemory-policy`` of a server that keeps what it was given (rule 10)."""

_REQUEST_TTL_MS = 60_000
_TRIES = 2


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
    more: bool = False
    """Whether another visible entry follows that was not read: the limit was reached, or the bytes."""


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
        at = str(cursor)
        raw = await self._judging("check", at, at, self._testimony, *_streams(interest))
        return await self._heeded(_verdict(raw))

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
        """Read up to `limit` visible entries in (`after`, `horizon`], of at most `BATCH_BYTES`, or one (rule 7).

        The horizon is an id that the log has: up to there all appends are complete. With `until`, reading stops there.
        With `more`, another visible entry follows. Without, everything up to the position has been examined: up to the
        end, unless history broke off meanwhile. Then the next read from there is told.

        Raises:
            LogUnavailable: Redis does not answer, or refuses it.
        """
        end = horizon if until is None else min(horizon, until)
        replay = await self._page(interest, after, (horizon, end), (limit, BATCH_BYTES, 1))
        while not replay.more and _goes_on(replay.verdict) and replay.position < end:  # a filter hides the rest
            entries = replay.entries
            left = limit - len(entries), max(0, BATCH_BYTES - sum(entry.size for entry in entries)), not entries
            page = await self._page(interest, replay.position, (horizon, end), left)
            if entries and not _goes_on(page.verdict):
                break
            replay = page._replace(entries=entries + page.entries)
        return replay._replace(position=replay.entries[-1].id) if replay.more else replay

    async def _page(
        self, interest: Interest, after: Cursor, bounds: tuple[Cursor, Cursor], most: tuple[int, int, int]
    ) -> Replay:
        """Read what one call gives.

        `bounds` are the horizon and where to stop; `most` are entries, bytes, and how many entries are read at least.
        """
        horizon, end = bounds
        arguments = (str(after), str(horizon), self._testimony, str(end), *map(int, most), *_wanted(interest))
        streams = _streams(interest)
        raw = await self._judging("read", *arguments, *streams)
        verdict = await self._heeded(_verdict(raw[0]))
        if verdict.strange:
            verdict = verdict._replace(tail=(await self._touch(after, 0)).tail)
        if not verdict.complete:
            return Replay([], after, verdict)
        return Replay(_entries(interest.channel, raw[3]), max(after, stored_cursor(raw[1])), verdict, raw[2] == 1)

    async def _judging(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - what a Redis function returns
        """Call a function that judges, and touch the log first where it answers nothing.

        So it is where the log does not know what we witnessed, or was not begun by this server process.
        """
        answer = await self._call(name, *arguments)
        if answer is None:
            await self.touch()
            answer = await self._call(name, *arguments)
        if answer is None:
            message = "the log was replaced while it was asked: try again"
            raise LogUnavailable(message)
        return answer

    async def _heeded(self, verdict: Verdict) -> Verdict:
        """Have the log remember which streams are missing."""
        if verdict.missing:
            await self._call("lose", *verdict.missing)
        return verdict

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


def _wanted(interest: Interest) -> list[object]:
    """Write what `read` takes of an interest before its streams: the filter's types, and the patterns' prefixes."""
    wanted = interest.filter
    types = "" if wanted is None else ",".join((*sorted(wanted.exact), *wanted.prefixes))
    return [types, len(interest.prefixes), *interest.prefixes]


def _entries(channel: str, told: Sequence[bytes]) -> list[Entry]:
    """Read what `read` tells of entries: id, scope and body of each."""
    triples = zip(told[::3], told[1::3], told[2::3], strict=True)
    return [Entry(stored_cursor(id_), channel, scope.decode(), body) for id_, scope, body in triples]
