"""What an acknowledged append has reached: the disk, or replicas; and what is said where it has not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from realtime.channel.appends import Appends
from realtime.channel.durability import MEMORY, Durability, durability
from realtime.channel.log import Log
from realtime.connect import check, connect
from realtime.errors import ConfigError, LogUnavailable
from tests.channel.events import draft
from tests.channel.model import ROOMY
from tests.support.proxy import proxy
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

ON_DISK = Durability(fsync=True, patience_ms=10_000)
ONE_REPLICA = Durability(replicas=1, patience_ms=10_000)
HURRIED = Durability(replicas=1, patience_ms=50)


@asynccontextmanager
async def running(directory: Path, *arguments: str, kind: str = "valkey") -> AsyncIterator[RedisServer]:
    server = RedisServer(directory, kind, arguments)
    await server.start()
    try:
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    client = connect(url, 30.0, 8)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def replica(tmp_path: Path, primary: RedisServer) -> AsyncIterator[RedisServer]:
    async with running(tmp_path / "replica", "--replicaof", f"127.0.0.1 {primary.port}") as server:
        async with server.client as client:

            async def is_up() -> bool:
                return bool((await client.info("replication"))["master_link_status"] == "up")

            await until(is_up)
        yield server


@pytest.fixture
async def primary(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with running(tmp_path / "primary") as server:
        yield server


@pytest.fixture
async def log(primary: RedisServer) -> AsyncIterator[Log]:
    async with connected(primary.url) as client:
        yield Log(client, ROOMY)


async def calls(server: RedisServer, command: str) -> int:
    """Count how often a server was given a command."""
    async with server.client as client:
        found = (await client.info("commandstats")).get(f"cmdstat_{command}")
    return int(found["calls"]) if found else 0


async def events(log: Log) -> int:
    return len([entry for entry, _ in await log.backwards(None, 1_000) if not entry.is_marker])


class TestText:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("memory", Durability(patience_ms=750)),
            ("fsync", Durability(fsync=True, patience_ms=750)),
            ("replicas:1", Durability(replicas=1, patience_ms=750)),
            ("replicas:12", Durability(replicas=12, patience_ms=750)),
        ],
    )
    def test_says_what_is_waited_for(self, text: str, found: Durability) -> None:
        assert durability(text, 1_000) == found

    @pytest.mark.parametrize("text", ["", "disk", "replicas", "replicas:0", "replicas:-1", "replicas:1 ", "FSYNC"])
    def test_that_says_nothing_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=f"^{text}$"):
            durability(text, 1_000)


class TestFsync:
    async def test_an_append_is_acknowledged_once_it_is_on_the_disk(self, primary: RedisServer, log: Log) -> None:
        await log.touch()
        await log.append([draft()], durability=ON_DISK)
        assert await calls(primary, "waitaof") == 1

    async def test_one_that_does_not_reach_the_disk_is_told_to_be_perhaps_in_the_log(self, tmp_path: Path) -> None:
        """With ``appendfsync no`` Redis never sees to it that what it wrote is on the disk."""
        async with running(tmp_path, "--appendfsync", "no") as server, connected(server.url) as client:
            log = Log(client, ROOMY)
            with pytest.raises(LogUnavailable, match=r"did not write it to the disk in time.*perhaps in the log"):
                await log.append([draft()], durability=Durability(fsync=True, patience_ms=50))
            assert await events(log) == 1
            assert log.acknowledged.ms == 0

    async def test_a_server_that_no_longer_has_a_file_is_named_by_its_words(
        self, primary: RedisServer, log: Log
    ) -> None:
        async with primary.client as client:
            await client.config_set("appendonly", "no")
        with pytest.raises(LogUnavailable, match=r"Redis does not wait for it \(.*appendonly is disabled"):
            await log.append([draft()], durability=ON_DISK)


class TestReplicas:
    async def test_an_acknowledged_append_survives_a_failover(
        self, primary: RedisServer, replica: RedisServer, log: Log
    ) -> None:
        (one,) = await log.append([draft()], durability=ONE_REPLICA)
        primary.kill()
        async with connected(replica.url) as client:
            await client.replicaof("NO", "ONE")
            successor = Log(client, ROOMY)
            assert (await successor.check(one.id)).good
            assert await events(successor) == 1

    async def test_an_append_that_too_few_replicas_have_is_not_acknowledged_and_a_duplicate_waits_again(
        self, replica: RedisServer, log: Log
    ) -> None:
        replica.pause()
        for _ in range(2):
            with pytest.raises(LogUnavailable, match=r"0 of 1 replicas had it in time.*perhaps in the log"):
                await log.append([draft(key="k")], "ada", durability=HURRIED)
        replica.resume()
        (answer,) = await log.append([draft(key="k")], "ada", durability=ONE_REPLICA)
        assert answer.duplicate
        assert await events(log) == 1

    async def test_a_retry_of_our_own_waits_too(self, primary: RedisServer, replica: RedisServer, log: Log) -> None:
        """The first answer is lost with its connection; on the next one `WAIT` has no write to wait for but ours."""
        async with proxy(primary.port) as line, connected(line.redis_url) as client:
            far = Log(client, ROOMY)
            await far.append([draft(0)], durability=ONE_REPLICA)
            replica.pause()
            line.lose_reply(b"gapless_3_append")
            with pytest.raises(LogUnavailable, match="0 of 1 replicas"):
                await far.append([draft(1)], durability=HURRIED)
            assert line.lost.is_set()
            replica.resume()
        assert await events(log) == 2

    async def test_what_is_written_beside_is_waited_for_too(
        self, primary: RedisServer, replica: RedisServer, log: Log
    ) -> None:
        replica.pause()
        with pytest.raises(LogUnavailable, match="0 of 1 replicas"):
            await log.append([draft(1)], beside=[("SET", "state", "1")], durability=HURRIED)
        replica.resume()
        await log.append([draft(2)], beside=[("INCR", "state")], durability=ONE_REPLICA)
        async with primary.client as client:
            assert await client.get("state") == b"2"

    @pytest.mark.usefixtures("replica")
    async def test_concurrent_appends_share_the_wait(self, primary: RedisServer, log: Log) -> None:
        appends = Appends(log, ONE_REPLICA)
        answers = await asyncio.gather(*(appends.append([draft(n)]) for n in range(50)))
        assert len({one.id for answer in answers for one in answer}) == 50
        assert await calls(primary, "wait") == await calls(primary, "fcall") < 10


class TestStart:
    """What is refused before anything is served."""

    @pytest.mark.parametrize("wanted", [MEMORY, ONE_REPLICA])
    async def test_an_old_server_does_what_it_can(self, tmp_path: Path, wanted: Durability) -> None:
        async with running(tmp_path, kind="redis") as server, connected(server.url) as client:
            await check(client, wanted)

    async def test_a_server_without_the_command_is_refused(self, tmp_path: Path) -> None:
        async with running(tmp_path, kind="redis") as server, connected(server.url) as client:
            version = (await client.info("server"))["redis_version"]
            if tuple(map(int, version.split(".")[:2])) >= (7, 2):
                pytest.skip(f"Redis {version} has WAITAOF")
            with pytest.raises(
                ConfigError, match=r"history\.durability: .*it has no WAITAOF, which came with Redis 7\.2"
            ):
                await check(client, ON_DISK)

    async def test_a_server_without_an_append_only_file_is_refused(self, tmp_path: Path) -> None:
        async with running(tmp_path, "--appendonly", "no") as server, connected(server.url) as client:
            with pytest.raises(ConfigError, match=r"history\.durability: .*appendonly is disabled"):
                await check(client, ON_DISK)

    async def test_a_server_that_can_is_good(self, primary: RedisServer) -> None:
        async with connected(primary.url) as client:
            await check(client, ON_DISK)
