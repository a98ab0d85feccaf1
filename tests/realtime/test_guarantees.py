"""What docs/guarantees.md says of a Redis of one's own: gateways that live, or all restart, notice what it lost."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from realtime.errors import LogUnavailable
from tests.channel.events import publish
from tests.realtime.test_witnesses import end_of, restart, watching
from tests.support.redis import RedisServer
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from realtime.channel.event import Cursor
    from tests.realtime.test_witnesses import Watch


async def size(server: RedisServer, kept: Cursor) -> int:
    return await end_of(server, kept)


async def crash(server: RedisServer, size: int) -> None:
    await restart(server, size)


async def save(server: RedisServer, _: Cursor) -> int:
    async with server.client as client:
        await client.save()
    return 0


async def kill(server: RedisServer, _: int) -> None:
    await restart(server)


async def wait(_: RedisServer, __: Cursor) -> int:
    return 0


async def flush(server: RedisServer, _: int) -> None:
    server.empty()


async def back_up(server: RedisServer, kept: Cursor) -> int:
    await end_of(server, kept)
    shutil.copytree(server.directory / "appendonlydir", server.directory / "backup")
    return 0


async def put_back(server: RedisServer, _: int) -> None:
    server.kill()
    shutil.rmtree(server.directory / "appendonlydir")
    shutil.copytree(server.directory / "backup", server.directory / "appendonlydir")
    await server.start()


class Loss(NamedTuple):
    """A way to lose entries: what is done when the first is there, and when the second is."""

    before: Callable[[RedisServer, Cursor], Awaitable[int]]
    after: Callable[[RedisServer, int], Awaitable[None]]
    arguments: tuple[str, ...] = ()


NO_FILE = ("--appendonly", "no")
LOSSES = {
    "machine-crash": Loss(size, crash),
    "snapshots-only": Loss(save, kill, NO_FILE),
    "no-persistence": Loss(wait, kill, NO_FILE),
    "flush": Loss(wait, flush),
    "backup": Loss(back_up, put_back),
}
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture
async def server(tmp_path: Path, loss: Loss) -> AsyncIterator[RedisServer]:
    one = RedisServer(tmp_path / "redis", arguments=loss.arguments)
    await one.start()
    yield one
    one.stop()


async def answers(one: Watch) -> bool:
    """Tell whether a gateway reaches the log again: its connections are made anew as they are found cut."""
    try:
        await one.log.touch()
    except LogUnavailable:
        return False
    return True


async def lost(server: RedisServer, one: Watch, loss: Loss) -> Cursor:
    """Have a gateway see two entries, and the log lose the second; return the first."""
    (kept,) = await publish(one.log, "broadcast")
    mark = await loss.before(server, kept)
    await publish(one.log, "broadcast")
    await one.witnesses.keep()
    await loss.after(server, mark)
    return kept


@EVERY_LOSS
async def test_a_loss_is_told_by_gateways_that_live(server: RedisServer, tmp_path: Path, loss: Loss) -> None:
    async with watching(server, tmp_path / "data") as one:
        kept = await lost(server, one, loss)
        await until(lambda: answers(one))
        assert not await one.resumes(kept)


@EVERY_LOSS
async def test_a_loss_is_told_by_gateways_that_all_restarted(server: RedisServer, tmp_path: Path, loss: Loss) -> None:
    async with watching(server, tmp_path / "data") as one:
        kept = await lost(server, one, loss)
    async with watching(server, tmp_path / "data", "b") as one:
        assert not await one.resumes(kept)


@pytest.mark.parametrize("loss", [Loss(size, crash)], ids=["append-only-file"])
async def test_a_redis_that_is_killed_keeps_what_it_gave_to_its_file(
    server: RedisServer, tmp_path: Path, loss: Loss
) -> None:
    async with watching(server, tmp_path / "data") as one:
        kept, last = await publish(one.log, "broadcast", "broadcast")
        await one.witnesses.keep()
    await loss.after(server, await loss.before(server, last))
    async with watching(server, tmp_path / "data", "b") as one:
        assert await one.resumes(kept)
        assert await one.fences() == 0
