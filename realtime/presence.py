"""Who comes and goes: clients that poll are connected too, though nothing of theirs is open between two requests."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.channel.event import Cursor
    from realtime.delivery.attachment import Plan

_MOST: Final = 50_000
_INTERVALS: Final = 3
_LEAST_S: Final = 30.0


class Visit(NamedTuple):
    """A request that was answered and went."""

    session: str
    """The session, or what stands for it where there is no ticket."""
    transport: str
    plan: Plan
    cursor: Cursor | None
    """Where it began to read."""
    at: float
    """When, by a clock that never goes back, in seconds."""

    @property
    def is_present(self) -> bool:
        """Whether the client may still come back as it was told to."""
        return time.monotonic() - self.at < max(_LEAST_S, _INTERVALS * self.plan.terms.next_poll_ms / 1000)


class Presence:
    """The visits of this worker, the latest of each session."""

    def __init__(self) -> None:
        """Begin with none."""
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def visited(self, transport: str, plan: Plan, cursor: Cursor | None) -> None:
        """Note a request of a client that does not stay."""
        if plan.terms.public:
            return
        session = plan.session or f"{transport} {plan.context.sub or ''}"
        self._visits.pop(session, None)
        self._visits[session] = Visit(session, transport, plan, cursor, time.monotonic())
        if len(self._visits) > _MOST:
            self._visits.popitem(last=False)

    def visits(self) -> Iterator[Visit]:
        """Return the clients that are present; those that are not any more are forgotten."""
        for session, visit in list(self._visits.items()):
            if visit.is_present:
                yield visit
            else:
                del self._visits[session]
