"""Appends that share calls: each with its own answer and its own conflict, in one order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime.channel.appends import Appends
from realtime.channel.durability import MEMORY
from realtime.channel.event import Draft, stored_envelope
from realtime.errors import IdempotencyConflict, LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.durability import Durability
    from realtime.channel.log import Appended, Log


class Counted:
    """A log that counts the calls, and can be held back."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.sizes: list[int] = []
        self.is_away = False

    async def append(self, drafts: Sequence[Draft], *, durability: Durability = MEMORY) -> Sequence[Appended]:
        self.sizes.append(len(drafts))
        if self.is_away:
            raise LogUnavailable("away")
        return await self._log.append(drafts, durability=durability)


def draft(n: int, key: str = "") -> Draft:
    return Draft("main", "broadcast", stored_envelope("a.b", "broadcast", b"%d" % n), key)


async def test_those_that_come_while_one_is_under_way_go_together(log: Log) -> None:
    counted = Counted(log)
    appends = Appends(counted)
    answers = await asyncio.gather(*(appends.append([draft(n), draft(n)]) for n in range(50)))
    assert sum(counted.sizes) == 100
    assert len(counted.sizes) < 5
    ids = [one.id for answer in answers for one in answer]
    assert ids == sorted(set(ids))
    assert all(len(answer) == 2 for answer in answers)


async def test_one_that_finds_nothing_under_way_goes_at_once(log: Log) -> None:
    counted = Counted(log)
    appends = Appends(counted)
    for n in range(3):
        await appends.append([draft(n)])
    assert counted.sizes == [1, 1, 1]


async def test_a_conflict_is_its_publishers_alone(log: Log) -> None:
    appends = Appends(log)
    await appends.append([draft(0, "used")], "alice")
    results = await asyncio.gather(
        appends.append([draft(1)], "alice"),
        appends.append([draft(2), draft(3, "used")], "alice"),
        appends.append([draft(3, "used")], "bob"),
        appends.append([draft(0, "used")], "alice"),
        appends.append([draft(9, "used")], "alice"),
        return_exceptions=True,
    )
    first, conflict, other, duplicate, again = results
    assert not isinstance(first, BaseException)
    assert isinstance(conflict, IdempotencyConflict)
    assert conflict.index == 1
    assert not isinstance(other, BaseException)
    assert not other[0].duplicate
    assert not isinstance(duplicate, BaseException)
    assert duplicate[0].duplicate
    assert isinstance(again, IdempotencyConflict)
    assert again.index == 0


async def test_when_the_log_is_away_all_who_went_together_are_told_and_the_next_go_on(log: Log) -> None:
    counted = Counted(log)
    appends = Appends(counted)
    counted.is_away = True
    results = await asyncio.gather(*(appends.append([draft(n)]) for n in range(3)), return_exceptions=True)
    assert all(isinstance(one, LogUnavailable) for one in results)
    counted.is_away = False
    assert len(await appends.append([draft(1)])) == 1


async def test_one_who_stops_waiting_keeps_nobody_else_from_an_answer(log: Log) -> None:
    appends = Appends(log)
    leaving = asyncio.create_task(appends.append([draft(1)]))
    staying = asyncio.create_task(appends.append([draft(2)]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert len(await staying) == 1
    with pytest.raises(asyncio.CancelledError):
        await leaving
