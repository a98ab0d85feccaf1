"""What a worker waits for: requests that are not complete, counted, each with a deadline on the worker's wheel.

And whom it does not serve: while it has more to do than time, clients that left before their request was looked at.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from realtime.delivery.wheel import Wheel


_LEFT: Final = getattr(select, "POLLRDHUP", 0)
"""That the other side was closed, whatever has come and was not read yet: Linux tells."""


class Pressure(Protocol):
    """How busy a worker is."""

    factor: float
    """Above 1: it has had more to do than time, for seconds."""


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

    __slots__ = ("_poll", "bounds", "pressure", "size", "wheel")

    def __init__(self, wheel: Wheel, bounds: Bounds, pressure: Pressure) -> None:
        """Begin with none; deadlines are kept by a wheel."""
        self.wheel = wheel
        self.bounds = bounds
        self.pressure = pressure
        self.size = 0
        self._poll = select.poll()

    def now_ms(self) -> int:
        """Return the wheel's clock."""
        return self.wheel.now_ms()

    def has_left(self, descriptor: int) -> bool:
        """Tell whether the other side of a socket was closed: three calls of the system, for when there is pressure."""
        self._poll.register(descriptor, _LEFT)
        try:
            return bool(self._poll.poll(0))
        finally:
            self._poll.unregister(descriptor)
