"""A gateway whose standard streams are closed, gone, full or not read serves on all the same."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx2
import pytest

from realtime.auth import Credentials
from realtime.config import load
from tests.support.gateway import SECRET
from tests.support.metrics import scrape
from tests.support.ports import free_port
from tests.support.program import GAPLESS
from tests.support.redis import RedisServer
from tests.support.waiting import until
from tests.wire.support import EVENTS, STREAM

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ENVIRON: Final = {
    "GAPLESS_AUTH__SECRET": SECRET,
    "GAPLESS_AUTH__ANONYMOUS_SCOPES": '["broadcast"]',
    "GAPLESS_LOG__LEVEL": "debug",
    "GAPLESS_REDIS__TIMEOUT": "500ms",
}


def reader_gone(stack: ExitStack) -> int:
    reader, writer = os.pipe()
    os.close(reader)
    stack.callback(os.close, writer)
    return writer


def full_pipe(stack: ExitStack) -> int:
    """Return a pipe that nobody reads, and that takes nothing more."""
    reader, writer = os.pipe()
    stack.callback(os.close, reader)
    stack.callback(os.close, writer)
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        os.set_blocking(writer, True)
    return writer


def full_disk(stack: ExitStack) -> int:
    return stack.enter_context(Path("/dev/full").open("wb")).fileno()


def launched(command: list[str], directory: Path, output: int, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=output, stderr=output, cwd=directory, env=environ)


@asynccontextmanager
async def serving(
    directory: Path, redis: RedisServer, redirection: str = "", output: int = subprocess.DEVNULL
) -> AsyncIterator[httpx2.AsyncClient]:
    """Run a gateway whose output and errors go to `output`, after a shell's redirection; yield a client of it."""
    port = free_port()
    environ = {**os.environ, **ENVIRON, "GAPLESS_REDIS__URL": redis.url, "GAPLESS_DATA_DIR": str(directory / "data")}
    command = ["/bin/sh", "-c", f'exec "$0" serve --port {port} {redirection}', str(GAPLESS)]
    process = launched(command, directory, output, environ)
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
            await until(lambda: process.poll() is not None or is_ready(http))
            assert process.poll() is None, "it ended"
            yield http
        assert process.poll() is None, "it ended"
    finally:
        process.terminate()
        await until(lambda: process.poll() is not None)


async def is_ready(http: httpx2.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


async def publish(http: httpx2.AsyncClient, number: int) -> None:
    credentials = Credentials(load(environ={"GAPLESS_AUTH__SECRET": SECRET}), SECRET)
    headers = {"Authorization": f"Bearer {credentials.mint('p', ['publisher'])}"}
    body = {"event": "test.happened", "scope": "broadcast", "data": number, "idempotency_key": str(number)}

    async def is_published() -> bool:
        return (await http.post(EVENTS, json=body, headers=headers)).status_code == 201

    await until(is_published)


async def check_delivery(http: httpx2.AsyncClient, redis: RedisServer) -> None:
    """Open a stream; let Redis be away, which writes to the log; the stream gets what is published then."""
    async with http.stream("GET", STREAM) as answer:
        parts = answer.aiter_text()
        text = ""
        while "connection.established" not in text:
            text += await anext(parts)
        redis.kill()
        await until(lambda: is_degraded(http))
        await redis.start()
        await publish(http, 1)
        while '"data":1}' not in text:
            text += await anext(parts)


async def is_degraded(http: httpx2.AsyncClient) -> bool:
    return bool((await http.get(f"{EVENTS}/health")).json()["status"] == "degraded")


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    await server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("broken", [reader_gone, full_pipe, full_disk])
async def test_a_log_that_cannot_be_written_does_not_stop_delivery(
    tmp_path: Path, redis: RedisServer, broken: Callable[[ExitStack], int]
) -> None:
    with ExitStack() as stack:
        async with serving(tmp_path, redis, output=broken(stack)) as http:
            await check_delivery(http, redis)
            assert (await scrape(http)).sum("lost_log_lines_total") > 0


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
async def test_a_standard_stream_that_is_closed_at_the_start_does_not_stop_delivery(
    tmp_path: Path, redis: RedisServer, closed: str
) -> None:
    async with serving(tmp_path, redis, closed) as http:
        await check_delivery(http, redis)
