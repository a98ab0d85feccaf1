"""What the log promises, as a model: servers with their histories, gateways that know things, clients that are owed.

An event is *known* when a gateway that lives was acknowledged it or followed it. Whatever becomes of the servers, a
client is owed every event that became known after the client began, and that it may see: it has received it, or it has
been told, after the event, that something is missing (`history.truncated`). Nothing is received twice or out of order,
but for a client that was told between, and then came to a gateway that still follows another server.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

from realtime.channel.event import ORIGIN, Cursor, Draft, Interest, interest, stored_envelope
from realtime.channel.follower import Follower
from realtime.channel.log import Limits, Log
from realtime.channel.reader import Part, Reader, Replays, Start
from realtime.channel.window import Window
from tests.channel.following import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from realtime.channel.event import Entry
    from tests.channel.simulated import Copy, SimulatedServer

RETENTION_MS = 10_000
NOON_MS = 1_800_000_000_000
ROOMY = Limits(RETENTION_MS, scope_cap=10_000, topics_cap=10_000, max_bytes=0, idempotency_ms=60_000)
ENDLESS = replace(ROOMY, retention_ms=100 * RETENTION_MS)
CAPPED = replace(ROOMY, scope_cap=4, topics_cap=7)
HEAVY = replace(ROOMY, max_bytes=3_000)
PLACES = (
    *(("main", "broadcast"), ("main", "user:1"), ("main", "topic:a"), ("main", "topic:a.x"), ("main", "topic:b.y")),
    ("other", "broadcast"),
)
INTERESTS = (
    interest("main", ["broadcast"]),
    interest("main", ["broadcast", "user:1", "topic:a.x"]),
    interest("main", ["topic:a.*", "topic:a.x"]),
    interest("main", ["topic:*", "user:1"]),
    interest("other", ["broadcast"]),
)
_ENOUGH = 200


@dataclass(eq=False)
class Event:
    """One event of one server's history; a copy of the data shares it."""

    id: Cursor
    number: int
    channel: str
    scope: str
    step: int
    known_by: set[Gateway] = field(default_factory=set)


@dataclass
class History:
    """A server, and every event its log ever got, cut or not."""

    server: SimulatedServer
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True)
class Snapshot:
    """What a replica or a backup has: a server's data, and the history that belongs to it."""

    copy: Copy
    events: tuple[Event, ...]


class Switch:
    """A Redis client whose server changes: what a gateway has through a name that is pointed elsewhere."""

    def __init__(self, history: History) -> None:
        self.history = history

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        return getattr(self.history.server.client, name)


class Gateway:
    """The channel as one process has it: log, window, follower; moved by steps instead of by tasks."""

    def __init__(self, history: History, limits: Limits) -> None:
        self.switch = Switch(history)
        self.line = Line(lambda: self.history.server.client)
        log = Log(cast("Redis", self.switch), limits)
        self.follower = Follower(log, Window(5, 10_000), lambda: history.server.client, self)
        self.replays = Replays(self.follower)
        self.current = False
        """Whether the window belongs to the history that the gateway is pointed at."""
        self._restarted = False

    @property
    def history(self) -> History:
        return self.switch.history

    def move(self, history: History) -> None:
        self.switch.history, self.current = history, False
        self.line = Line(lambda: self.history.server.client)

    def extended(self, entries: Sequence[Entry]) -> None:
        """Know what was followed."""
        ids = {entry.id for entry in entries}
        self._know([event for event in self.history.events if event.id in ids])

    async def settled(self) -> None:
        """Deliver nothing, so all is delivered."""

    def restarted(self, base: Cursor) -> None:
        """Hear that the window began anew."""
        assert base != ORIGIN
        self._restarted = True

    def _know(self, events: Sequence[Event]) -> None:
        for event in events:
            event.known_by.add(self)

    async def touch(self) -> None:
        await self.follower.touch()

    async def tick(self) -> None:
        """Follow to the end of the log."""
        position = None
        while position != self.follower.window.position:
            position = self.follower.window.position
            await self.follower.read_on(cast("Redis", self.line), None)
        newest = [entry.id for entry, _ in await self.follower.log.backwards(None, 1)]
        self.current = newest == [self.follower.window.position]
        if self._restarted:
            self._restarted = False
            self._know([event for event in self.history.events if event.id <= self.follower.window.position])


