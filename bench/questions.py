"""The questions: what one delivery, poll, turnaround, publish and idle connection cost."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from bench.load import open_streams, run_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.process import Server

STREAMS = 1_000
_EVENTS = 60
_EVERY_S = 0.05
_SETTLE_S = 1.0
_POLLS = 12_000
_POLLERS = 32
_TURNS = 12
_PUBLISHES = 6_000
_PUBLISHERS = 64
_BATCHES = 160
_BATCH = 100
_DATA = {"text": "x" * 120}


class Sample(NamedTuple):
    """What one round of one question gave: server CPU in µs per unit, and units per second."""

    cpu_us: float
    per_s: float


class Meter:
    """The server's CPU and the clock, from here to `sample`."""

    def __init__(self, server: Server) -> None:
        """Begin."""
        self._server = server
        self._cpu_s = server.cpu_s()
        self._began_s = time.perf_counter()

    def sample(self, units: int) -> Sample:
        """Return the cost of so many units."""
        cpu_s, passed_s = self._server.cpu_s() - self._cpu_s, time.perf_counter() - self._began_s
        return Sample(cpu_s * 1e6 / units, units / passed_s)


class Target(NamedTuple):
    """Where and how to ask a server."""

    server: Server
    stream: bytes
    poll: bytes
    publish: Callable[[int], bytes]
    """Makes a request that publishes a number of events; the peer takes one at a time."""


async def deliveries(target: Target) -> tuple[Sample, float]:
    """Send one event at a time to all streams; also return what one idle stream holds, in kB."""
    before_kb = target.server.memory_kb()
    clients = await open_streams(target.server.port, target.stream, STREAMS)
    await asyncio.sleep(_SETTLE_S)
    held_kb = (target.server.memory_kb() - before_kb) / STREAMS
    meter = Meter(target.server)
    await _publish_paced(target)
    await _until(lambda: all(len(client.ids) >= _EVENTS for client in clients))
    sample = meter.sample(_EVENTS * STREAMS)
    first = clients[0].ids
    if len(set(first)) != _EVENTS or any(client.ids != first for client in clients):
        raise RuntimeError("an event was missing, repeated or out of order")
    for client in clients:
        client.transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(_SETTLE_S)
    return sample, held_kb


async def polls(target: Target) -> Sample:
    """Poll with nothing new, over and over."""
    share = _POLLS // _POLLERS
    meter = Meter(target.server)
    clients = await run_requests(target.server.port, [_times(repeat(target.poll, share)) for _ in range(_POLLERS)])
    return meter.sample(sum(client.answers for client in clients))


async def turnarounds(target: Target, long_poll: Callable[[str], bytes], cursor: str) -> Sample:
    """Let many wait; answer all of them with one event; let all come back at the new cursor."""
    waiting = _Waiting(STREAMS)
    sources = [_Turn(long_poll, cursor, waiting).next for _ in range(STREAMS)]
    async with asyncio.TaskGroup() as group:
        group.create_task(run_requests(target.server.port, sources))
        await asyncio.sleep(_SETTLE_S)
        meter = Meter(target.server)
        for turn in range(_TURNS):
            waiting.begin(last=turn == _TURNS - 1)
            await run_requests(target.server.port, [_times(iter([target.publish(1)]))])
            await waiting.all_answered.wait()
            await asyncio.sleep(_EVERY_S)
        return meter.sample(_TURNS * STREAMS)


async def publishes(target: Target) -> Sample:
    """Publish one event a request, over many connections."""
    return await _publish(target, 1, _PUBLISHES, _PUBLISHERS)


async def batches(target: Target) -> Sample:
    """Publish many events a request."""
    return await _publish(target, _BATCH, _BATCHES, 8)


async def _publish(target: Target, size: int, requests: int, connections: int) -> Sample:
    request = target.publish(size)
    sources = [_times(repeat(request, requests // connections)) for _ in range(connections)]
    meter = Meter(target.server)
    clients = await run_requests(target.server.port, sources)
    return meter.sample(sum(client.answers for client in clients) * size)


async def _publish_paced(target: Target) -> None:
    for _ in range(_EVENTS):
        await run_requests(target.server.port, [_times(iter([target.publish(1)]))])
        await asyncio.sleep(_EVERY_S)


class _Waiting:
    """How many of the waiting have been answered in this turn."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.all_answered = asyncio.Event()
        self.last = False
        self._left = count

    def begin(self, *, last: bool) -> None:
        """Begin a turn."""
        self.last = last
        self._left = self._count
        self.all_answered.clear()

    def answered(self) -> None:
        """Count one."""
        self._left -= 1
        if self._left == 0:
            self.all_answered.set()


class _Turn:
    """One long-poll client: comes back at the cursor that it was given."""

    def __init__(self, long_poll: Callable[[str], bytes], cursor: str, waiting: _Waiting) -> None:
        self._long_poll = long_poll
        self._cursor = cursor
        self._waiting = waiting

    def next(self, body: bytes) -> bytes | None:
        """Read an answer and ask again."""
        if body:
            answer = json.loads(body)
            if len(answer["events"]) != 1:
                raise RuntimeError(f"{len(answer['events'])} events in one turn")
            self._cursor = answer["cursor"]
            last = self._waiting.last
            self._waiting.answered()
            if last:
                return None
        return self._long_poll(self._cursor)


def _times(requests: Iterator[bytes]) -> Callable[[bytes], bytes | None]:
    return lambda _: next(requests, None)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - asked a few times, where an event would be set a million times
            await asyncio.sleep(0.01)


def publication(count: int) -> bytes:
    """Write the body that publishes a number of events of about 200 bytes."""
    event = {"event": "bench.ticked", "scope": "broadcast", "data": _DATA}
    return json.dumps(event if count == 1 else {"events": [event] * count}).encode()


def frame() -> bytes:
    """Write the frame that the peer sends, of the same form and size as ours; the id is put in by the caller."""
    envelope = {"event": "bench.ticked", "scope": "broadcast", "version": 1, "data": _DATA}
    return b"\nid: %b\nevent: bench.ticked\ndata: " + json.dumps(envelope).encode() + b"\n\n"
