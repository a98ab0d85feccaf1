"""The three ways to carry the channel to a client. Each takes one answer, and returns the wait before the next, in s.

None of them holds a position: they attach at the follower's cursor and hand on what comes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import httpx2
import msgspec

from realtime.cli.remote import Trouble, check, decoded, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realtime.cli.follow import Follow
    from realtime.cli.session import Session

_OK: Final = 200
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 10.0
_RETRY_S: Final = 1.0
_LARGEST_EVENT: Final = 8 * 1024 * 1024
_TOO_SOON_S: Final = 0.25
"""An empty answer sooner than this was no wait at all: it must not become a busy loop."""


class Envelope(msgspec.Struct):
    """What is read of an envelope. One without an id is a control event."""

    event: str
    id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Answer(msgspec.Struct):
    """The body that long-poll and polling share; events stay as they were written."""

    cursor: str
    events: list[msgspec.Raw] = []
    control: list[Envelope] = []
    more: bool = False
    next_poll_ms: int = 5_000
    ticket: str | None = None


def sse(follow: Follow, session: Session) -> float:
    """Take a stream until its end (WHATWG HTML §9.2)."""
    offer, wait_s, heard = session.offer, _RETRY_S, False
    # Healthy is a line on which something arrives: silent for two heartbeats, it is dead, whatever TCP thinks.
    silence_s = max(offer.first_byte_timeout_ms, 2 * offer.heartbeat_ms) / 1000
    opening = follow.http.sse(
        offer.url,
        params=follow.parameters(session),
        headers={"Accept": "text/event-stream, application/problem+json"},
        timeout=httpx2.Timeout(silence_s, connect=_CONNECT_S),
        max_event_size=_LARGEST_EVENT,
    )
    with translated(), opening as source:
        if source.response.status_code != _OK:
            source.response.read()
            check(source.response)
        for message in source:
            heard = True
            follow.heard()
            if message.retry is not None:
                wait_s = message.retry / 1000
            if message.data:
                follow.take(message.data.encode())
            if message.id:
                follow.cursor = message.id
            if follow.leaves(session):
                break
    if not heard:
        raise Trouble("the stream ended before anything came")
    return wait_s


def long_poll(follow: Follow, session: Session) -> float:
    """Take one answer that is held until there is something to say."""
    hold_ms, asked = session.offer.hold_ms, time.monotonic()
    answer = _pull(follow, session, {"hold_ms": str(hold_ms)}, hold_ms / 1000 + _ANSWER_S)
    waited = answer.events or answer.more or time.monotonic() - asked >= _TOO_SOON_S
    return 0 if waited else _TOO_SOON_S


def polling(follow: Follow, session: Session) -> float:
    """Take one answer that comes at once, and says when to come again."""
    answer = _pull(follow, session, {}, _ANSWER_S)
    return 0 if answer.more else answer.next_poll_ms / 1000


def _pull(follow: Follow, session: Session, parameters: Mapping[str, str], timeout_s: float) -> Answer:
    with translated():
        response = follow.http.get(
            session.offer.url,
            params={**follow.parameters(session), **parameters},
            timeout=httpx2.Timeout(timeout_s, connect=_CONNECT_S),
        )
    check(response)
    answer = decoded(response.content, Answer)
    follow.heard()
    if answer.ticket is not None:
        session.renew(answer.ticket)
    # A truncation replaces the cursor from which the same answer goes on; whatever else there is to say comes after.
    later = [control for control in answer.control if not follow.truncated(control)]
    for raw in answer.events:
        follow.take(bytes(raw))
    follow.cursor = answer.cursor
    for control in later:
        follow.obey(control)
    return answer


CARRIERS: Final[Mapping[str, Callable[[Follow, Session], float]]] = {
    "sse": sse,
    "long-poll": long_poll,
    "polling": polling,
}
