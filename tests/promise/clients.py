"""Clients of the protocol, as others would write them: a cursor, a way to come, and a diary of what they were given.

A client knows nothing of the model and nothing of the service but its addresses. It keeps the last cursor that it was
given (an event's id, a heartbeat's, an answer's) and presents it wherever it comes next.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx2

from tests.promise.lineage import Id, read_id
from tests.promise.model import Step, Stretch, Told
from tests.support.stream import EventStream
from tests.support.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.promise.model import Sight
    from tests.support.stream import Message

EVENTS = "/api/v1/events"
_RECONNECT_S = 0.02
_POLL_S = 0.03
_HOLD_MS = 250
_LIMITS = ("2", "7", "500")
_SDK = ("sse", "long-poll", "polling")
_NEGOTIATES = 0.5
"""How often a client that is told to move gets a new ticket for it."""
_SMALL_BUFFER = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 32768),)
"""Small, so that a client that does not read is noticed soon."""


async def ended(task: asyncio.Task[None]) -> None:
    """End a task, however often it has to be told (what it waits in may swallow a cancellation)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


class Unavailable(Exception):
    """The service asked to come back later."""


class Moved(Exception):
    """The policy has the client on another transport."""


@dataclass(frozen=True)
class Address:
    """Where a client goes: a gateway's address, and the name of its present incarnation."""

    url: str
    name: str


