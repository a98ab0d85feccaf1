"""A client, whatever its transport: it attaches, reads, and comes back with the cursor that it was given last.

It carries its cursor as clients of its transport do: an ``EventSource`` repeats its URL and adds ``Last-Event-ID``,
others change the query. While it reads it checks what no client may ever see: an id that goes back, unless
``history.truncated`` said so.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from realtime.channel.event import Cursor, parse_cursor
from realtime.delivery.state import State
from tests.conformance.wire import Envelope, Heard, Wire, reader
from tests.support.waiting import interlude, patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx2

    from realtime.delivery.attachment import Attachment
    from tests.conformance.house import Place
    from tests.conformance.ways import Way

_UNAVAILABLE = 503
_RETRY_S = 0.05


class Refused(Exception):
    """A status other than 200."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(status, problem)
        self.status = status
        self.problem = problem


class Client:
    """One client of one way."""

    def __init__(
        self,
        gateway: Place,
        way: Way,
        channel: str,
        cursor: str | None = None,
        *,
        token: str | None = None,
        **query: str,
    ) -> None:
        """Begin at `cursor`, or now.

        `token` is sent unless it is empty; `query` has further parameters of each request.
        """
        self.gateway = gateway
        self.channel = channel
        self.way = way
        self.cursor = cursor
        self.events: list[Envelope] = []
        self.controls: list[Envelope] = []
        self.heard: list[Envelope] = []
        self.answers: list[Wire] = []
        self.sizes: list[int] = []
        """How many events each answer brought."""
        self.unavailable = 0
        self.failure: Exception | None = None
        self._token = gateway.token("42", channel=channel) if token is None else token
        self._first = cursor
        self._query = query
        self._at = None if cursor in {None, "earliest"} else _position(cursor)
        self._changed = asyncio.Event()

    @property
    def data(self) -> list[Any]:
        """The ``data`` of the events received."""
        return [event["data"] for event in self.events]

    @property
    def truncations(self) -> list[dict[str, Any]]:
        """The ``data`` of each ``history.truncated``."""
        return [one["data"] for one in self.controls if one["event"] == "history.truncated"]

    @property
    def position(self) -> Cursor | None:
        """Where the client stands."""
        return self._at

    async def begin(self) -> None:
        """Attach until the service has given a position."""
        await self.read_until(lambda: self._at is not None)

    async def read(self, count: int) -> list[Any]:
        """Attach, as often as it takes, until so many events have come; return the ``data`` of all of them."""
        await self.read_until(lambda: len(self.events) >= count)
        return self.data

    async def read_until(self, done: Callable[[], bool]) -> None:
        """Attach, as often as it takes, until something holds."""
        async with patience():
            while not done():
                await self.attach(done)

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Stay attached while the block runs."""
        task = asyncio.create_task(self._stay())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def live(self, clients: int = 1) -> None:
        """Wait until the service would write the next event to so many clients of the channel; pollers have to ask."""
        if not (self.way.stays_open or self.way.waits):
            return
        await until(lambda: sum(_is_live(one, self.channel) for one in self.gateway.attachments) >= clients)

    async def when(self, holds: Callable[[], bool]) -> None:
        """Wait, while attached, until something holds."""
        async with patience():
            while not holds():
                self._changed.clear()
                await self._changed.wait()
                if self.failure is not None:
                    raise self.failure

    async def _stay(self) -> None:
        try:
            while True:
                await self.attach()
        except Exception as error:  # noqa: BLE001 - whatever it was, the test that looks at this client raises it
            self.failure = error
            self._changed.set()

    async def attach(self, done: Callable[[], bool] = lambda: False) -> None:
        """Make one request and read its answer to the end, or until `done`; then wait as long as it says.

        Raises:
            Refused: the status was neither 200 nor 503.
        """
        wire = reader(self.way.media_type, self.cursor or "")
        params, headers = await self._request()
        async with self.gateway.http.stream("GET", self.way.url, params=params, headers=headers) as answer:
            if await self._is_available(answer):
                assert answer.headers["content-type"] == self.way.transport.media_type
                self.answers.append(wire)
                self.sizes.append(0)
                self._changed.set()
                await self._read(answer, wire, done)
        if not done():
            await interlude(wire.wait_ms / 1000)

    async def _request(self) -> tuple[dict[str, str], dict[bytes, bytes]]:
        query, headers = dict(self._query), {"Accept": self.way.media_type}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if self.way.moved:
            supported = {"transports": [self.way.transport.moves_to]}
            answer = await self.gateway.http.post("/api/v1/events/negotiate", json=supported, headers=headers)
            if answer.status_code != 200:
                raise Refused(answer.status_code, answer.json())
            query["ticket"] = answer.json()["ticket"]
            del headers["Authorization"]
        if self.way.transport.resumes_by and self.cursor != self._first:
            headers[self.way.transport.resumes_by] = self.cursor or ""
            query |= {} if self._first is None else {"cursor": self._first}
        elif self.cursor is not None:
            query["cursor"] = self.cursor
        return query, {name.encode(): value.encode() for name, value in headers.items()}

    async def _is_available(self, answer: httpx2.Response) -> bool:
        if answer.status_code == _UNAVAILABLE:
            self.unavailable += 1
            self._changed.set()
            await interlude(_RETRY_S)
            return False
        if answer.status_code != 200:
            await answer.aread()
            raise Refused(answer.status_code, answer.json())
        return True

    async def _read(self, answer: httpx2.Response, wire: Wire, done: Callable[[], bool]) -> None:
        async with aclosing(answer.aiter_bytes()) as parts:
            async for part in parts:
                for heard in wire.feed(part):
                    self._hear(heard)
                    if done():
                        return
        for heard in wire.end():
            self._hear(heard)

    def _hear(self, heard: Heard) -> None:
        for envelope in heard.envelopes:
            self.heard.append(envelope)
            if "id" in envelope:
                self._hear_event(envelope)
            else:
                self._hear_control(envelope)
        if heard.cursor:
            now = _position(heard.cursor)
            assert self._at is None or now >= self._at, f"the cursor went back from {self._at} to {now}"
            self._at, self.cursor = now, heard.cursor
        self._changed.set()

    def _hear_event(self, event: Envelope) -> None:
        id_ = _position(event["id"])
        assert self._at is None or id_ > self._at, f"{id_} after {self._at}: repeated, or out of order"
        assert list(event)[:5] == ["id", "time", "event", "scope", "version"]
        self._at = id_
        self.events.append(event)
        self.sizes[-1] += 1

    def _hear_control(self, control: Envelope) -> None:
        assert not {"id", "scope", "version"} & control.keys()
        self.controls.append(control)
        if control["event"] == "history.truncated":
            self._at = _position(control["data"]["cursor"])


def _position(text: str | None) -> Cursor:
    return parse_cursor(text or "")


def _is_live(attachment: Attachment, channel: str) -> bool:
    return attachment.state is State.LIVE and attachment.reader.interest.channel == channel
