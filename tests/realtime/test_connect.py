"""Which servers the log may live in (rule 10), and what is said of the others."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from realtime.connect import check, connect
from realtime.errors import ConfigError
from tests.support.ports import free_port
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from redis.asyncio import Redis


@asynccontextmanager
async def server(directory: Path, *arguments: str, kind: str = "valkey") -> AsyncIterator[RedisServer]:
    one = RedisServer(directory, kind, arguments)
    await one.start()
    try:
        yield one
    finally:
        one.stop()


@asynccontextmanager
async def server_of_version(version: str) -> AsyncIterator[int]:
    """Answer as a server of a version does: ``INFO`` with what the check looks at, anything else with OK."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65_536):
            info = f"redis_version:{version}\r\nmaxmemory_policy:noeviction\r\n".encode()
            bulk = b"$%d\r\n%b\r\n" % (len(info), info)
            for command in request.split(b"*")[1:]:
                writer.write(bulk if b"INFO\r\n" in command and b"SETINFO" not in command else b"+OK\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def checked(url: str, timeout_s: float = 1.0) -> None:
    redis = connect(url, timeout_s, 2)
    try:
        await check(redis)
    finally:
        await redis.aclose()


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_a_server_with_its_defaults_is_good(tmp_path: Path, kind: str) -> None:
    async with server(tmp_path, kind=kind) as one:
        await checked(one.url)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_server_that_evicts_is_refused(tmp_path: Path, policy: str) -> None:
    async with server(tmp_path, "--maxmemory-policy", policy) as one:
        with pytest.raises(ConfigError, match=rf"redis\.url: .*maxmemory-policy is {policy}.* set it to noeviction"):
            await checked(one.url)


@pytest.mark.parametrize("version", ["6.2.14", "5.0.7", "3.2.0"])
async def test_a_server_without_functions_is_refused(version: str) -> None:
    async with server_of_version(version) as port:
        with pytest.raises(ConfigError, match=rf"redis\.url: the server's version is {version}: at least 7"):
            await checked(f"redis://127.0.0.1:{port}/0")


async def test_a_later_version_is_good() -> None:
    async with server_of_version("10.1.0") as port:
        await checked(f"redis://127.0.0.1:{port}/0")


async def test_a_server_that_is_not_there_is_named_by_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"redis\.url: the server does not answer \(ConnectionError\)"):
        await checked(f"redis://127.0.0.1:{free_port()}/0")


async def test_a_server_that_is_slow_is_asked_again_and_not_for_ever(tmp_path: Path) -> None:
    async with server(tmp_path) as one:
        one.pause()
        with pytest.raises(ConfigError, match=r"redis\.url: the server does not answer \(TimeoutError\)"):
            await checked(one.url, 0.05)
        later = asyncio.get_running_loop().call_later(0.5, one.resume)
        await checked(one.url, 0.2)
        assert later.when() < asyncio.get_running_loop().time(), "it was waited for"


async def several(redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        pipe.execute_command("INCR", "counted")
        pipe.execute_command("INCR", "counted")
        await pipe.execute()


@pytest.mark.parametrize("is_connected", [True, False], ids=["connected", "new"])
@pytest.mark.parametrize("ask", [lambda redis: redis.incr("counted"), several], ids=["one", "several"])
async def test_a_cancellation_is_heeded_at_any_moment_and_no_answer_goes_astray(
    redis_url: str, ask: Callable[[Redis], Awaitable[object]], *, is_connected: bool
) -> None:
    async def asking(redis: Redis) -> None:
        await ask(redis)

    for moment in itertools.count():
        redis = connect(redis_url, 1.0, 1)
        if is_connected:
            await redis.ping()
        task = asyncio.create_task(asking(redis))
        for _ in range(moment):
            await asyncio.sleep(0)
        was_done = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or was_done, f"cancelled at moment {moment}, and went on"
        assert await redis.echo(f"after {moment}") == f"after {moment}".encode()
        await redis.aclose()
        if was_done:
            break
    assert moment > 1, "there were moments"


async def test_a_server_that_takes_nothing_is_waited_for_as_long_as_for_an_answer() -> None:
    tried, served = asyncio.Event(), asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+OK\r\n" * 2)  # to the name and version of the client
        await tried.wait()
        writer.transport.abort()
        served.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    async with listening:
        redis = connect(f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0", 0.3, 1)
        with pytest.raises(ConnectionLost, match="while writing: TimeoutError"):
            await redis.set("much", b"x" * 50_000_000)
        await redis.aclose()
        tried.set()
        await served.wait()
