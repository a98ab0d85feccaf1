"""The hot ``GET``s: one operation for each transport that is installed, plug-ins included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from realtime.errors import (
    AtCapacity,
    ConnectionLimit,
    Draining,
    HistoryTruncated,
    LogUnavailable,
    MalformedParameter,
    NoTransport,
    ScopeNotHeld,
    TransportNotOffered,
)
from realtime.offers import EVENTS
from realtime.openapi.answers import CURSOR, Events, Polled
from realtime.openapi.operation import CLIENT, REFUSED, Answer, Operation, header, query
from realtime.openapi.parameters import AUDIENCE, EVENT_TYPES, LIMIT, SCOPES, position
from realtime.openapi.samples import AFTER, ID, POLLED, STREAM
from realtime.request import CURSOR_ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realtime.errors import GaplessError
    from realtime.openapi.operation import Parameter
    from transports.transport import Transport

_COMMON: Final = (MalformedParameter, *REFUSED, ScopeNotHeld, TransportNotOffered, LogUnavailable, NoTransport)
_HOLD: Final = query(
    "hold_ms",
    "How long to wait for an event at most, in milliseconds; the policy's `hold_ms` if that is less. 0 doesn't wait.",
    {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
    25_000,
)
_WHERE: Final = f"Where to go on (also taken as {', '.join(f'`{name}`' for name in CURSOR_ALIASES)})"
_UNLESS: Final = header(
    "If-None-Match",
    "The `ETag` of the last answer; `304` when there is nothing to say beyond it.",
    {"type": "string"},
    f'"{ID}"',
)
_STREAM: Final = """\
Whoever sends an `Accept` with `text/event-stream` and without `application/problem+json`, as a stock `EventSource`
does, is told in the stream's own terms what others are told with a status: when it is moved to another transport, it
gets what is new, `retry:`, and the end (SSE-polling); when the service can't serve it now, `retry:`, the control event
`connection.deferred`, and the end."""
_CACHING: Final = {"Cache-Control": "`private, no-store`; with `audience=public`, `public, max-age=1`"}
_UNLESS_ASKED_AGAIN: Final = {
    "Cache-Control": f"{_CACHING['Cache-Control']}, or `no-store` where the `cursor` is the one that was given"
}


class _Own(NamedTuple):
    """What is particular to one transport."""

    summary: str
    answers: tuple[Answer, ...]
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[GaplessError], ...] = ()
    description: str = ""


_BUILT_IN: Final = {
    "sse": _Own(
        "Follow the events as a stream",
        (
            Answer(
                200,
                "Control events and events, until the stream's lifetime is over.",
                example=STREAM,
                media_type="text/event-stream; charset=utf-8",
                headers={"Cache-Control": "`no-store, no-transform`", "X-Accel-Buffering": "`no`"},
            ),
        ),
        errors=(ConnectionLimit, AtCapacity, Draining),
        description=_STREAM,
    ),
    "long-poll": _Own(
        "Wait for events",
        (
            Answer(
                200,
                "What is new, as soon as there is something; empty when the hold has passed.",
                Events,
                {**AFTER, "control": []},
                headers=_UNLESS_ASKED_AGAIN,
            ),
        ),
        (_HOLD, LIMIT),
        (HistoryTruncated, AtCapacity, Draining),
        "Without a cursor it is answered at once, with the position to begin at.",
    ),
    "polling": _Own(
        "Ask for events",
        (
            Answer(
                200,
                "What is new, and when to come again.",
                Polled,
                POLLED,
                headers={**_CACHING, "ETag": "`W/` and the cursor, in double quotes"},
            ),
            Answer(
                304,
                "Nothing is to be said: the cursor stays.",
                headers={
                    **_CACHING,
                    "ETag": "That of the request",
                    "Retry-After": "When to come again, in seconds",
                },
            ),
        ),
        (LIMIT, _UNLESS),
        (HistoryTruncated, Draining),
    ),
}


def operations(transports: Iterable[Transport]) -> tuple[Operation, ...]:
    """Describe the transports."""
    return tuple(_operation(transport) for transport in transports)


def _operation(transport: Transport) -> Operation:
    own = _BUILT_IN.get(transport.name) or _plugin(transport)
    return Operation(
        "GET",
        f"{EVENTS}/{transport.path}",
        transport.name,
        "transports",
        own.summary,
        own.answers,
        (*_COMMON, *own.errors),
        own.description,
        CLIENT,
        (position("cursor", _WHERE), EVENT_TYPES, SCOPES, AUDIENCE, *own.parameters, *_resuming(transport)),
    )


def _resuming(transport: Transport) -> tuple[Parameter, ...]:
    if not transport.resumes_by:
        return ()
    name = transport.resumes_by.title().replace("Id", "ID")
    said = "The position that the client repeats by itself; comes before `cursor`."
    return (header(name, said, {"type": "string", "examples": [ID, CURSOR]}, ID),)


def _plugin(transport: Transport) -> _Own:
    """Describe what we know of any transport."""
    doc = " ".join((type(transport).__doc__ or "").split())
    answer = Answer(200, "What is new.", example="", media_type=transport.media_type)
    errors = (ConnectionLimit,) if transport.stays_open else (HistoryTruncated,)
    return _Own(f"Follow the events by {transport.name}", (answer,), (LIMIT,), (*errors, AtCapacity, Draining), doc)
