"""One timer wheel for all heartbeats, holds and lifetimes of a process.

Coarse on purpose: deadlines that fall into the same slot share one timer of the event loop. An item is armed once, for
the nearest of its deadlines; when it is due it looks what has passed and arms itself again.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

RESOLUTION_MS = 50


class Timed(Protocol):
    """What hangs on the wheel."""

    def due(self, now_ms: int) -> None:
        """Hear that the armed deadline has passed; `now_ms` is the wheel's clock."""


class Wheel:
    """Slots of `RESOLUTION_MS`, each a set of items; one timer of the loop for the nearest slot."""

    def __init__(self) -> None:
        """Begin empty."""
        self._slots: dict[int, set[Timed]] = {}
        self._slot_of: dict[Timed, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._nearest = 0

    def now_ms(self) -> int:
        """Return the wheel's clock: monotonic milliseconds."""
        return time.monotonic_ns() // 1_000_000

    def arm(self, item: Timed, at_ms: int) -> None:
        """Have `item.due` called at a moment of the wheel's clock or up to a slot later; replaces its earlier one."""
        self.disarm(item)
        slot = -(-at_ms // RESOLUTION_MS)
        self._slots.setdefault(slot, set()).add(item)
        self._slot_of[item] = slot
        if self._timer is None or slot < self._nearest:
            self._set(slot)

    def disarm(self, item: Timed) -> None:
        """Forget an item, armed or not."""
        slot = self._slot_of.pop(item, None)
        if slot is not None:
            items = self._slots[slot]
            items.discard(item)
            if not items:
                del self._slots[slot]

    def stop(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()
        self._slot_of.clear()

    def _set(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._nearest = slot
        delay_s = max(0, slot * RESOLUTION_MS - self.now_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)

    def _turn(self) -> None:
        """Call what is due, unless it was disarmed or put off by what was due before it."""
        self._timer = None
        now = self.now_ms()
        slots = sorted(slot for slot in self._slots if slot * RESOLUTION_MS <= now)
        due = [item for slot in slots for item in self._slots[slot]]
        try:
            for item in due:
                slot = self._slot_of.get(item)
                if slot is not None and slot * RESOLUTION_MS <= now:
                    self.disarm(item)
                    item.due(now)
        finally:
            if self._slots:  # what was armed meanwhile has set the timer, for itself: others may be nearer
                self._set(min(self._slots))
