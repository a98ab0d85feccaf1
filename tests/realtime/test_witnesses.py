"""Gateways that all restart while the log loses its end: what they wrote down before tells of it."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from realtime.channel.log import Log
from realtime.connect import connect
from realtime.witnesses import Witnesses
from tests.channel.events import other_epoch, publish
from tests.channel.model import ROOMY
from tests.support.gateway import gateway
from tests.support.redis import RedisServer
from tests.support.waiting import until
from tests.wire.support import POLL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from realtime.channel.event import Cursor


class Watch:
    """A gateway's log, and what it remembers of it."""

    def __init__(self, log: Log, witnesses: Witnesses) -> None:
        self.log = log
        self.witnesses = witnesses

    async def fences(self) -> int:
        links = await self.log.backwards(None, 1_000)
        return len([entry for entry, _ in links if entry.is_fence])

    async def resumes(self, cursor: Cursor) -> bool:
        return (await self.log.check(cursor)).good


@asynccontextmanager
async def watching(server: RedisServer, directory: Path, name: str = "a") -> AsyncIterator[Watch]:
    """Start a gateway; it ends without a last word, as by SIGKILL."""
    client = connect(server.url, 5.0, 4)
    log = Log(client, ROOMY)
    witnesses = Witnesses(directory, name, [log])
    await witnesses.recall()
    try:
        yield Watch(log, witnesses)
    finally:
        await client.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    one = RedisServer(tmp_path / "redis")
    await one.start()
    yield one
    one.stop()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The data directory of all gateways."""
    return tmp_path / "data"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What can't be a directory."""
    path = tmp_path / "file"
    path.touch()
    return path


def file_of(server: RedisServer) -> Path:
    return next((server.directory / "appendonlydir").glob("*.incr.aof"))


async def end_of(server: RedisServer, cursor: Cursor | str) -> int:
    """Wait until the append-only file has an entry, and return its size."""
    await until(lambda: str(cursor).encode() in file_of(server).read_bytes())
    return file_of(server).stat().st_size


async def restart(server: RedisServer, size: int | None = None) -> None:
    """Kill a server and start it again; with a size, with as much of its append-only file."""
    server.kill()
    if size is not None:
        os.truncate(file_of(server), size)
    await server.start()


async def test_a_loss_while_all_gateways_restart_is_told(server: RedisServer, directory: Path) -> None:
    async with watching(server, directory) as one:
        (before,) = await publish(one.log, "broadcast")
        size = await end_of(server, before)
        await publish(one.log, "broadcast")
        await one.witnesses.keep()
    await restart(server, size)
    async with watching(server, directory, "b") as one:
        assert not await one.resumes(before)
        (after,) = await publish(one.log, "broadcast")
    await restart(server)
    async with watching(server, directory, "c") as one:
        assert await one.resumes(after)
        assert await one.fences() == 1


async def test_a_lagging_failover_while_all_gateways_restart_is_told(
    server: RedisServer, directory: Path, tmp_path: Path
) -> None:
    replica = RedisServer(tmp_path / "replica", arguments=["--replicaof", f"127.0.0.1 {server.port}"])
    await replica.start()
    try:
        async with watching(server, directory) as one, replica.client as other:
            (before,) = await publish(one.log, "broadcast")

            async def has_it() -> bool:
                return bool(await other.xrange("{gapless:0}:log", str(before), str(before)))

            await until(has_it)
            await other.replicaof("NO", "ONE")
            await publish(one.log, "broadcast")
            await one.witnesses.keep()
        async with watching(replica, directory, "b") as one:
            assert not await one.resumes(before)
    finally:
        replica.stop()


async def test_a_restart_that_lost_nothing_is_told_to_nobody(server: RedisServer, directory: Path) -> None:
    async with watching(server, directory) as one:
        (before,) = await publish(one.log, "broadcast")
        (last,) = await publish(one.log, "broadcast")
        await one.witnesses.keep()
        await end_of(server, last)
    await restart(server)
    async with watching(server, directory, "b") as one:
        assert await one.resumes(before)
        assert await one.fences() == 0


