"""Flip 5,000 live clients from streams to long-polls and back while events flow: ``python -m bench.migration``.

They obey `transport.changed` as an SDK does: each leaves at a random moment within the time, every fourth one with a
new ticket. What each was given is compared with what was published: nothing may be missed, repeated or out of order.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx2
import orjson
import uvloop
from rich.progress import Progress

from bench.gateway import gateway, token
from bench.http import get, post
from bench.machine import pin_load, raise_file_limit, room_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_CLIENTS: Final = 5_000
_FEWEST: Final = 100
_FLIPS: Final = (("long-poll", "sse"), ("sse", "long-poll"))
_WITHIN_S: Final = 20.0
_EVENT_EVERY_S: Final = 4.0
_NEGOTIATES: Final = 4
_AT_ONCE: Final = 64
_PATIENCE_S: Final = 120.0
_EVENTS: Final = "/api/v1/events"
_ACCEPT: Final = "text/event-stream, application/problem+json"
_SETTINGS: Final = {"AUTH__TICKET_TTL": "1h", "POLICY__MOVE_WITHIN": f"{int(_WITHIN_S)}s"}


class Line(asyncio.Protocol):
    """One connection: whole answers by their length, and a stream block by block."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        """Give the blocks of a stream to `heard`."""
        self.ended = asyncio.Event()
        self._heard = heard
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._streams = False
        self._buffer = b""
        self._text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """End; whoever waits for an answer is told."""
        self.ended.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("the server closed the connection"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and body of its answer, or the status of a stream that begins."""
        if self.ended.is_set():
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        return await self._answer

    def close(self) -> None:
        """Leave at once."""
        self.transport.abort()  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._buffer += data
        if not self._streams:
            self._read_answer()
        if self._streams:
            self._read_chunks()

    def _read_answer(self) -> None:
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._answer is None or self._answer.done():  # nobody waits for it any more
            return
        fields = head.lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in fields:
            self._streams, self._buffer = True, body
            self._answer.set_result((status, b""))
            return
        length = int(fields.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length:
            self._buffer = b""
            self._answer.set_result((status, body))

    def _read_chunks(self) -> None:
        while True:
            size, separator, rest = self._buffer.partition(b"\r\n")
            if not separator or len(rest) < int(size, 16) + 2:
                break
            self._text += rest[: int(size, 16)]
            self._buffer = rest[int(size, 16) + 2 :]
        *blocks, self._text = self._text.split(b"\n\n")
        for block in blocks:
            self._heard(block)


@dataclass(eq=False)
class Client:
    """One client: where it is, and every id that it was given."""

    port: int
    token: str
    negotiates: bool
    """Whether it gets a new ticket before it moves."""
    ids: list[str] = field(default_factory=list)
    on: str = "sse"
    moved_at: float = 0
    refusals: int = 0
    _ticket: str = ""
    _cursor: str = ""
    _leave: asyncio.Event = field(default_factory=asyncio.Event)
    _going: asyncio.TimerHandle | None = None

    async def begin(self) -> None:
        """Negotiate for the first time."""
        await self._negotiate()

    async def live(self) -> None:
        """Attach, obey, come back, until cancelled."""
        while True:
            if self._leave.is_set() and self.negotiates:
                await self._negotiate()
            self._leave.clear()
            line = await self._connect()
            try:
                await (self._stream(line) if self.on == "sse" else self._long_poll(line))
            except ConnectionError:
                self.refusals += 1
            finally:
                line.close()

    async def _connect(self) -> Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: Line(self._hear), "127.0.0.1", self.port)
        return line

    async def _negotiate(self) -> None:
        line = await self._connect()
        body = {"transports": ["sse", "long-poll"], **({"cursor": self._cursor} if self._cursor else {})}
        status, answer = await line.ask(post(f"{_EVENTS}/negotiate", orjson.dumps(body), self.token))
        line.close()
        assert status == httpx2.codes.OK, answer
        agreed = orjson.loads(answer)
        self._ticket, self._cursor = agreed["ticket"], agreed["cursor"]
        self.on = agreed["decision"]["transports"][0]["name"]

    def _request(self, path: str) -> bytes:
        return get(f"{_EVENTS}/{path}?ticket={self._ticket}&cursor={self._cursor}", accept=_ACCEPT)

    async def _stream(self, line: Line) -> None:
        if await self._take_refusal(*await line.ask(self._request("stream"))):
            return
        self.moved_at = time.monotonic()
        waiting = [asyncio.ensure_future(one.wait()) for one in (self._leave, line.ended)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    async def _long_poll(self, line: Line) -> None:
        self.moved_at = time.monotonic()
        leaving = asyncio.ensure_future(self._leave.wait())
        asked: list[asyncio.Task[bool]] = []
        try:
            while not self._leave.is_set():
                asked = [asyncio.ensure_future(self._asked(line))]
                await asyncio.wait((*asked, leaving), return_when=asyncio.FIRST_COMPLETED)
                if asked[0].done() and not asked[0].result():
                    return
        finally:
            for one in (*asked, leaving):
                one.cancel()

    async def _asked(self, line: Line) -> bool:
        """Ask once; tell whether to ask again."""
        status, body = await line.ask(self._request("long-poll"))
        if await self._take_refusal(status, body):
            return False
        self._take(orjson.loads(body))
        return True

    def _take(self, body: Mapping[str, Any]) -> None:
        for said in body["control"]:
            self._told(said)
        self.ids += [event["id"] for event in body["events"]]
        self._cursor = body["cursor"]
        self._ticket = body.get("ticket", self._ticket)

    def _hear(self, block: bytes) -> None:
        """Take one block of a stream."""
        lines = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"id" in lines:
            self._cursor = lines[b"id"].decode()
        if lines.get(b"event") == b"bench.ticked":
            self.ids.append(self._cursor)
        elif lines.get(b"event") == b"transport.changed":
            self._told(orjson.loads(lines[b"data"]))

    def _told(self, said: Mapping[str, Any]) -> None:
        if said["event"] != "transport.changed":
            raise RuntimeError(f"unexpected: {said}")
        first = said["data"]["decision"]["transports"][0]["name"]
        moment_s = random.uniform(0, said["data"]["within_ms"] / 1000)
        if self._going is not None:
            self._going.cancel()
        self._going = asyncio.get_running_loop().call_later(moment_s, self._go, first)

    def _go(self, first: str) -> None:
        self.on = first
        self._leave.set()

    async def _take_refusal(self, status: int, body: bytes) -> bool:
        """Take a 409, and what it says to use; tell whether it was one."""
        if status == httpx2.codes.OK:
            return False
        assert status == httpx2.codes.CONFLICT, body
        self.refusals += 1
        await self._negotiate()
        return True


class Moved(NamedTuple):
    """How long after the change the clients had moved: half of them, 95 % and all; in seconds."""

    to: str
    half_s: float
    most_s: float
    all_s: float
    refusals: int


class Migration:
    """The clients of one gateway, its operator, and its publisher."""

    def __init__(self, port: int, count: int) -> None:
        """Have so many clients at a port."""
        self._http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S)
        self.clients = [Client(port, token(f"bench-{n}"), n % _NEGOTIATES == 0) for n in range(count)]
        self.published: list[str] = []
        self._living: list[asyncio.Task[None]] = []
        self._silent = False

    async def begin(self) -> None:
        """Let all of them negotiate and attach."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def begin(client: Client) -> None:
            async with slots:
                await client.begin()
                self._living.append(asyncio.create_task(client.live()))

        await asyncio.gather(*map(begin, self.clients))
        self._living.append(asyncio.create_task(self._publish()))
        await self._until(lambda: all(client.moved_at for client in self.clients))

    async def _publish(self) -> None:
        """Publish an event again and again, until the last flip is made."""
        headers = {"Authorization": f"Bearer {token('publisher', 'publisher')}"}
        event = {"event": "bench.ticked", "scope": "broadcast", "data": {"text": "x" * 120}}
        while not self._silent:
            answer = await self._http.post(_EVENTS, json=event, headers=headers)
            self.published += [one["id"] for one in answer.json()["events"]]
            await asyncio.sleep(_EVENT_EVERY_S)

    async def flip(self, preference: tuple[str, ...]) -> Moved:
        """Put another order in force, and wait until everybody has moved."""
        headers = {"Authorization": f"Bearer {token('operator', 'admin')}", "If-Match": "*"}
        policy = {"preference": preference, "move_within": f"{int(_WITHIN_S)}s"}
        refused = sum(client.refusals for client in self.clients)
        changed_at = time.monotonic()
        answer = await self._http.put("/api/v1/admin/policy", json={"policy": policy}, headers=headers)
        assert answer.status_code == httpx2.codes.OK, answer.text
        to = preference[0]

        def is_there(client: Client) -> bool:
            return client.on == to and client.moved_at > changed_at

        await self._until(lambda: all(map(is_there, self.clients)))
        moments = sorted(client.moved_at - changed_at for client in self.clients)
        refused = sum(client.refusals for client in self.clients) - refused
        return Moved(to, moments[len(moments) // 2], moments[len(moments) * 95 // 100], moments[-1], refused)

    async def end(self) -> tuple[int, int, int]:
        """Wait until everybody has the last event; return how many events were missed, repeated and out of order."""
        self._silent = True
        publishing = self._living.pop()
        await publishing
        last = self.published[-1]
        with suppress(TimeoutError):
            await self._until(lambda: all(client.ids and client.ids[-1] == last for client in self.clients))
        missed = sum(len(set(self.published) - set(client.ids)) for client in self.clients)
        repeated = sum(len(client.ids) - len(set(client.ids)) for client in self.clients)
        disordered = sum(client.ids != sorted(client.ids, key=_numbers) for client in self.clients)
        return missed, repeated, disordered

    async def stop(self) -> None:
        """Let all of them go."""
        for task in self._living:
            task.cancel()
        await asyncio.gather(*self._living, return_exceptions=True)
        await self._http.aclose()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; a client that has failed ends it all."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            for task in self._living:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                on = Counter(client.on for client in self.clients)
                raise TimeoutError(f"waited for {_PATIENCE_S:g} s; clients by transport: {dict(on)}")
            await asyncio.sleep(0.05)


def _numbers(id_: str) -> tuple[int, int]:
    ms, _, seq = id_.partition("-")
    return int(ms), int(seq)


def tell(moves: list[Moved], count: int, events: int, faults: tuple[int, int, int]) -> Iterator[str]:
    """Tell, as Markdown, how long each flip took, and what was wrong with what the clients were given."""
    yield f"{count:,} clients, {events} events, moved within {_WITHIN_S:g} s by a change of the policy."
    yield ""
    yield "| all to | half, s | 95 %, s | all, s | refused |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for one in moves:
        yield f"| {one.to} | {one.half_s:.1f} | {one.most_s:.1f} | {one.all_s:.1f} | {one.refusals} |"
    yield ""
    yield "* missed: {}, repeated: {}, clients with events out of order: {}".format(*faults)


async def flip_all(port: int, count: int) -> list[str]:
    """Flip so many clients of a gateway; return what is to be told."""
    migration = Migration(port, count)
    try:
        await migration.begin()
        with Progress(transient=True) as progress:
            flips = progress.track(_FLIPS, description="flips")
            moves = [await migration.flip(preference) for preference in flips]
        faults = await migration.end()
    finally:
        await migration.stop()
    told = list(tell(moves, count, len(migration.published), faults))
    verdict = "falls short" if any(faults) else "holds"
    return [*told, f"* nothing missed, repeated or out of order: {verdict}"]


def main() -> list[str]:
    """Flip them to and fro; return what is to be told."""
    raise_file_limit()
    count = room_for(_CLIENTS)
    if count < _FEWEST:
        raise SystemExit(f"this system allows {count} connections; {_FEWEST} are the least: raise `ulimit -Hn`")
    if count < _CLIENTS:
        print(f"note: {count:,} clients instead of {_CLIENTS:,}, for more files may not be open")
    pin_load()
    with gateway(_SETTINGS) as server:
        return uvloop.run(flip_all(server.port, count))


if __name__ == "__main__":
    print("\n".join(main()))
