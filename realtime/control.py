"""The control log: what operators did, and how every worker fares; a second, small log, followed like the channel.

It carries news, not state. What must last (policy revisions, revocations) is kept in keys of its own beside the log and
written in one transaction with the news of it; who hears the news, or has to begin anew, reads the state. A command
(end a session, drain a gateway) is carried out by whoever it concerns, also when it was missed for a while.

A question to the whole fleet is news too. Each worker puts its answer into a list that lives for seconds.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import structlog

from realtime.channel.durability import MEMORY
from realtime.channel.event import Cursor, Draft, Entry, interest, stored_envelope
from realtime.channel.follower import Follower
from realtime.channel.log import Limits, Log
from realtime.channel.window import Window
from realtime.delivery.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis.asyncio import Redis

    from realtime.channel.durability import Durability
    from realtime.channel.library import Command
    from realtime.delivery.wheel import Wheel

CHANNEL: Final = "control"
EVERYTHING: Final = interest(CHANNEL, ("topic:*",))

_MINUTE_MS: Final = 60_000
_LIMITS: Final = Limits(
    retention_ms=15 * _MINUTE_MS,
    scope_cap=100_000,
    topics_cap=200_000,
    max_bytes=64 * 1024 * 1024,
    idempotency_ms=_MINUTE_MS,
)
_WINDOW_EVENTS: Final = 50_000
_WINDOW_BYTES: Final = 16 * 1024 * 1024
_ANSWERS_LIVE_MS: Final = 10_000
_PATIENCE_S: Final = 1.0
BASE: Final = "{gapless:control}:"

_log = structlog.get_logger("gapless.control")

Data = dict[str, Any]


class Control:
    """The control log as one worker sees it: says, hears, asks, answers."""

    def __init__(
        self, redis: Redis, connect: Callable[[], Redis], wheel: Wheel, durability: Durability = MEMORY
    ) -> None:
        """Follow it on a connection of its own, made by `connect`, as those of questions are.

        The console's streams hang on `hub`. State that is written with the news of it, and lasts, is as durable as
        `durability` says.
        """
        self._connect = connect
        self.log = control_log(redis)
        self._durability = durability
        self.hub = Hub(wheel)
        self.follower = Follower(self.log, Window(_WINDOW_EVENTS, _WINDOW_BYTES), connect, self)
        self._handlers: dict[str, Callable[[Data], object]] = {}
        self._readers: dict[str, Callable[[Cursor, Data], None]] = {}
        self._refreshes: list[Callable[[], None]] = []
        self._handled: Cursor | None = None
        self._answering: set[asyncio.Task[Any]] = set()

    @property
    def is_away(self) -> bool:
        """Whether Redis does not answer: what operators do elsewhere is not heard here."""
        return self.follower.is_away

    # Who wants to hear

    def on(self, event: str, handler: Callable[[Data], object]) -> None:
        """Have a command carried out, once, or a question answered by what the handler returns (JSON)."""
        self._handlers[event] = handler

    def on_record(self, event: str, reader: Callable[[Cursor, Data], None]) -> None:
        """Have a kind of news read, also what came before we did."""
        self._readers[event] = reader

    def on_restart(self, refresh: Callable[[], None]) -> None:
        """Have state read anew whenever news may have been missed."""
        self._refreshes.append(refresh)

    # The follower calls these.

    def extended(self, entries: Sequence[Entry]) -> None:
        """Hear what was said, and pass it on to the console's streams."""
        is_history = not self.follower.filled
        for entry in entries:
            if not entry.is_marker:
                self._hear(entry, is_history=is_history)
        self.hub.extended(entries)
        self.hub.meter.forget_latencies()

    async def settled(self) -> None:
        """Wait until the console's streams have it too."""
        await self.hub.settled()

    def restarted(self, base: Cursor) -> None:
        """Read all state anew: something may have been missed."""
        for refresh in self._refreshes:
            refresh()
        self.hub.restarted(base)

    def _hear(self, entry: Entry, *, is_history: bool) -> None:
        is_new = self._handled is None or entry.id > self._handled
        self._handled = entry.id if self._handled is None else max(entry.id, self._handled)
        try:
            self._act_on(entry, is_command=is_new and not is_history)
        except Exception:  # noqa: BLE001 - what fails, or a newer gateway tells, must not keep us from hearing the next
            _log.exception("control event failed", event_type=entry.event)

    def _act_on(self, entry: Entry, *, is_command: bool) -> None:
        data: Data = msgspec.json.decode(b"{" + entry.stored)["data"]
        reader = self._readers.get(entry.event)
        if reader is not None:
            reader(entry.id, data)
        handler = self._handlers.get(entry.event)
        if handler is None or not is_command:
            return
        answer = handler(data)
        if "ask" in data:
            self._start(self._answer(str(data["ask"]), answer))

    # Saying, asking

    async def say(
        self, event: str, data: Mapping[str, object], *, beside: Sequence[Command] = (), lasts: bool = True
    ) -> None:
        """Tell every worker; with `beside`, write state in the same transaction, which is to last.

        Raises:
            LogUnavailable: Redis does not answer, or the state is not as durable as wanted: perhaps it was said.
        """
        scope = f"topic:{event.partition('.')[0]}"
        stored = stored_envelope(event, scope, msgspec.json.encode(data))
        durability = self._durability if beside and lasts else MEMORY
        await self.log.append([Draft(CHANNEL, scope, stored)], beside=beside, durability=durability)

    async def ask(self, event: str, data: Mapping[str, object], workers: int) -> list[Any]:
        """Say something and collect what that many workers answer, for a second at most.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        ask = uuid4().hex
        await self.say(event, {**data, "ask": ask})
        connection = self._connect()
        try:
            return await self._collect(connection, _answers_key(ask), workers)
        finally:
            await connection.aclose()

    async def _collect(self, connection: Redis, answers: str, count: int) -> list[Any]:
        """Take answers out of a list, up to so many. The reads wait, so they have a connection of their own."""
        found: list[Any] = []
        deadline = time.monotonic() + _PATIENCE_S
        while len(found) < count and (left_s := deadline - time.monotonic()) > 0:
            pop = ("BLMPOP", f"{left_s:.3f}", 1, answers, "LEFT", "COUNT", count)
            popped = await self.log.run(partial(connection.execute_command, *pop), waits=True)
            if popped is None:
                break
            found += map(msgspec.json.decode, popped[1])
        return found

    async def _answer(self, ask: str, answer: object) -> None:
        if isawaitable(answer):
            answer = await answer
        answers = _answers_key(ask)
        push = ("RPUSH", answers, msgspec.json.encode(answer))
        await self.log.transact((push, ("PEXPIRE", answers, _ANSWERS_LIVE_MS)))

    def _start(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task = asyncio.get_running_loop().create_task(work)
        self._answering.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.warning("an answer was lost", reason=str(task.exception()))


def control_log(redis: Redis) -> Log:
    """Make the control log itself, without anybody who hears it."""
    return Log(redis, _LIMITS, CHANNEL)


def key(name: str) -> str:
    """Name a key of state that is kept beside the control log, in the same slot of a cluster."""
    return f"{BASE}{name}"


def _answers_key(ask: str) -> str:
    return key(f"answers {ask}")
