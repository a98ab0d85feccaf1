"""Wait for what tells nobody when it comes true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE_S = 30.0
"""How long anything may take on a machine that is busy with other tests."""
_LOOK_AGAIN_S = 0.01


async def until(holds: Callable[[], bool | Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it doesn't.
    """
    async with asyncio.timeout(patience_s):
        while not await _value(holds()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(_LOOK_AGAIN_S)


async def _value(result: bool | Awaitable[bool]) -> bool:
    return result if not isawaitable(result) else await result
