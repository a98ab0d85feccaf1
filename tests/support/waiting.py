"""Waits on conditions, bounded by turns of the event loop instead of by the clock.

A test never sleeps "long enough". It waits for a condition (`until`), or for anything else within `patience`; what may
not come is shown by something later that comes first. Where a duration is part of the story, it is an `interlude`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long anything may take while the machine does not stall: far more than any test needs."""
_TURN_S = 0.25
_LOOK_AGAIN_S = 0.01


@asynccontextmanager
async def patience(patience_s: float = PATIENCE_S) -> AsyncIterator[None]:
    """Bound a block by turns of this event loop, of 250 ms each: a stall of the machine counts as one turn.

    Args:
        patience_s: how many seconds the turns last on a machine that does not stall.

    Raises:
        TimeoutError: the turns are over before the block is.
    """
    async with asyncio.timeout(None) as bound:
        turns = _Turns(bound, round(patience_s / _TURN_S))
        try:
            yield
        finally:
            turns.stop()


async def until(holds: Callable[[], bool | Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds, which is looked at every 10 ms.

    Raises:
        TimeoutError: it does not hold within `patience`.
    """
    async with patience(patience_s):
        while not await _value(holds()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_LOOK_AGAIN_S)


async def at_once(answer: Awaitable[T], hold_s: float = 25.0) -> T:
    """Await what must not be held; if it is, it comes after `hold_s`, which is the default of long-poll.

    Raises:
        TimeoutError: it took most of the hold, in turns as of `patience`.
    """
    async with patience(hold_s * 0.8):
        return await answer


def until_here(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds, where no event loop runs.

    Raises:
        TimeoutError: it does not hold after as many looks, 10 ms apart, as fit into `patience_s`.
    """
    for _ in range(round(patience_s / _LOOK_AGAIN_S)):
        if holds():
            return
        time.sleep(_LOOK_AGAIN_S)
    raise TimeoutError


async def interlude(for_s: float) -> None:
    """Let time pass that belongs to the story, such as the length of an outage.

    No assertion may depend on its being long or short enough: with an interlude of nothing, or of an hour, the test
    has to have the same result.
    """
    await asyncio.sleep(for_s)


class _Turns:
    """Lets a timeout expire after so many turns; no task, for some tests count those."""

    def __init__(self, bound: asyncio.Timeout, left: int) -> None:
        self._bound = bound
        self._left = left
        self._turn()

    def stop(self) -> None:
        self._timer.cancel()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        self._left -= 1
        if self._left < 0:
            self._bound.reschedule(loop.time())
        else:
            self._timer = loop.call_later(_TURN_S, self._turn)


async def _value(result: bool | Awaitable[bool]) -> bool:
    return result if not isawaitable(result) else await result
