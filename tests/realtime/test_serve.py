"""What `gapless serve` does with many clients: it spreads them over its workers, and takes no more than it may."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import jwt

from tests.support.program import program
from tests.support.stream import EventStream
from tests.support.waiting import PATIENCE_S, until
from tests.wire.support import BROWSER, EVENTS, LONG_POLL, POLL, SDK, STREAM, check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECRET = "a secret for tests that is long enough"
OPEN = {"GAPLESS_AUTH__SECRET": SECRET, "GAPLESS_AUTH__ANONYMOUS_SCOPES": '["broadcast"]'}
HEALTH = f"{EVENTS}/health"
WORKERS, STREAMS = 4, 400
LEAST, MOST = 40, 160
"""A worker's share of 400 is 100, with a standard deviation of 8.7 when each goes to any of four: seven of them."""


@asynccontextmanager
async def serving(tmp_path: Path, redis_url: str, *options: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Run it, and yield a client of it."""
    environ = {**OPEN, "GAPLESS_REDIS__URL": redis_url}
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(program(tmp_path, "serve", "--port", "0", *options, environ=environ))
        client = httpx2.AsyncClient(base_url=await running.address(), timeout=PATIENCE_S, trust_env=False)
        yield await stack.enter_async_context(client)


async def opened(http: httpx2.AsyncClient, stack: AsyncExitStack) -> str:
    """Open a stream on a connection of its own, and wait for its beginning."""
    place = urlsplit(str(http.base_url))
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    stack.callback(writer.close)
    writer.write(f"GET {STREAM} HTTP/1.1\r\nHost: {place.netloc}\r\nAccept: {SDK['Accept']}\r\n\r\n".encode())
    return (await reader.readuntil(b"connection.established")).decode()


async def health(http: httpx2.AsyncClient) -> dict[str, Any]:
    token = jwt.encode({"sub": "v", "roles": ["viewer"], "exp": 4_102_444_800}, SECRET, "HS256")
    seen: dict[str, Any] = (await http.get(HEALTH, headers={"Authorization": f"Bearer {token}"})).json()
    return seen


async def test_every_worker_gets_its_share_of_the_streams(tmp_path: Path, redis_url: str) -> None:
    async with serving(tmp_path, redis_url, "--workers", str(WORKERS)) as http, AsyncExitStack() as stack:
        for _ in range(STREAMS // 50):
            begun = await asyncio.gather(*[opened(http, stack) for _ in range(50)])
            assert all(text.startswith("HTTP/1.1 200") for text in begun)
        seen: dict[str, Any] = {}

        async def all_are_counted() -> bool:
            seen.update(await health(http))  # each worker tells of itself once a second
            return bool(seen["connections"]["gateway"].get("sse") == STREAMS)

        await until(all_are_counted)
        shares = [connections["sse"] for connections in seen["workers"].values()]
        assert len(shares) == WORKERS
        assert sum(shares) == STREAMS
        assert all(LEAST <= share <= MOST for share in shares), shares


async def test_one_client_more_than_max_clients_is_told_in_its_own_terms_and_polls_are_answered(
    tmp_path: Path, redis_url: str
) -> None:
    async with serving(tmp_path, redis_url, "--max-clients", "2") as http, AsyncExitStack() as stack:
        for _ in range(2):
            await opened(http, stack)

        refused = await http.get(STREAM, headers=SDK)
        check_problem(refused, 503, "at-capacity")
        assert int(refused.headers["retry-after"]) >= 1

        told = await http.get(STREAM, headers=BROWSER)
        assert told.status_code == 200
        assert told.headers["content-type"].startswith("text/event-stream")
        parser = EventStream()
        assert [message.event for message in parser.feed(told.text)] == ["connection.deferred"]
        assert (parser.retry_ms or 0) > 0
        assert "\nid: " in told.text, "or a browser forgets where it was"

        here = {"cursor": (await http.get(POLL)).json()["cursor"]}
        assert (await http.get(POLL, params=here)).status_code == 200
        check_problem(await http.get(LONG_POLL, params=here), 503, "at-capacity")

        await stack.aclose()  # and there is room again
        async with AsyncExitStack() as later:

            async def is_open() -> bool:
                answer = await later.enter_async_context(http.stream("GET", STREAM, headers=SDK))
                return answer.status_code == 200

            await until(is_open)
