"""What a worker waits for: requests that are not complete, counted, each with a deadline on the worker's wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from realtime.delivery.wheel import Wheel


class Bounds(NamedTuple):
    """What one request may take before it is complete."""

    head_bytes: int
    """Of the target and the header fields, trailer fields included; also of what the parser can make nothing of."""
    head_fields: int
    head_ms: int
    """For a head; and for the first one to begin, on a connection."""
    body_ms: int
    """For a body, which may take longer as long as it comes at `body_rate`."""
    body_rate: int
    """Bytes a second."""


class Watch:
    """The connections of one worker that owe it the rest of a request, or their first."""

    __slots__ = ("bounds", "size", "wheel")

    def __init__(self, wheel: Wheel, bounds: Bounds) -> None:
        """Begin with none; deadlines are kept by a wheel."""
        self.wheel = wheel
        self.bounds = bounds
        self.size = 0

    def now_ms(self) -> int:
        """Return the wheel's clock."""
        return self.wheel.now_ms()
