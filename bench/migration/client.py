"""A client that obeys `transport.changed` as an SDK does, and remembers what it was given."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx2
import orjson

from bench.http import get, post
from bench.migration.line import Line

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS: Final = "/api/v1/events"
_ACCEPT: Final = "text/event-stream, application/problem+json"


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
        status, answer = await line.ask(post(f"{EVENTS}/negotiate", orjson.dumps(body), self.token))
        line.close()
        assert status == httpx2.codes.OK, answer
        agreed = orjson.loads(answer)
        self._ticket, self._cursor = agreed["ticket"], agreed["cursor"]
        self.on = agreed["decision"]["transports"][0]["name"]

    def _request(self, path: str) -> bytes:
        return get(f"{EVENTS}/{path}?ticket={self._ticket}&cursor={self._cursor}", accept=_ACCEPT)

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
