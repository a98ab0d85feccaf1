"""A room to attach in: a real window, hub and wheel, over a log and an exchange that are ours and in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
from redis.asyncio import Redis

from realtime.channel.event import Cursor, Entry, Interest, interest, stored_envelope
from realtime.channel.follower import Follower
from realtime.channel.log import Limits, Log, Replay, Verdict
from realtime.channel.reader import Reader, Replays, Start
from realtime.channel.window import Window
from realtime.delivery.attachment import Attachment
from realtime.delivery.crowd import Crowd, Kind
from realtime.delivery.group import share
from realtime.delivery.hub import Hub
from realtime.delivery.plan import Plan
from realtime.delivery.wheel import RESOLUTION_MS, Wheel
from realtime.errors import LogUnavailable
from realtime.load import Pace, Stretch
from realtime.metrics import Metrics
from transports.transport import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.channel.event import Filter
    from realtime.delivery.exchange import Listener
    from transports.transport import Answer, Headers, Transport

MS = 1_795_317_600_000
BEGIN = Cursor(MS, 0)
"""The position before everything."""
STREAM = Plan("a session", Terms(retry_ms=1000, lifetime_ms=600_000), hold_ms=600_000, heartbeat_ms=15_000)
WAITING = Plan("a session", Terms(retry_ms=1000, stays_open=False), hold_ms=25_000)
AT_ONCE = Plan("a session", Terms(retry_ms=1000, next_poll_ms=5000, stays_open=False))


class MemoryExchange:
    """An exchange that keeps what is written, and is writable as its test says."""

    def __init__(self, *, writable: bool = True) -> None:
        self.listener: Listener | None = None
        self.counted: Callable[[int], None] | None = None
        self.writable = writable
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.writes: list[bytes] = []
        self.ended = False
        self.unsent = 0
        self.aborted = False

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    def begin(self, status: int, headers: Headers) -> None:
        assert self.status == 0, "an answer begins once"
        self.status = status
        self.headers = dict(headers)

    def write(self, data: bytes) -> None:
        assert self.status, "an answer begins before its body"
        assert not self.ended, "nothing follows the end"
        self.writes.append(data)

    def end(self, data: bytes = b"") -> None:
        self.write(data)
        self.ended = True

    def answer(self, answer: Answer) -> None:
        self.begin(answer.status, answer.headers)
        self.end(answer.body)

    def abort(self) -> None:
        self.aborted = True

    def renew(self) -> None:
        """Begin another answer, on the same connection."""
        self.status, self.headers, self.writes, self.ended = 0, {}, [], False

    def drain(self) -> None:
        """Be writable again."""
        self.writable = True
        if self.listener is not None:  # what has ended listens no more
            self.listener.drained()

    def hang_up(self) -> None:
        """Lose the client."""
        if self.listener is not None:
            self.listener.closed()


class MemoryLog(Log):
    """A log that holds its entries in a list; it can be away, and it can take its time."""

    def __init__(self) -> None:
        super().__init__(Redis(), Limits(60_000, 1000, 1000, 0, 60_000))
        self.entries: list[Entry] = []
        self.floor = BEGIN
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.replays = 0

    async def check(self, cursor: Cursor, interest: Interest | None = None) -> Verdict:
        del interest
        await self.answers.wait()
        if self.is_away:
            message = "away"
            raise LogUnavailable(message)
        tail = self.entries[-1].id if self.entries else BEGIN
        return Verdict(self.floor <= cursor <= tail, self.floor, tail)

    async def replay(
        self, interest: Interest, after: Cursor, horizon: Cursor, limit: int, until: Cursor | None = None
    ) -> Replay:
        self.replays += 1
        verdict = await self.check(after)
        end = horizon if until is None else min(horizon, until)
        found = [entry for entry in self.entries if after < entry.id <= end and interest.sees(entry)]
        if len(found) > limit:
            return Replay(found[:limit], found[limit - 1].id, verdict)
        return Replay(found, max(after, end), verdict)


class HandWheel(Wheel):
    """A wheel whose clock goes only when it is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def turn(self, ms: int) -> None:
        """Let time pass, slot by slot."""
        until = self.ms + ms
        while self.ms < until:
            self.ms = min(self.ms + RESOLUTION_MS, until)
            self._turn()


class Room:
    """A channel of one gateway, with nobody attached."""

    def __init__(self, most_events: int = 1000, wheel: Wheel | None = None) -> None:
        self.log = MemoryLog()
        self.hub = Hub(wheel or Wheel())
        self.window = Window(most_events, 64 * 1024 * 1024)
        self.window.restart(BEGIN)
        self.hub.position = BEGIN
        self.follower = Follower(self.log, self.window, Redis, self.hub)
        self.follower._refill = False  # noqa: SLF001 - the window stands already
        self._replays = Replays(self.follower)
        self._crowds: dict[Kind, Crowd] = {}

    def publish(self, *entries: Entry) -> None:
        """Follow entries in one tick, as the follower does."""
        self.log.entries += entries
        self.window.extend(entries)
        self.hub.extended(entries)

    def _crowd(self, transport: Transport, seen: Interest, plan: Plan) -> Crowd:
        kind = Kind(
            transport,
            share(seen)[0],
            plan.limit,
            plan.gzip,
            is_conditional=False,
            interval_ms=0 if plan.hold_ms else 5_000,
        )
        if kind not in self._crowds:
            pace, metrics = Pace(5_000, Stretch()), Metrics()
            polled, unchanged = (metrics.polled(transport.name, "/x", status) for status in (200, 304))
            self._crowds[kind] = Crowd(kind, self.follower, self.hub, pace, polled, unchanged)
        return self._crowds[kind]

    def attach(
        self,
        transport: Transport,
        *held: str,
        plan: Plan = STREAM,
        after: Cursor | None = BEGIN,
        wanted: Filter | None = None,
        exchange: MemoryExchange | None = None,
        channel: str = "main",
        plain_until_ms: int = 0,
    ) -> tuple[Attachment, MemoryExchange]:
        """Attach a client that holds these scopes and patterns (default: broadcast) and start it."""
        exchange = exchange or MemoryExchange()
        start = Start() if after is None else Start(after, requested=str(after))
        reader = Reader(self.follower, self._replays, interest(channel, held or ("broadcast",), wanted), start)
        crowd = self._crowd(transport, reader.interest, plan) if plain_until_ms else None
        attachment = Attachment(self.hub, reader, transport, exchange, plan, crowd=crowd, plain_until_ms=plain_until_ms)
        if crowd is not None and after == self.window.position:
            attachment.wait()
        else:
            attachment.start()
        return attachment, exchange


def entry(
    number: int,
    scope: str = "broadcast",
    data: object = None,
    *,
    event: str = "test.happened",
    channel: str = "main",
) -> Entry:
    """Make the entry of this number; `data` is the number when it isn't given."""
    stored = stored_envelope(event, scope, orjson.dumps(number if data is None else data))
    return Entry(Cursor(MS + number, number), channel, scope, stored)


def entries(*numbers: int, scope: str = "broadcast") -> Sequence[Entry]:
    """Make entries of one scope."""
    return [entry(number, scope) for number in numbers]
