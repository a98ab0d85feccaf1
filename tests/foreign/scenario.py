"""What the clients go through: streams that end every two seconds, a gateway that is killed, a Redis that is too."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import httpx2
import jwt

from tests.foreign.reader import reading
from tests.support.gateway import SECRET
from tests.support.ports import free_port
from tests.support.program import killed, program
from tests.support.redis import RedisServer
from tests.support.waiting import interlude, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.foreign.reader import Client, Outcome, Reader

EVENTS: Final = "/api/v1/events"
_PACE_S: Final = 0.03
_BEGUN_S: Final = 60
_SILENT_S: Final = 30
"""Who hears nothing new for so long hears nothing any more."""
_SETTINGS: Final = {
    "AUTH__SECRET": SECRET,
    "AUTH__ANONYMOUS_SCOPES": '["broadcast"]',
    "SSE__LIFETIME": "2s",
    "SSE__RETRY": "100ms",
    "SSE__HEARTBEAT": "500ms",
    "LIMITS__STREAMS_PER_ADDRESS": "0",
}
_LINE_ENDS: Final = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_ODD: Final = "\ufeff\x00\x07\x7f\x80\x9f\U0001f600\u00e9"
HOSTILE: Final = (
    *(f"hi{letter}id: 1-1{letter}event: connection.closed{letter}retry: 1{letter}{letter}" for letter in _LINE_ENDS),
    *(f"{letter}data: x{letter}{letter}:" for letter in (*_LINE_ENDS, "\r\n", *_ODD)),
    {"\u2028id: 1-1": ["\u0085event: a.b\u0085", {"\ufeff": None}]},
    "x" * 20_000,
    "   leading and trailing   ",
    "",
    None,
)
"""Data that forges fields where a reader takes it for a line."""


class Scenario:
    """A service, and clients of it."""

    def __init__(self, directory: Path) -> None:
        """Keep everything below a directory."""
        self._directory = directory
        self._redis = RedisServer(directory / "redis")
        self._port = free_port()
        self._gateway = AsyncExitStack()
        self._http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", timeout=20, trust_env=False)
        self._pid = 0
        self.published: dict[str, Any] = {}

    async def run(self, clients: Sequence[Client], count: int, faults: Mapping[int, str]) -> dict[Client, Outcome]:
        """Publish so many events, with faults (``gateway`` or ``redis``) before the events of these numbers."""
        await self._redis.start()
        try:
            await self._open()
            async with AsyncExitStack() as running:
                readers = [await running.enter_async_context(reading(one, await self._url(one))) for one in clients]
                await _established(readers)
                for number in range(count):
                    await self._fault(faults.get(number, ""))
                    await self._publish(number)
                    await interlude(_PACE_S)
                await self._all_heard(readers)
                return {reader.client: reader.outcome(self.published) for reader in readers}
        finally:
            await self._http.aclose()
            await self._gateway.aclose()
            self._redis.stop()

    async def _open(self) -> None:
        environ = {**_SETTINGS, "REDIS__URL": self._redis.url, "SERVER__PORT": str(self._port)}
        named = {f"GAPLESS_{name}": value for name, value in environ.items()}
        running = await self._gateway.enter_async_context(program(self._directory, "serve", environ=named))
        await running.address(_BEGUN_S)
        self._pid = running.process.pid

    async def _fault(self, what: str) -> None:
        if what == "gateway":
            await killed(self._pid)
            await self._gateway.aclose()
            await self._open()
        elif what == "redis":
            self._redis.kill()
            await self._redis.start()

    async def _url(self, client: Client) -> str:
        query = {"cursor": (await self._http.get(f"{EVENTS}/poll")).json()["cursor"]} if client.with_cursor else {}
        return str(self._http.build_request("GET", f"{EVENTS}/stream", params=query).url)

    async def _publish(self, number: int) -> None:
        data = {"number": number, "text": HOSTILE[number % len(HOSTILE)]}
        event = {"event": "test.happened", "scope": "broadcast", "data": data, "idempotency_key": f"n{number}"}
        claims = {"sub": "publisher", "roles": ["publisher"], "exp": int(time.time()) + 600}
        headers = {"Authorization": f"Bearer {jwt.encode(claims, SECRET)}"}
        ids: list[str] = []

        async def is_in_the_log() -> bool:
            try:
                answer = await self._http.post(EVENTS, json=event, headers=headers)
            except httpx2.TransportError:
                return False
            if answer.status_code == httpx2.codes.CREATED:
                ids.append(answer.json()["events"][0]["id"])
            return bool(ids)

        await until(is_in_the_log, _BEGUN_S)
        self.published[ids[0]] = data

    async def _all_heard(self, readers: Sequence[Reader]) -> None:
        """Wait until everybody has the last event, or until nobody hears anything new."""
        last = [*self.published][-1]

        def heard() -> int:
            return sum(reader.has(last) for reader in readers)

        with suppress(TimeoutError):
            while (before := heard()) < len(readers):
                await _grown(heard, before)


async def _grown(number: Callable[[], int], before: int) -> None:
    """Wait until a number is above what it was."""
    await until(lambda: number() > before)


async def _established(readers: Sequence[Reader]) -> None:
    try:
        await until(lambda: all(reader.is_established for reader in readers), _BEGUN_S)
    except TimeoutError:
        late = {str(reader.client): (reader.heard, reader.errors) for reader in readers if not reader.is_established}
        message = f"never connected: {late}"
        raise AssertionError(message) from None
