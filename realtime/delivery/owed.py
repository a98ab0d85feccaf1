"""Those of crowds who are owed an answer, each with the cursor at which it stands.

To answer one who waits is to have its next request a moment later: a crowd that waits would keep a worker from all
else for as long as it takes to answer everybody. So it is answered some at a time, while streams and publishers are
served in between; whoever's turn comes late is given all that has come meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realtime.channel.event import Cursor
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.meter import Meter

AT_ONCE: Final = 16
"""Attachments that are answered in one turn of the event loop, and ask again in the next: half a millisecond's work.

Whatever takes several turns is late by that in each: an event on its way from its publisher to a stream takes several.
"""

CATCH_UP_MS: Final = 1_000
"""How long an answer may wait for what is known to have happened, and has not been followed yet."""

_log = structlog.get_logger("gapless.delivery")


class Owed:
    """Who is owed an answer, the longest first."""

    def __init__(self, meter: Meter) -> None:
        """Begin with nobody; how late events arrive is counted by `meter`."""
        self._meter = meter
        self._cursors: OrderedDict[Attachment, Cursor] = OrderedDict()
        self._is_paying = False
        self._timer: asyncio.TimerHandle | None = None

    def owe(self, attachments: Iterable[Attachment], since: Cursor) -> None:
        """Let some know of what came after a cursor; who is owed something already stands at an earlier one."""
        for attachment in attachments:
            self._cursors.setdefault(attachment, since)

    def cursor_of(self, attachment: Attachment) -> Cursor | None:
        """Return where one stands that is owed something."""
        return self._cursors.get(attachment)

    def drop(self, attachment: Attachment) -> None:
        """Owe one nothing any more."""
        self._cursors.pop(attachment, None)

    def pay_within(self, ms: int) -> None:
        """Answer after a time what was not answered by then: one timer for all."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(ms / 1000, self._pay_late)

    def _pay_late(self) -> None:
        self._timer = None
        self.pay()

    def pay(self) -> None:
        """Answer some now, and the others in later turns."""
        if not self._is_paying:
            self._pay()

    def _pay(self) -> None:
        arrived: Counter[tuple[str, int]] = Counter()
        try:
            for _ in range(min(len(self._cursors), AT_ONCE)):
                attachment, cursor = self._cursors.popitem(last=False)
                first = self._give(attachment, cursor)
                if first is not None:
                    arrived[attachment.transport.name, first.ms] += 1
            for (name, appended_ms), clients in arrived.items():
                self._meter.arrived(name, appended_ms, clients)
        finally:
            self._is_paying = bool(self._cursors)
            if self._is_paying:
                asyncio.get_running_loop().call_soon(self._pay)

    def _give(self, attachment: Attachment, cursor: Cursor) -> Cursor | None:
        """Answer one; return the id of the first event that it was given, if any."""
        try:
            return attachment.pay(cursor)
        except Exception:  # noqa: BLE001 - a server's or ours, of one answer: all others get theirs
            _log.exception("delivery failed", transport=attachment.transport.name)
            attachment.closed()
        return None
