"""The timer wheel: many items, one timer."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from realtime.delivery.wheel import RESOLUTION_MS, Wheel
from tests.delivery.room import HandWheel
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Item:
    """Notes when it was due, and does something then."""

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.at_ms: list[int] = []
        self._then = then

    def due(self, now_ms: int) -> None:
        self.at_ms.append(now_ms)
        if self._then is not None:
            self._then()


@pytest.fixture
async def wheel() -> AsyncIterator[Wheel]:
    wheel = Wheel()
    yield wheel
    wheel.stop()


@pytest.fixture
async def hand() -> AsyncIterator[HandWheel]:
    wheel = HandWheel()
    yield wheel
    wheel.stop()


async def test_an_item_is_due_once_at_its_time_or_up_to_a_slot_later(hand: HandWheel) -> None:
    items = {Item(): hand.now_ms() + after for after in (0, 1, 49, 50, 51, 120, 199)}
    for item, at_ms in items.items():
        hand.arm(item, at_ms)
    hand.turn(10_000)
    for item, at_ms in items.items():
        (was_ms,) = item.at_ms
        assert at_ms <= was_ms <= at_ms + RESOLUTION_MS


async def test_the_timer_of_the_loop_turns_it_and_never_early(wheel: Wheel) -> None:
    items = {Item(): wheel.now_ms() + after for after in (0, 1, 49, 50, 51, 120, 199)}
    for item, at_ms in items.items():
        wheel.arm(item, at_ms)
    await until(lambda: all(item.at_ms for item in items))
    assert all(item.at_ms[0] >= at_ms for item, at_ms in items.items())


async def test_items_are_due_in_the_order_of_their_slots(wheel: Wheel) -> None:
    order: list[int] = []
    now = wheel.now_ms()
    afters = [4, 1, 3, 0, 2]
    for after in afters:
        wheel.arm(Item(lambda after=after: order.append(after)), now + after * RESOLUTION_MS)  # type: ignore[misc]
    await until(lambda: len(order) == len(afters))
    assert order == sorted(afters)


async def test_to_arm_again_replaces(hand: HandWheel) -> None:
    item = Item()
    now = hand.now_ms()
    hand.arm(item, now + 60_000)
    hand.arm(item, now + 150)
    hand.arm(item, now + 100)
    hand.turn(70_000)
    assert item.at_ms == [now + 100]


async def test_what_was_put_off_is_not_due_early(hand: HandWheel) -> None:
    item, other = Item(), Item()
    now = hand.now_ms()
    hand.arm(item, now + 10)
    hand.arm(item, now + 60_000)
    hand.arm(other, now + 150)
    hand.turn(59_999)
    assert (item.at_ms, other.at_ms) == ([], [now + 150])


async def test_a_disarmed_item_is_forgotten_and_may_be_disarmed_again(wheel: Wheel) -> None:
    item, other = Item(), Item()
    now = wheel.now_ms()
    wheel.arm(item, now + 50)
    wheel.arm(other, now + 50)
    wheel.disarm(item)
    wheel.disarm(item)
    wheel.disarm(Item())
    await until(lambda: bool(other.at_ms))
    assert item.at_ms == []


async def test_an_item_may_arm_itself_again_when_it_is_due(wheel: Wheel) -> None:
    item = Item(lambda: wheel.arm(item, wheel.now_ms() + 1) if len(item.at_ms) < 3 else None)
    wheel.arm(item, wheel.now_ms())
    await until(lambda: len(item.at_ms) == 3)
    assert item.at_ms == sorted(set(item.at_ms))


async def test_an_item_that_arms_itself_for_much_later_delays_nobody(hand: HandWheel) -> None:
    item = Item(lambda: hand.arm(item, hand.now_ms() + 60_000))
    hand.arm(item, hand.now_ms())
    nearer = Item()
    hand.arm(nearer, at_ms := hand.now_ms() + 150)
    hand.turn(1000)
    assert nearer.at_ms == [at_ms]
    assert len(item.at_ms) == 1


async def test_an_item_may_disarm_others_of_its_slot(wheel: Wheel) -> None:
    """As the end of one attachment may be that of another; whichever of the two comes first."""
    at_ms = wheel.now_ms() + 50
    first: Item = Item(lambda: wheel.disarm(second))
    second: Item = Item(lambda: wheel.disarm(first))
    wheel.arm(first, at_ms)
    wheel.arm(second, at_ms)
    last = Item()
    wheel.arm(last, at_ms + RESOLUTION_MS)
    await until(lambda: bool(last.at_ms))
    assert len(first.at_ms) + len(second.at_ms) == 1


async def test_an_item_may_put_off_others_of_its_slot(wheel: Wheel) -> None:
    at_ms = wheel.now_ms() + 50
    first: Item = Item(lambda: wheel.arm(second, at_ms + 60_000))
    second: Item = Item(lambda: wheel.arm(first, at_ms + 60_000))
    wheel.arm(first, at_ms)
    wheel.arm(second, at_ms)
    last = Item()
    wheel.arm(last, at_ms + RESOLUTION_MS)
    await until(lambda: bool(last.at_ms))
    assert len(first.at_ms) + len(second.at_ms) == 1


async def test_one_that_fails_keeps_no_other_from_being_due(wheel: Wheel) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    at_ms = wheel.now_ms() + 50
    failing = [Item(lambda: 1 // 0) for _ in range(3)]
    others = [Item() for _ in range(10)]
    for item in (*failing, *others):
        wheel.arm(item, at_ms)
    await until(lambda: all(item.at_ms for item in (*failing, *others)))
    assert {len(item.at_ms) for item in (*failing, *others)} == {1}
    assert list(map(type, failures)) == [ZeroDivisionError] * 3


async def test_ten_thousand_items_share_a_few_timers(wheel: Wheel) -> None:
    chance = random.Random(4)
    now = wheel.now_ms()
    items = [Item() for _ in range(10_000)]
    for item in items:
        wheel.arm(item, now + 60_000)
    for item in items:
        wheel.arm(item, now + chance.randrange(200))
    kept = items[::2]
    for item in items[1::2]:
        wheel.disarm(item)
    await until(lambda: all(item.at_ms for item in kept))
    assert {len(item.at_ms) for item in kept} == {1}
    assert not any(item.at_ms for item in items[1::2])
    assert len({item.at_ms[0] for item in kept}) <= 200 / RESOLUTION_MS + 1


async def test_a_stopped_wheel_forgets_everything(hand: HandWheel) -> None:
    item = Item()
    hand.arm(item, hand.now_ms())
    hand.stop()
    hand.turn(2 * RESOLUTION_MS)
    assert item.at_ms == []