@dataclass
class Client:
    """One client and its diary."""

    name: str
    sight: Sight
    """What it sees now: what it holds, narrowed by what it asked for."""
    token: str
    """Its JWT; empty for the public."""
    where: Callable[[int], Address]
    heard: Callable[[Id, str], None]
    """Told of every event, with the gateway it came from."""
    by_ticket: bool = False
    dice: random.Random = field(default_factory=random.Random)
    """What it chooses by."""
    query: dict[str, str] = field(default_factory=dict)
    """`scopes` and `events`, where it narrows."""
    transport: str = "sse"
    gateway: int = 0
    cursor: str | None = None
    way: list[Stretch] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    rounds: int = 0
    """How many answers that end by themselves came in full; the public's cursor shows no more."""
    requested_at: float = 0
    answered_from: float = 0
    """When the last request was made whose answer was complete and had no more to come; by `time.monotonic`."""
    holds: frozenset[str] = frozenset()
    _session: httpx2.AsyncClient | None = None
    _ticket: str | None = None
    _task: asyncio.Task[None] | None = None
    _reading: asyncio.Event = field(default_factory=asyncio.Event)
    _address: Address = field(default_factory=lambda: Address("", ""))
    _sent_to: str | None = None
    """Where the policy has sent it, and it has not gone yet."""
    _leaving: asyncio.Timeout | None = None
    """When it leaves the stream that it is on."""

    def __post_init__(self) -> None:
        self.holds = self.sight.scopes

    # What is done to it

    @property
    def is_attached(self) -> bool:
        return self._task is not None

    def attach(self, transport: str, gateway: int) -> None:
        """Come, or come back, with the last cursor."""
        assert self._task is None
        self.transport, self.gateway = transport, gateway
        self._reading.set()
        self._count(f"attach {transport}")
        self._task = asyncio.create_task(self._live())

    async def go(self, transport: str, gateway: int) -> None:
        """Go from wherever it is to a transport and a gateway."""
        await self.drop()
        self.attach(transport, gateway)

    async def drop(self) -> None:
        """Go away without a word, whatever is on the way."""
        task, self._task = self._task, None
        if task is not None:
            await ended(task)
            if not task.cancelled() and task.exception() is not None:
                self.faults.append(f"{self.name}: {task.exception()!r}")

    def stall(self) -> None:
        """Read nothing more of what comes."""
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    @property
    def reads(self) -> bool:
        return self._reading.is_set()

    def narrow(self, types: tuple[str, ...] | None, scopes: int) -> None:
        """Ask for some of what it holds: only these types, only so many scopes (0: all)."""
        asked = sorted(self.holds)[:scopes] or sorted(self.holds)
        self.sight = replace(self.sight, scopes=frozenset(asked), types=types)
        self.query = {} if not scopes else {"scopes": ",".join(asked)}
        if types is not None:
            self.query["events"] = ",".join(types)

    async def close(self) -> None:
        await self.drop()
        if self._session is not None:
            await self._session.aclose()

    # Its life

    async def _live(self) -> None:
        if self._session is None:
            transport = httpx2.AsyncHTTPTransport(verify=False, socket_options=_SMALL_BUFFER)
            self._session = httpx2.AsyncClient(transport=transport, timeout=PATIENCE_S, trust_env=False)
        while True:
            try:
                await self._attend()
            except httpx2.ReadTimeout:
                self.faults.append(f"{self.name} on {self.transport}: no answer in {PATIENCE_S} s at {self.cursor}")
                raise
            except (httpx2.TransportError, Unavailable, Moved) as error:
                self._count(type(error).__name__)
                self._obey()
            except AssertionError as error:
                self.faults.append(f"{self.name} on {self.transport}: {error}")
                raise
            await asyncio.sleep(_RECONNECT_S)

    async def _attend(self) -> None:
        self._sent_to = None
        self._address = self.where(self.gateway)
        self._begin(read_id(self.cursor) if self.cursor else None)
        ways = {
            "sse": self._sse, "eventsource": self._eventsource, "long-poll": self._long_poll,
            "polling": self._polling, "history": self._history, "public": self._public,
        }  # fmt: skip
        await ways[self.transport]()

    async def _sse(self) -> None:
        """Take a stream as an SDK does: cursor in the query, problems welcome; and leave when it is told to."""
        accept = {"Accept": "text/event-stream, application/problem+json"}
        try:
            async with asyncio.timeout(None) as self._leaving:
                await self._stream(accept, self._position())
        except TimeoutError:
            raise Moved from None
        finally:
            self._leaving = None

    async def _eventsource(self) -> None:
        """Take a stream as a browser does: cursor in a header, nothing but 200 is understood."""
        headers = {"Accept": "text/event-stream"}
        if self.cursor:
            headers["Last-Event-ID"] = self.cursor
        await self._stream(headers, {})

    async def _stream(self, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        assert self._session is not None
        headers = {**headers, **await self._credential()}
        request = self._session.stream("GET", self._url("stream"), params=self._query(query), headers=headers)
        async with request as answer:
            if answer.status_code != 200:
                await answer.aread()
                self._refused(answer)
            parser = EventStream(self.cursor or "")
            async for text in answer.aiter_text():
                await self._reading.wait()
                for message in parser.feed(text):
                    self._take_message(message)
                if parser.last_event_id:
                    self._move(read_id(parser.last_event_id))
        self._count("end of stream")

    def _take_message(self, message: Message) -> None:
        envelope = json.loads(message.data)
        assert envelope["event"] == message.event, (envelope, message)
        if "id" in envelope:
            assert envelope["id"] == message.last_event_id, (envelope, message)
            self._take(envelope)
        else:
            self._take_control(envelope)
            carried = envelope.get("data", {}).get("cursor", message.last_event_id)
            assert carried == message.last_event_id, (envelope, message)
        if message.last_event_id:
            self._move(read_id(message.last_event_id))

    async def _long_poll(self) -> None:
        while True:
            query = {**self._position(), "hold_ms": str(_HOLD_MS), "limit": self.dice.choice(_LIMITS)}
            await self._body(await self._get("long-poll", query))

    async def _polling(self) -> None:
        while True:
            tag = {"If-None-Match": f'"{self.cursor}"'} if self.cursor and self.dice.random() < 0.7 else {}
            answer = await self._get("poll", {**self._position(), "limit": self.dice.choice(_LIMITS)}, tag)
            if answer.status_code == 304:
                assert answer.headers["etag"] == f'W/"{self.cursor}"'
                self._count("304")
                self._rounded()
            else:
                body = await self._body(answer)
                assert answer.headers["etag"] == f'W/"{body["cursor"]}"'
            await asyncio.sleep(_POLL_S)

    async def _public(self) -> None:
        """Poll for what everyone may see; without credentials, and told of truncations by a status."""
        while True:
            answer = await self._get("poll", {**self._position(), "audience": "public"})
            if answer.status_code == 410:
                self._gone(answer)
                self.cursor = None
                self._begin(None, anew=True)
            else:
                body = await self._body(answer)
                assert body["control"] == [], body
            await asyncio.sleep(_POLL_S)

    async def _history(self) -> None:
        """Read on in history."""
        while True:
            position = {} if self.cursor is None else {"since_id": self.cursor}
            answer = await self._get("history", {**position, "limit": self.dice.choice(_LIMITS)})
            if answer.status_code == 410:
                floor = self._gone(answer)
                self.cursor = str(floor)
                self._begin(floor, anew=True)
                continue
            body = answer.json()
            for envelope in body["events"]:
                self._take(envelope)
            self._move(read_id(body["cursor"]))
            if not body["more"]:
                self._rounded()
                await asyncio.sleep(_POLL_S)

    # Answers

    async def _get(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        assert self._session is not None
        await self._reading.wait()
        self.requested_at = time.monotonic()
        credential = {} if self.transport == "public" else await self._credential()
        answer = await self._session.get(
            self._url(path), params=self._query(query), headers={**credential, **(headers or {})}
        )
        await self._reading.wait()
        if answer.status_code not in {200, 304, 410}:
            self._refused(answer)
        return answer

    async def _body(self, answer: httpx2.Response) -> dict[str, Any]:
        body: dict[str, Any] = answer.json()
        for envelope in body["control"]:
            self._take_control(envelope)
        for envelope in body["events"]:
            self._take(envelope)
        self._move(read_id(body["cursor"]))
        if "ticket" in body:
            self._ticket = body["ticket"]
            self._count("renewed")
        if not body["more"]:
            self._rounded()
        if self._sent_to is not None:
            raise Moved
        return body

    def _rounded(self) -> None:
        self.rounds += 1
        self.answered_from = self.requested_at

    def _refused(self, answer: httpx2.Response) -> None:
        problem = answer.json()
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            raise Unavailable(problem["code"])
        if answer.status_code == 401 and self.by_ticket:
            self._ticket = None
            raise Unavailable(problem["code"])
        if answer.status_code == 409:
            assert problem["code"] == "transport-not-offered", problem
            self._ticket = None
            self._told_to_move(problem["decision"])
            raise Moved
        raise AssertionError((answer.status_code, problem))

    def _gone(self, answer: httpx2.Response) -> Id:
        """Take a 410: the end of a stretch."""
        problem = answer.json()
        assert problem["code"] == "history-truncated", problem
        assert self.cursor is not None
        floor = read_id(problem["floor"])
        self._end(Told(read_id(self.cursor), floor, None, time.time()))
        return floor

    # The diary

    def _begin(self, start: Id | None, *, anew: bool = False) -> None:
        self.way.append(Stretch(self.sight, start, anew))

    def _end(self, told: Told) -> None:
        self.way[-1].told = told
        self._count("truncated")

    def _take(self, envelope: Mapping[str, Any]) -> None:
        id_, number = read_id(envelope["id"]), envelope["data"]["n"]
        assert list(envelope) == ["id", "time", "event", "scope", "version", "data"], envelope
        self.way[-1].received.append((id_, number))
        self.heard(id_, self._address.name)
        self._count("event")

    def _take_control(self, envelope: Mapping[str, Any]) -> None:
        event, data = envelope["event"], envelope.get("data", {})
        self._count(event)
        if event == "history.truncated":
            cursor = read_id(data["cursor"])
            self._end(Told(read_id(data["requested"]), read_id(data["floor"]), cursor, time.time()))
            self.cursor = data["cursor"]
            self._begin(cursor)
        elif event == "connection.established":
            position = read_id(data["cursor"])
            stretch = self.way[-1]
            if stretch.start is None:
                stretch.start = position
            assert stretch.start == position, f"asked for {stretch.start}, established at {position}"
        elif event == "transport.changed":
            self._told_to_move(data["decision"])
            if self._leaving is not None and self._sent_to is not None:
                moment_s = self.dice.uniform(0, data["within_ms"]) / 1000
                self._leaving.reschedule(asyncio.get_running_loop().time() + moment_s)
        elif event == "connection.deferred":
            assert self.transport == "eventsource", "an SDK is told by a status"
        elif event != "heartbeat.sent":
            raise AssertionError(envelope)

    def _told_to_move(self, decision: Mapping[str, Any]) -> None:
        """Note where to go: who is a browser or the public can go nowhere, and may be told so."""
        offered = [offer["name"] for offer in decision["transports"]]
        if self.transport in _SDK and offered:
            self._sent_to = offered[0]
            if self.dice.random() < _NEGOTIATES:
                self._ticket = None

    def _obey(self) -> None:
        if self._sent_to is not None:
            self._count(f"moved to {self._sent_to}")
            self.transport, self._sent_to = self._sent_to, None

    def _move(self, cursor: Id) -> None:
        """Take down a cursor that was given."""
        stretch = self.way[-1]
        if stretch.start is None:
            received = stretch.received
            stretch.start = Id(received[0][0].ms, received[0][0].seq - 1) if received else cursor
        if not stretch.steps or stretch.steps[-1].cursor != cursor:
            stretch.steps.append(Step(cursor, time.time(), self._address.name))
        self.cursor = str(cursor)

    # Requests

    def _url(self, path: str) -> str:
        return f"{self._address.url}{EVENTS}/{path}"

    def _query(self, query: Mapping[str, str]) -> dict[str, str]:
        ticket = {"ticket": self._ticket} if self._ticket and self.transport != "public" else {}
        return {**self.query, **query, **ticket}

    def _position(self) -> dict[str, str]:
        return {} if self.cursor is None else {"cursor": self.cursor}

    async def _credential(self) -> dict[str, str]:
        """Return the header that says who it is; with a ticket there is none, and the query has it."""
        bearer = {"Authorization": f"Bearer {self.token}"}
        if not self.by_ticket or self.transport == "history":
            return bearer
        if self._ticket is None:
            assert self._session is not None
            body = {} if self.cursor is None else {"cursor": self.cursor}
            answer = await self._session.post(f"{self._address.url}{EVENTS}/negotiate", json=body, headers=bearer)
            if answer.status_code != 200:
                self._refused(answer)
            found = answer.json()
            self._ticket = found["ticket"]
            if self.cursor is None:
                self.cursor = found["cursor"]
                self._begin(read_id(found["cursor"]))
                raise Unavailable("now it has a position")
            assert found["cursor"] == self.cursor
        return {}

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
