"""How busy this worker is, and how much further apart it has polls come because of it.

Polls are the work that can be put off: a client that comes later misses nothing, for it has a cursor. So a worker that
has no time left tells its pollers to come more seldom, up to `MOST` times, and takes that back in small steps when it
has time again. It takes seconds of being busy, and no single hiccup does it.
"""

from __future__ import annotations

import time
from random import random
from typing import TYPE_CHECKING, Final

from realtime.delivery.wheel import RESOLUTION_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.delivery.wheel import Wheel

EVERY_MS: Final = 1_000
MOST: Final = 8.0
"""The most times the policy's interval."""
FULL: Final = 0.85
"""The share of a core from which a worker counts as having no time left."""
LATE_S: Final = 1.0
"""How late the event loop is when it counts as that too: on a machine where others take the time."""

_NEAREST: Final = 0.9
_STEPS: Final = 32
_STEP: Final = 0.2 / (_STEPS - 1)
_WEIGHT: Final = 0.3
_HARDEST: Final = 1.5
_CALM: Final = 0.8
_UP: Final = 1.2
_DOWN: Final = 0.95


class Stretch:
    """The factor, at least 1, that follows from how busy the last seconds were."""

    __slots__ = ("_pressure", "factor")

    def __init__(self) -> None:
        """Begin with time to spare."""
        self.factor = 1.0
        self._pressure = 0.0
        """1: as much as can be borne; an average in which the last seconds weigh most."""

    def note(self, busy: float, late_s: float) -> None:
        """Note a second: the share of a core that was used, and how late the event loop was at its end.

        Between having no time and having some to spare the factor stays, so that it doesn't swing.
        """
        pressure = min(max(busy / FULL, late_s / LATE_S), _HARDEST)
        self._pressure += _WEIGHT * (pressure - self._pressure)
        if self._pressure > 1:
            self.factor = min(self.factor * _UP, MOST)
        elif self._pressure < _CALM:
            self.factor = max(self.factor * _DOWN, 1.0)


class Pace:
    """When those who poll at one interval are to come again."""

    __slots__ = ("_stretch", "interval_ms")

    def __init__(self, interval_ms: int, stretch: Stretch) -> None:
        """Have them apart by an interval, and further while there is no time."""
        self.interval_ms = interval_ms
        """Where there is time."""
        self._stretch = stretch

    def draw(self) -> int:
        """Draw from 0.9 to 1.1 of it, in ms, in steps: answers that are equal but for this are made once."""
        return int(self.interval_ms * self._stretch.factor * (_NEAREST + int(random() * _STEPS) * _STEP))


class Load:
    """Measures this process once a second, on the wheel: what the wheel is late by is what everything else is."""

    __slots__ = ("_at_ms", "_cpu", "_used", "_wheel", "busy", "stretch")

    def __init__(self, wheel: Wheel, cpu: Callable[[], float] = time.process_time) -> None:
        """Measure on a wheel; `cpu` returns the seconds of a core that this process has used."""
        self._wheel = wheel
        self._cpu = cpu
        self.stretch = Stretch()
        self._at_ms = 0
        self._used = 0.0
        self.busy = 0.0
        """The share of a core that was used in the last second."""

    @property
    def factor(self) -> float:
        """How many times the policy's interval polls are apart just now."""
        return self.stretch.factor

    def pace(self, interval_ms: int) -> Pace:
        """Return how far apart polls are to come, where the policy has them apart by so much."""
        return Pace(interval_ms, self.stretch)

    def begin(self) -> None:
        """Begin to measure, until the wheel is stopped."""
        self._arm(self._wheel.now_ms())

    def due(self, now_ms: int) -> None:
        """Take what passed since the last time; whatever goes wrong, there is a next time."""
        begun_ms, late_ms, used = self._at_ms - EVERY_MS, now_ms - self._at_ms - RESOLUTION_MS, self._used
        self._arm(now_ms)
        self.busy = (self._used - used) * 1000 / max(now_ms - begun_ms, 1)
        self.stretch.note(self.busy, max(0, late_ms) / 1000)

    def _arm(self, now_ms: int) -> None:
        self._at_ms, self._used = now_ms + EVERY_MS, self._cpu()
        self._wheel.arm(self, self._at_ms)
