"""Long-lived tasks: none ends unnoticed, and one that keeps ending is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime.supervisor import TRIES, Supervisor
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Part:
    """A long-lived task that ends as it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        self.begun += 1
        self._end = asyncio.get_running_loop().create_future()
        try:
            await self._end
        finally:
            self.ended += 1

    async def end(self, error: BaseException | None = None) -> None:
        """End the run that is under way, and wait for the next one."""
        begun = self.begun
        if error is None:
            self._end.set_result(None)
        else:
            self._end.set_exception(error)
        await until(lambda: self.begun == begun + 1)


@pytest.fixture
async def part() -> Part:
    return Part()


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """One that never takes a task for well: no test waits that long."""
    async with Supervisor(first_pause_s=0, calm_s=3600) as supervising:
        yield supervising


@pytest.mark.parametrize(
    "error",
    [None, ValueError("no"), OSError(5, "disk"), asyncio.CancelledError()],
    ids=["returns", "error", "os", "cancelled"],
)
async def test_a_task_that_ends_is_started_again_and_counted(
    supervisor: Supervisor, part: Part, error: BaseException | None
) -> None:
    supervisor.start("part", part.run)
    await until(lambda: part.begun == 1)
    await part.end(error)
    assert supervisor.restarts == {"part": 1}
    assert supervisor.failing == ()


async def test_a_task_that_keeps_ending_is_failing_and_is_tried_on(supervisor: Supervisor, part: Part) -> None:
    supervisor.start("part", part.run)
    await until(lambda: part.begun == 1)
    for _ in range(TRIES - 1):
        await part.end(ValueError("no"))
        assert supervisor.failing == ()
    await part.end(ValueError("no"))
    assert supervisor.failing == ("part",)
    await part.end(ValueError("no"))
    assert part.begun == TRIES + 2


async def test_a_failing_task_that_lasts_is_well_again(part: Part) -> None:
    async with Supervisor(first_pause_s=0, calm_s=0.05) as supervisor:
        supervisor.start("part", part.run)
        await until(lambda: part.begun == 1)
        while supervisor.failing == ():
            await part.end(ValueError("no"))
        await until(lambda: supervisor.failing == ())
        assert part.begun > TRIES


async def test_one_task_that_fails_leaves_the_others_alone(supervisor: Supervisor, part: Part) -> None:
    other = Part()
    supervisor.start("part", part.run)
    supervisor.start("other", other.run)
    await until(lambda: part.begun == other.begun == 1)
    await part.end(ValueError("no"))
    assert (other.begun, other.ended) == (1, 0)


async def test_stop_ends_all_tasks_and_waits_for_them(supervisor: Supervisor, part: Part) -> None:
    supervisor.start("part", part.run)
    await until(lambda: part.begun == 1)
    await supervisor.stop()
    assert (part.begun, part.ended) == (1, 1)
    assert supervisor.names == ()


async def test_stop_is_no_failure_of_a_task_that_fails_while_it_is_cancelled(supervisor: Supervisor) -> None:
    begun = asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError

    supervisor.start("stubborn", stubborn)
    await begun.wait()
    await supervisor.stop()
    assert not supervisor.restarts
