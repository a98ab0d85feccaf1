"""Which request a line of the logs is about: the trace of W3C's Trace Context, for what isn't served in bulk.

A caller's ``traceparent`` is honoured; without one, or with one that can't be read, a trace begins here. Its id stands
in every line that is written while the request is served, and in the answer's ``X-Request-Id``, so that whoever asks
about an answer can be helped. Streams, long-polls and polls are not traced: they are told apart by their sessions.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Part = MutableMapping[str, Any]
    Send = Callable[[Part], Awaitable[None]]

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
TRACEPARENT: Final = b"traceparent"
_ZEROS: Final = frozenset("0")


class Parent(NamedTuple):
    """What a caller says of its trace; ids in hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool


class Span(Protocol):
    """What a tracer is told of one request."""

    trace_id: str

    def end(self, method: str, route: str, status: int) -> None:
        """Hear how it ended; `route` is a template of ours, or empty."""


class Tracer(Protocol):
    """Who keeps traces."""

    def start(self, parent: Parent | None) -> Span:
        """Begin a request's span."""


class Trace:
    """One request's trace."""

    __slots__ = ("_scope", "_span", "id", "status")

    def __init__(self, scope: dict[str, Any], tracer: Tracer | None) -> None:
        """Begin to serve an ASGI request, and have all that is logged meanwhile say so."""
        parent = read(scope)
        self._scope = scope
        self._span = tracer.start(parent) if tracer else None
        self.id = self._span.trace_id if self._span else parent.trace_id if parent else _new_id()
        self.status = 0
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=self.id)

    def wrap(self, send: Send, *, names_it: bool) -> Send:
        """Watch the answer, and unless it is for everybody, put the id into it."""

        async def with_id(part: Part) -> None:
            if part["type"] == "http.response.start":
                self.status = part["status"]
            if names_it and part["type"] == "http.response.start":
                part["headers"] = [*part["headers"], self.header]
            await send(part)

        return with_id

    @property
    def header(self) -> tuple[bytes, bytes]:
        """The field of an answer that says so."""
        return b"x-request-id", self.id.encode()

    @property
    def route(self) -> str | None:
        """The template of what was asked for, where there is such a thing."""
        return self._scope.get("route")

    def end(self) -> None:
        """Tell that the request was served."""
        if self._span is not None:
            self._span.end(self._scope["method"], self.route or "", self.status)


def _new_id() -> str:
    """Make an id to tell a trace from others: no secret, so it is made without a call of the system."""
    return f"{random.getrandbits(128):032x}"


def read(scope: dict[str, Any]) -> Parent | None:
    """Read the ``traceparent`` of an ASGI request (Trace Context, section 3.2); what is invalid is none."""
    found = [value for name, value in scope["headers"] if name == TRACEPARENT]
    match = _TRACEPARENT.fullmatch(found[0]) if len(found) == 1 else None
    if match is None:
        return None
    version, trace_id, span_id, flags = (match[group].decode() for group in (1, 2, 3, 4))
    if version == "ff" or (version == "00" and match[5]) or set(trace_id) == _ZEROS or set(span_id) == _ZEROS:
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1))
