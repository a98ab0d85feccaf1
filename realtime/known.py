"""Clients that are known, served on the spot: their polls at once, their long-polls by the plan of the last one.

Only what is plain: the cursor is in the window or at its end, and there is nothing to say but events. Whatever else a
client is to be told (a gap, a move, the end of its token), and whoever is not known, is served by `attach`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from realtime.channel.event import parse_cursor
from realtime.channel.reader import BATCH_BYTES, Reader, Start
from realtime.delivery.attachment import Attachment
from realtime.offers import EVENTS
from realtime.plan import EARLY_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.attach import Channel
    from realtime.channel.event import Control, Cursor, Entry
    from realtime.delivery.exchange import Exchange
    from realtime.limits import Limits
    from realtime.metrics import Metrics
    from realtime.plan import Planner
    from realtime.standing import Known, Standing, Standings
    from transports.transport import Answer


class KnownClients:
    """Serves them, by the bytes of their requests."""

    def __init__(  # noqa: PLR0913, PLR0917 - what `attach` asks of its parts, that is the same for a known client
        self,
        standings: Standings,
        planner: Planner,
        limits: Limits,
        channel: Channel,
        farewell: Callable[[str], Control | None],
        metrics: Metrics,
    ) -> None:
        """Serve those whose standing is known; `farewell` knows what a session is told that was sent away."""
        self._standings = standings
        self._planner = planner
        self._limits = limits
        self._channel = channel
        self._farewell = farewell
        self._metrics = metrics

    def answer(self, key: bytes, cursor: bytes) -> Answer | None:
        """Answer a poll at a cursor; `None`: it is none, or not plain, and nothing was done."""
        known = self._plain(key)
        if known is None or known.standing.hold_ms:
            return None
        after = _position(cursor)
        entries = None if after is None else self._read(known.standing, after)
        if after is None or entries is None:
            return None
        standing = known.standing
        next_poll_ms = self._planner.next_poll(standing.served.parameters)
        if not self._is_back(standing, after, next_poll_ms, 2 * next_poll_ms):
            return None
        window, answers = self._channel.follower.window, self._channel.hub.answers
        answer = answers.plain(
            standing.transport, entries, window.position, next_poll_ms=next_poll_ms, gzip=standing.gzip
        )
        polled = self._metrics.polled(standing.transport.name, f"{EVENTS}/{standing.transport.path}")
        polled.answers += 1
        polled.events += len(entries)
        polled.written += len(answer.body)
        return answer

    def wait(self, key: bytes, cursor: bytes, exchange: Exchange) -> bool:
        """Attach a long-poll at a cursor; `False`: it is none, or not plain, and nothing was done."""
        known = self._plain(key)
        if known is None or not known.standing.hold_ms or self._limits.is_full:
            return False
        after = _position(cursor)
        if after is None or not self._channel.follower.window.holds(after):
            return False
        standing, plan = known
        if not self._is_back(standing, after, plan.terms.next_poll_ms, standing.hold_ms + EARLY_MS):
            return False
        path = f"{EVENTS}/{standing.transport.path}"
        exchange.counted = partial(self._metrics.answered, "GET", path)
        follower, replays, hub, _, _ = self._channel
        reader = Reader(follower, replays, standing.seen, Start(after))
        Attachment(hub, reader, standing.transport, exchange, plan).start()
        return True

    def _plain(self, key: bytes) -> Known | None:
        """Return who asks, if that is known and this gateway has all that there is."""
        follower = self._channel.follower
        if self._channel.hub.is_closed or follower.is_behind or follower.is_in_doubt:
            return None
        return self._standings.get(key)

    def _is_back(self, standing: Standing, after: Cursor, next_poll_ms: int, wait_ms: int) -> bool:
        """Note that a client came as before, if it need not be told that something ends."""
        if time.time_ns() // 1_000_000 + wait_ms > standing.expires_ms or self._farewell(standing.session):
            return False
        return self._channel.presence.again(standing.name, after, next_poll_ms)

    def _read(self, standing: Standing, after: Cursor) -> Sequence[Entry] | None:
        """Read what lies after a cursor, if it is all at hand, and one answer holds it."""
        window = self._channel.follower.window
        if after == window.position:
            return ()
        if not window.holds(after):
            return None
        batch = window.read(standing.seen, after, standing.limit)
        if batch.more or sum(entry.size for entry in batch.entries) > BATCH_BYTES:
            return None
        return batch.entries


def _position(cursor: bytes) -> Cursor | None:
    try:
        return parse_cursor(cursor.decode("ascii"))
    except ValueError:
        return None
