"""What the tests of the live policy share: two gateways, their operator, and clients that obey or don't."""

from __future__ import annotations

import asyncio
import json
import random
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import httpx2

from tests.support.operator import Operator, Policy
from tests.support.stream import EventStream
from tests.support.waiting import PATIENCE_S, interlude, until
from tests.wire.support import BROWSER, SDK, parsed, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.support.gateway import Gateway, Stream

T = TypeVar("T")
WITHIN_MS = 400
SETTINGS = {
    "POLICY__MOVE_WITHIN": f"{WITHIN_MS}ms",
    "LONG_POLL__HOLD": "10s",
    "POLLING__INTERVAL": "100ms",
    "SSE__RETRY": "20ms",
    "SERVER__DRAIN": "600ms",
}
ORDER = ("sse", "long-poll", "polling")
SWITCHED_ON: Policy = {name: {"enabled": True} for name in ORDER}


class Pair(NamedTuple):
    """Two gateways on one log."""

    here: Gateway
    there: Gateway

    def operator(self) -> Operator:
        """An admin, at `here`: what is told must be obeyed at `there`."""
        return Operator.at(self.here)


async def restored(pair: Pair) -> None:
    """Put the policy in force that every test begins with."""
    admin = pair.operator()
    revision = await admin.prefer(*ORDER, transports=SWITCHED_ON, rules=[], rollouts=[], move_within=f"{WITHIN_MS}ms")
    for gateway in pair:
        await Operator.at(gateway).sees(revision)


def names(decision: Mapping[str, Any]) -> list[str]:
    """Return the transports of a decision, in order."""
    return [offer["name"] for offer in decision["transports"]]


@dataclass
class Negotiated:
    """A client with a ticket, that makes its requests one by one."""

    gateway: Gateway
    sub: str
    ticket: str
    session: str
    cursor: str
    decision: dict[str, Any]

    @classmethod
    async def at(cls, gateway: Gateway, sub: str = "", **body: Any) -> Negotiated:  # noqa: ANN401 - a negotiate body
        """Negotiate."""
        sub = sub or unique("user-")
        answer = await gateway.negotiate(sub, body)
        return cls(gateway, sub, answer["ticket"], answer["session"], answer["cursor"], answer["decision"])

    def query(self, **more: str) -> dict[str, str]:
        return {"ticket": self.ticket, "cursor": self.cursor, **more}

    async def get(self, path: str, **more: str) -> httpx2.Response:
        """Ask once; the cursor and the ticket of the answer are taken on."""
        answer = await self.gateway.http.get(f"/api/v1/events/{path}", params=self.query(**more))
        if answer.status_code == 200:
            body = answer.json()
            self.cursor, self.ticket = body["cursor"], body.get("ticket", self.ticket)
        return answer

    def waiting(self) -> asyncio.Task[httpx2.Response]:
        """Begin to wait in a long-poll."""
        return asyncio.create_task(self.get("long-poll"))

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """Open a stream as an SDK does, and read what it begins with."""
        async with self.gateway.stream(SDK, **self.query()) as stream:
            await stream.envelope("connection.established")
            yield stream

    async def held(self) -> None:
        """Wait until the gateway holds a request of ours."""

        async def is_held() -> bool:
            return any(one["state"] == "live" for one in await listed(self.gateway, self.session))

        await until(is_held)


def browser(gateway: Gateway, headers: Mapping[str, str]) -> AbstractAsyncContextManager[Stream]:
    """Open a stream as a stock ``EventSource`` does."""
    return gateway.stream({**headers, **BROWSER})


async def listed(gateway: Gateway, session: str) -> list[dict[str, Any]]:
    """Return what the fleet knows of a session."""
    found: list[dict[str, Any]] = (await Operator.at(gateway).get(f"/connections?session={session}"))["connections"]
    return found


