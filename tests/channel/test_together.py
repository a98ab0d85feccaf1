"""Calls that are shared: who goes with whom, how many are under way, and that nobody is left waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from realtime.channel.together import Together
from tests.support.waiting import patience, until

if TYPE_CHECKING:
    from collections.abc import Sequence


class Place:
    """A place that answers with ten times the question, when it is let to."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def carry(self, questions: Sequence[int]) -> Sequence[int | Exception]:
        self.calls.append(list(questions))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.gate.wait()
        self.under_way -= 1
        return [10 * question for question in questions]


async def turns() -> None:
    """Let the loop turn until all that can happen without the place has happened."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_one_call_does_not_carry_goes_by_another_at_the_same_time() -> None:
    place = Place()
    together: Together[int, int] = Together(place.carry, lambda questions: min(3, len(questions)), calls=2, enough=99)
    place.gate.clear()
    asking = [asyncio.create_task(together.ask(number)) for number in range(10)]
    await until(lambda: place.under_way == 2)
    place.gate.set()
    assert await asyncio.gather(*asking) == [10 * number for number in range(10)]
    assert [one for call in place.calls for one in call] == list(range(10))
    assert (place.most_under_way, max(map(len, place.calls))) == (2, 3)


async def test_another_call_is_made_as_soon_as_enough_wait() -> None:
    place = Place()
    together: Together[int, int] = Together(place.carry, len, calls=2, enough=4)
    place.gate.clear()
    asking = [asyncio.create_task(together.ask(number)) for number in range(4)]
    await turns()
    assert place.calls == [[0, 1, 2, 3]], "they came in one turn of the loop"
    asking += [asyncio.create_task(together.ask(number)) for number in range(4, 7)]
    await turns()
    assert place.under_way == 1, "three are not enough"
    asking += [asyncio.create_task(together.ask(number)) for number in range(7, 20)]
    await turns()
    assert place.calls == [[0, 1, 2, 3], list(range(4, 20))], "a third waits"
    place.gate.set()
    assert await asyncio.gather(*asking) == [10 * number for number in range(20)]
    assert place.most_under_way == 2


async def test_one_call_at_a_time_is_the_rule() -> None:
    place = Place()
    together: Together[int, int] = Together(place.carry, lambda questions: min(3, len(questions)))
    assert await asyncio.gather(*(together.ask(number) for number in range(10))) == [10 * n for n in range(10)]
    assert place.most_under_way == 1


async def test_who_asks_just_when_a_call_has_ended_is_not_left_waiting() -> None:
    place = Place()
    together: Together[int, int] = Together(place.carry, len, calls=2)

    async def ask_again(number: int, turns: int) -> int:
        answer = await together.ask(number)
        for _ in range(turns):
            await asyncio.sleep(0)
        return answer + await together.ask(number)

    async with patience():
        found = await asyncio.gather(*(ask_again(number, number % 7) for number in range(50)))
    assert found == [20 * number for number in range(50)]
