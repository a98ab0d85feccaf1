"""Polls of clients that are known, answered on the spot: no attachment is made for what waits for nothing.

Only what is plain: the cursor is in the window, everything after it fits into one answer, and there is nothing to say
but events. Whatever else a client is to be told (a gap, a move, a new ticket, the end of a token), an attachment does.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from realtime.channel.event import parse_cursor
from realtime.channel.reader import BATCH_BYTES
from realtime.compression import packed
from realtime.delivery.attachment import encode
from realtime.offers import EVENTS
from transports.transport import Delivery, Terms, with_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.attach import Channel
    from realtime.channel.event import Control, Cursor, Entry
    from realtime.metrics import Metrics
    from realtime.plan import Planner
    from realtime.standing import Standing, Standings
    from transports.transport import Answer

_MOST_MADE: Final = 512


class Polls:
    """Answers them."""

    def __init__(
        self,
        standings: Standings,
        planner: Planner,
        channel: Channel,
        farewell: Callable[[str], Control | None],
        metrics: Metrics,
    ) -> None:
        """Answer those whose standing is known; `farewell` knows what a session is told that was sent away."""
        self._standings = standings
        self._planner = planner
        self._channel = channel
        self._farewell = farewell
        self._metrics = metrics
        self._made: dict[tuple[object, ...], Answer] = {}

    def answer(self, key: bytes, cursor: bytes) -> Answer | None:
        """Answer a request known by its bytes, at a cursor; `None`: it is not plain, and nothing was done."""
        standing = self._standings.get(key)
        if standing is None or standing.hold_ms or standing.is_public or self._channel.hub.is_closed:
            return None
        try:
            after = parse_cursor(cursor.decode("ascii"))
        except ValueError:
            return None
        entries = self._read(standing, after)
        if entries is None:
            return None
        next_poll_ms = self._planner.next_poll(standing.served.parameters)
        if time.time_ns() // 1_000_000 + 2 * next_poll_ms > standing.expires_ms or self._farewell(standing.session):
            return None
        if not self._channel.presence.again(standing.name, after, next_poll_ms):
            return None
        answer = self._answer(standing, entries, next_poll_ms)
        polled = self._metrics.polled(standing.transport.name, f"{EVENTS}/{standing.transport.path}")
        polled.answers += 1
        polled.events += len(entries)
        polled.written += len(answer.body)
        return answer

    def _read(self, standing: Standing, after: Cursor) -> Sequence[Entry] | None:
        """Read what lies after a cursor, if it is all at hand."""
        follower = self._channel.follower
        window = follower.window
        if follower.is_behind or follower.is_in_doubt:
            return None
        if after == window.position:
            return ()
        if not window.holds(after):
            return None
        batch = window.read(standing.seen, after, standing.limit)
        if batch.more or sum(entry.size for entry in batch.entries) > BATCH_BYTES:
            return None
        return batch.entries

    def _answer(self, standing: Standing, entries: Sequence[Entry], next_poll_ms: int) -> Answer:
        """Make an answer, or take the one that was made for others who see the same."""
        position = self._channel.follower.window.position
        transport = standing.transport
        alike = (transport.name, position, next_poll_ms, standing.gzip, *[entry.id for entry in entries])
        answer = self._made.get(alike)
        if answer is None:
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            delivery = Delivery([encode(transport, entry) for entry in entries], (), position)
            made = packed(transport.answer(_terms(next_poll_ms), delivery), takes_gzip=standing.gzip)
            answer = self._made[alike] = with_length(made)
        return answer


def _terms(next_poll_ms: int) -> Terms:
    return Terms(retry_ms=0, next_poll_ms=next_poll_ms, stays_open=False)