async def test_another_log_has_lost_nothing_of_this_one(server: RedisServer, directory: Path, tmp_path: Path) -> None:
    other = RedisServer(tmp_path / "other")
    await other.start()
    try:
        async with watching(other, directory) as one:
            await publish(one.log, "broadcast")
        async with watching(server, directory, "b") as one:
            await publish(one.log, "broadcast")
            await one.witnesses.keep()
        async with watching(other, directory, "c") as one:
            assert await one.fences() == 0
    finally:
        other.stop()


async def test_what_lies_below_the_floor_is_forgotten(server: RedisServer, directory: Path) -> None:
    async with watching(server, directory) as one:
        await publish(one.log, "broadcast")
        await one.witnesses.keep()
        await one.log.mistrust()
    async with watching(server, directory, "b") as one:
        assert await one.fences() == 1, "the one of which everybody was told already"


async def test_what_another_server_had_below_the_floor_is_told(server: RedisServer, directory: Path) -> None:
    async with watching(server, directory) as one:
        floor = (await one.log.touch()).floor
        one.log.witness(other_epoch(floor)._replace(ms=floor.ms - 1))  # of a server whose clock was behind
        await one.witnesses.keep()
    async with watching(server, directory, "b") as one:
        assert await one.fences() == 1
        assert not await one.resumes(floor)


async def test_gateways_that_share_a_directory_know_what_any_of_them_saw(server: RedisServer, directory: Path) -> None:
    async with watching(server, directory) as one, watching(server, directory, "b") as two:
        (before,) = await publish(one.log, "broadcast")
        size = await end_of(server, before)
        await one.witnesses.keep()
        await publish(two.log, "broadcast")
        await two.witnesses.keep()
        await one.witnesses.keep()
    await restart(server, size)
    async with watching(server, directory, "c") as one:
        assert not await one.resumes(before)
    assert {file.name for file in (directory / "witnesses").iterdir()} == {"a.json", "b.json", "c.json"}


async def test_files_of_gateways_that_are_gone_do_not_pile_up(server: RedisServer, directory: Path) -> None:
    folder = directory / "witnesses"
    folder.mkdir(parents=True)
    for number in range(150):
        (folder / f"{number}.json").write_text("no file of ours")
        os.utime(folder / f"{number}.json", (number, number))
    async with watching(server, directory):
        kept = {file.stem for file in folder.iterdir()}
        assert len(kept) == 100
        assert {"a", "149"} < kept


async def test_a_file_is_written_when_there_is_something_new(server: RedisServer, directory: Path) -> None:
    async with watching(server, directory) as one:
        file = directory / "witnesses/a.json"
        first = file.stat().st_ino
        await one.witnesses.keep()
        assert file.stat().st_ino == first
        await publish(one.log, "broadcast")
        await one.witnesses.keep()
        assert file.stat().st_ino != first
        assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_where_nothing_can_be_written_it_is_said_once_and_the_service_goes_on(
    server: RedisServer, file: Path
) -> None:
    with capture_logs() as said:
        async with watching(server, file) as one:
            await publish(one.log, "broadcast")
            await one.witnesses.keep()
    assert [line["event"] for line in said] == ["what was seen of the log can't be kept"]


async def test_a_gateway_writes_down_what_it_saw_and_looks_there_when_it_starts(
    server: RedisServer, directory: Path
) -> None:
    overrides = {"AUTH__ANONYMOUS_SCOPES": '["broadcast"]'}
    async with gateway(directory, server.url, overrides) as one:
        (before,) = await one.publish({"data": "kept"})
        size = await end_of(server, before)
        await one.publish({"data": "lost"})
    await restart(server, size)
    async with gateway(directory, server.url, overrides) as one:
        answer = (await one.http.get(POLL, params={"cursor": before})).json()
        assert [event["event"] for event in answer["control"]] == ["history.truncated"]
