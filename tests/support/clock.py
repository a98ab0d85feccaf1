"""The wall clock of this process, stopped and put forward by a test: for what expires.

The service reads it in many places, and all of them have to agree. The event loop's timers (heartbeats, holds) and
Redis have clocks of their own, which go on.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Shows one moment until it is put forward."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def forward(self, by_ms: int) -> None:
        """Let so many milliseconds pass."""
        self.at_ms += by_ms

    def ns(self) -> int:
        """Return the moment in unix nanoseconds."""
        return self.at_ms * 1_000_000

    def s(self) -> float:
        """Return the moment in unix seconds."""
        return self.at_ms / 1000


@contextmanager
def stopped_clock() -> Iterator[Clock]:
    """Stop the clock while the block runs, at a whole second: however long the block takes, nothing expires in it."""
    clock = Clock(int(time.time()) * 1000)
    with patch("time.time_ns", clock.ns), patch("time.time", clock.s):
        yield clock