@dataclass(eq=False)
class Client:
    """What one client was given: its cursor, its record, and when it was last told that something is missing."""

    interest: Interest
    begun: int = -1
    cursor: Cursor | None = None
    """`None` before its first answer."""
    earliest: bool = False
    received: list[tuple[Cursor, int]] = field(default_factory=list)
    told: int = -1

    def sees(self, event: Event) -> bool:
        scopes = self.interest.scopes
        matches = event.scope in scopes or any(event.scope.startswith(one) for one in self.interest.prefixes)
        return event.channel == self.interest.channel and matches


class World:
    """Two servers, some gateways, some clients; every operation is a step."""

    def __init__(self, servers: Sequence[SimulatedServer], limits: Limits, gateways: int = 3) -> None:
        self.limits = limits
        self.step = 0
        self.truncations = 0
        self.restarts = 0
        self._numbers = 0
        self.drafts: dict[str, Draft] = {}
        for server in servers:
            server.reset(NOON_MS)
        self.histories = [History(server) for server in servers]
        self.gateways = [Gateway(self.histories[0], limits) for _ in range(gateways)]
        self.clients: list[Client] = []
        self.snapshots: list[Snapshot] = []
        self.events: list[Event] = []

    def gateway(self, at: int) -> Gateway:
        return self.gateways[at % len(self.gateways)]

    def history(self, at: int) -> History:
        return self.histories[at % len(self.histories)]

    # What is published

    def draft(self, place: int, key: str = "") -> Draft:
        """Make an event, another one each time but for the same key."""
        if key in self.drafts:
            return self.drafts[key]
        self._numbers += 1
        channel, scope = PLACES[place]
        stored = stored_envelope("model.happened", scope, b"%d" % self._numbers)
        draft = Draft(channel, scope, stored, key)
        if key:
            self.drafts[key] = draft
        return draft

    async def publish(self, gateway: Gateway, drafts: Sequence[Draft]) -> None:
        """Publish, and get the answer."""
        await self._append(gateway.follower.log, gateway.history, drafts, {gateway})

    async def publish_unheard(self, history: History, drafts: Sequence[Draft]) -> None:
        """Publish by somebody who is gone before the answer."""
        await self._append(Log(history.server.client, self.limits), history, drafts, set())

    async def _append(self, log: Log, history: History, drafts: Sequence[Draft], known: set[Gateway]) -> None:
        answers = await log.append(drafts, "publisher")
        for draft, answer in zip(drafts, answers, strict=True):
            number = _number(draft.stored)
            before = [event for event in history.events if event.number == number]
            if answer.duplicate:
                assert [event.id for event in before] == [answer.id], "a duplicate is the first one's id"
                continue
            assert not before, "one key is one event"
            assert all(event.id < answer.id for event in history.events), "ids increase"
            event = Event(answer.id, number, draft.channel, draft.scope, self.step, set(known))
            history.events.append(event)
            self.events.append(event)

    # What becomes of servers

    def take_copy(self, history: History) -> None:
        self.snapshots.append(Snapshot(history.server.copy(), tuple(history.events)))

    def lay(self, snapshot: Snapshot, history: History) -> None:
        history.server.lay(snapshot.copy)
        history.events = list(snapshot.events)
        self._stale(history)

    def flush(self, history: History) -> None:
        history.server.flush()
        history.events = []
        self._stale(history)

    async def restart(self, history: History) -> None:
        self.restarts += 1
        await history.server.restart()
        self._stale(history)

    def _stale(self, history: History) -> None:
        for gateway in self.gateways:
            if gateway.history is history:
                gateway.current = False

    def pass_time(self, ms: int) -> None:
        """Let time pass, on every server's clock; nobody touches the log meanwhile."""
        for history in self.histories:
            history.server.set_clock(history.server.now_ms + ms)

    async def live_on(self, ms: int) -> None:
        """Let time pass, and somebody touch each log at least once in a tenth of the retention."""
        while ms > 0:
            self.pass_time(min(ms, RETENTION_MS // 10))
            ms -= RETENTION_MS // 10
            for history in self.histories:
                await self.touch(history)

    async def touch(self, history: History) -> None:
        """Touch a log as a gateway does that no client comes to."""
        await Log(history.server.client, self.limits).touch()

    def replace_gateway(self, at: int, retention_ms: int = RETENTION_MS) -> None:
        """Start a gateway in another's place, configured anew: what only that one knew is known no more."""
        old = self.gateways[at]
        limits = replace(self.limits, retention_ms=retention_ms)
        self.gateways[at] = Gateway(old.history, limits)
        for event in self.events:
            event.known_by.discard(old)

    # What clients do

    def join(self, seen: Interest, *, earliest: bool) -> Client:
        client = Client(seen, earliest=earliest)
        self.clients.append(client)
        return client

    async def visit(self, client: Client, gateway: Gateway, *, limit: int = 3, parts: int = _ENOUGH) -> None:
        """Come to a gateway with the last cursor, read up to so many parts, and keep the cursor last given."""
        if not gateway.follower.filled:
            return
        if client.cursor is None:
            client.begun = self.step
        start = Start(client.cursor, earliest=client.earliest and client.cursor is None)
        reader = Reader(gateway.follower, gateway.replays, client.interest, start)
        for _ in range(parts):
            before = reader.cursor
            part = reader.take(limit) or await reader.fetch(limit, wait=False)
            self._receive(client, gateway, part, reader)
            if not part.more and reader.cursor in (before, gateway.follower.window.position):
                break
        else:
            assert parts < _ENOUGH, "a reader comes to the end"

    def _receive(self, client: Client, gateway: Gateway, part: Part, reader: Reader) -> None:
        events = [(entry.id, _number(entry.stored)) for entry in part.entries]
        if part.truncation:
            client.told = self.step
            self.truncations += 1
        elif gateway.current:
            self._is_exact(client, gateway, events, client.cursor or reader.started, reader.cursor)
        assert all(a < b for a, b in pairwise([client.cursor or ORIGIN, *[id_ for id_, _ in events]])), "once, in order"
        client.received.extend(events)
        client.cursor = reader.cursor

    def _is_exact(
        self, client: Client, gateway: Gateway, events: list[tuple[Cursor, int]], after: Cursor, upto: Cursor
    ) -> None:
        there = [event for event in gateway.history.events if after < event.id <= upto and client.sees(event)]
        assert events == [(event.id, event.number) for event in there], "exactly what is visible"

    # What must be true

    async def settle(self, history: History) -> None:
        """Let everybody come to one server, and look what each client is still owed."""
        self.step += 1
        for gateway in self.gateways:
            gateway.move(history)
        for gateway in (*self.gateways, *self.gateways):
            await gateway.touch()
            await gateway.tick()
        for gateway in self.gateways:
            assert gateway.current, "a follower comes to the end"
        for at, client in enumerate(self.clients):
            await self.visit(client, self.gateways[at % len(self.gateways)])
            assert not self.owed(client), "never a silent gap"

    def owed(self, client: Client) -> list[Event]:
        """Return what a client should have seen or been told of, and was not."""
        since, received = max(client.begun, client.told), set(client.received)
        due = [event for event in self.events if event.known_by and event.step > since and client.sees(event)]
        return [event for event in due if client.begun >= 0 and (event.id, event.number) not in received]


def _number(stored: bytes) -> int:
    return int(stored[stored.rindex(b":") + 1 : -1])