def controls(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Return the control events of an answer."""
    found: list[dict[str, Any]] = answer.json()["control"]
    return found


@dataclass
class Sdk:
    """A client as an SDK is one: negotiates, attaches, obeys, comes back, and notes what it got."""

    gateway: Gateway
    sub: str = field(default_factory=lambda: unique("user-"))
    client: Mapping[str, str] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    """The ``data`` of its events."""
    transports: list[str] = field(default_factory=list)
    """What it was on, one after another."""
    told: list[dict[str, Any]] = field(default_factory=list)
    """The ``data`` of every ``transport.changed``."""
    refused: list[int] = field(default_factory=list)
    """Statuses that sent it back to negotiate."""
    cursor: str | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sdk]:
        """Live until the block ends."""
        task = asyncio.create_task(self._live())
        try:
            await until(lambda: self.cursor is not None or task.done())
            yield self
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def on(self) -> str:
        return self.transports[-1] if self.transports else ""

    async def _live(self) -> None:
        async with httpx2.AsyncClient(base_url=self.gateway.url, timeout=PATIENCE_S) as http:
            while True:
                body = {"client": dict(self.client), "cursor": self.cursor}
                answer = await http.post("/api/v1/events/negotiate", json=body, headers=self.gateway.bearer(self.sub))
                assert answer.status_code == 200, answer.text
                agreed = answer.json()
                self.cursor = agreed["cursor"]
                self.transports.append(agreed["decision"]["transports"][0]["name"])
                moving = asyncio.Event()
                await (self._stream if self.on == "sse" else self._ask)(http, agreed["ticket"], moving)

    async def _stream(self, http: httpx2.AsyncClient, ticket: str, moving: asyncio.Event) -> None:
        reading = asyncio.create_task(self._read(http, ticket, moving))
        moved = asyncio.create_task(moving.wait())
        try:
            await asyncio.wait((reading, moved), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                leaving = asyncio.create_task(interlude(random.uniform(0, self.told[-1]["within_ms"]) / 1000))
                await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
            if reading.done():
                reading.result()
        finally:
            for task in (reading, moved):
                task.cancel()
            await asyncio.gather(reading, moved, return_exceptions=True)

    async def _read(self, http: httpx2.AsyncClient, ticket: str, moving: asyncio.Event) -> None:
        query = {"ticket": ticket, "cursor": self.cursor or ""}
        async with http.stream("GET", "/api/v1/events/stream", params=query, headers=SDK) as answer:
            if answer.status_code != 200:
                self.refused.append(answer.status_code)
                return
            parser = EventStream(self.cursor or "")
            async for text in answer.aiter_text():
                for message in parser.feed(text):
                    self._take(json.loads(message.data), moving)
                self.cursor = parser.last_event_id

    async def _ask(self, http: httpx2.AsyncClient, ticket: str, moving: asyncio.Event) -> None:
        path = "long-poll" if self.on == "long-poll" else "poll"
        leave_at = float("inf")
        while time.monotonic() < leave_at:
            query = {"ticket": ticket, "cursor": self.cursor or ""}
            answer = await http.get(f"/api/v1/events/{path}", params=query)
            if answer.status_code != 200:
                self.refused.append(answer.status_code)
                return
            body = answer.json()
            for envelope in (*body["control"], *body["events"]):
                self._take(envelope, moving)
            self.cursor, ticket = body["cursor"], body.get("ticket", ticket)
            if moving.is_set() and leave_at == float("inf"):
                leave_at = time.monotonic() + random.uniform(0, self.told[-1]["within_ms"]) / 1000
                if path == "long-poll":
                    return  # a held request can't be left without losing its answer; this one has none
            await self._wait_as_told(body)

    @staticmethod
    async def _wait_as_told(body: Mapping[str, Any]) -> None:
        await interlude(body.get("next_poll_ms", 0) / 1000)

    def _take(self, envelope: Mapping[str, Any], moving: asyncio.Event) -> None:
        if "id" in envelope:
            assert parsed(envelope["id"]) > parsed(self.cursor or ""), "repeated, or out of order"
            self.numbers.append(envelope["data"])
            self.cursor = envelope["id"]
        elif envelope["event"] == "transport.changed":
            self.told.append(envelope["data"])
            moving.set()
