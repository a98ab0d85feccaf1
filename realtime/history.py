"""History: what the log still has, page by page (PROTOCOL §4, History)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.errors import HistoryTruncated, LogUnavailable
from realtime.parameters import is_public, position, visible, whole_number
from transports.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.auth import Identity
    from realtime.channel.event import Cursor, Entry
    from realtime.channel.follower import Follower
    from realtime.request import Request

_LIMIT = "100"
_MOST_EVENTS = 1_000


class History:
    """Reads pages of the log."""

    def __init__(self, follower: Follower) -> None:
        """Read up to the latest position that the follower knows."""
        self._follower = follower

    async def page(self, identity: Identity, request: Request) -> Answer:
        """Answer with the visible events after ``since_id``, up to ``until_id``.

        Raises:
            MalformedParameter: a parameter is not of its grammar.
            ScopeNotHeld: a scope was asked for that is not held.
            HistoryTruncated: events after ``since_id`` are gone.
            LogUnavailable: Redis does not answer.
        """
        seen = visible(identity, request.query.get("scopes"), request.query.get("events"))
        limit = whole_number("limit", request.query.get("limit", _LIMIT), 1, _MOST_EVENTS)
        until = _cursor(request, "until_id")
        asked = _cursor(request, "since_id")
        if not self._follower.filled:
            message = "this gateway has not read the log yet: try again"
            raise LogUnavailable(message)
        since = asked or (await self._follower.log.check(self._follower.tail, seen)).floor
        replay = await self._follower.log.replay(seen, since, self._follower.tail, limit, until)
        while not asked and not replay.verdict.good:  # cut away meanwhile
            since = replay.verdict.floor
            replay = await self._follower.log.replay(seen, since, self._follower.tail, limit, until)
        if not replay.verdict.good:
            message = "history after this cursor is gone: read on from the floor"
            raise HistoryTruncated(message, floor=str(replay.verdict.floor))
        entries, more = replay.entries, replay.more
        public = is_public(request)
        cursor = replay.position
        if more or public:  # what is hidden moves no public cursor
            cursor = entries[-1].id if entries else since
        return _answer(entries, cursor, more=more, public=public)


def _answer(entries: Sequence[Entry], cursor: Cursor, *, more: bool, public: bool) -> Answer:
    events = b",".join(entry.envelope() for entry in entries)
    body = b'{"events":[%b],"cursor":"%d-%d","more":%b}' % (events, *cursor, b"true" if more else b"false")
    caching = b"public, max-age=1" if public else b"private, no-store"
    return Answer(200, ((b"content-type", b"application/json"), (b"cache-control", caching)), body)


def _cursor(request: Request, name: str) -> Cursor | None:
    text = request.query.get(name)
    return None if text is None else position(name, text).cursor
