"""Who comes and goes: clients that poll are connected too, though nothing of theirs is open between two requests."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from realtime.channel.event import Cursor
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.plan import Plan

_MOST: Final = 50_000
_INTERVALS: Final = 3
_LEAST_S: Final = 30.0


@dataclass(slots=True)
class Visit:
    """A client's last request, that was answered and went."""

    name: str
    """What its client is known as."""
    transport: str
    plan: Plan
    cursor: Cursor | None
    """Where it began to read."""
    at: float
    """When, by a clock that never goes back, in seconds."""
    next_poll_ms: int
    """How long after it its client was told to come again."""

    @property
    def until(self) -> float:
        """Until when the client may still come back as it was told to."""
        return self.at + max(_LEAST_S, _INTERVALS * self.next_poll_ms / 1000)


class Presence:
    """The visits of this worker, the latest of each client."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self._clock = clock
        self._visits: OrderedDict[str, Visit] = OrderedDict()

    def visited(self, transport: str, plan: Plan, cursor: Cursor | None) -> None:
        """Note a request of a client that does not stay."""
        if plan.terms.public:
            return
        name = known_as(plan.session, transport, plan.context.sub)
        self._visits.pop(name, None)
        self._visits[name] = Visit(name, transport, plan, cursor, self._clock(), plan.terms.next_poll_ms)
        if len(self._visits) > _MOST:
            self._visits.popitem(last=False)

    def again(self, name: str, cursor: Cursor, next_poll_ms: int) -> bool:
        """Note that a client came again as before; tell whether it was known to be present."""
        visit = self._visits.get(name)
        if visit is None:
            return False
        visit.cursor, visit.next_poll_ms, visit.at = cursor, next_poll_ms, self._clock()
        return True

    def stayed(self, transport: str, plan: Plan) -> None:
        """Forget who was served as `transport` on the way to what stays open now, and has no session to be known by."""
        if plan.among is not None:
            self._visits.pop(known_as("", transport, plan.context.sub), None)

    def visits(self, attached: Iterable[Attachment] = ()) -> Iterator[Visit]:
        """Return the clients that are present, less those with something open; who is not any more is forgotten."""
        now = self._clock()
        open_ = {known_as(one.plan.session, one.transport.name, one.plan.context.sub) for one in attached}
        for name, visit in list(self._visits.items()):
            if visit.until <= now:
                del self._visits[name]
            elif name not in open_:
                yield visit


def known_as(session: str, transport: str, sub: str | None) -> str:
    """Return what one client is known as: its session, or what stands for it where there is no ticket."""
    return session or f"{transport} {sub or ''}"
