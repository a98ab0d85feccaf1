"""What a transport is: a pure encoder of one channel's events onto an HTTP answer.

It says how events, control events, refusals and a position look on the wire, how long an answer may be held, and
whether it stays open. It does no I/O, waits for nothing, and knows neither Redis nor a web framework: the engine
(``realtime.delivery``) does all of that, once, for all transports. A new transport is one file with one subclass of
`Transport`; ``docs/transports.md`` shows one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from realtime.errors import PROBLEM_MEDIA_TYPE, GaplessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Control, Cursor, Entry

Headers = tuple[tuple[bytes, bytes], ...]
Parameters = Mapping[str, int]
"""A transport's parameters as a decision carries them: names of the wire, ending in ``_ms``."""


class Answer(NamedTuple):
    """The begin of an HTTP answer, or the whole of it: status, header fields, and bytes of the body."""

    status: int
    headers: Headers
    body: bytes = b""


def with_length(answer: Answer) -> Answer:
    """Return a whole answer with the length of its body among its header fields (RFC 9110 §8.6)."""
    status, headers, body = answer
    return Answer(status, (*headers, (b"content-length", b"%d" % len(body))), body)


class Terms(NamedTuple):
    """What was settled for one attachment before it began. Durations in milliseconds, jitter already in them."""

    retry_ms: int
    next_poll_ms: int = 0
    lifetime_ms: int = 0
    stays_open: bool = True
    public: bool = False
    given: Cursor | None = None
    """The cursor that came with the request."""
    repeats: bool = False
    """Whether the client's next request is this one again if `given` is still its cursor."""
    unchanged: bool = False
    """Whether the client says that it holds the answer to exactly `given` (If-None-Match), young enough to keep."""


class Delivery(NamedTuple):
    """What one answer that does not stay open carries."""

    frames: Sequence[bytes]
    controls: Sequence[bytes]
    position: Cursor
    more: bool = False
    ticket: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.frames or self.controls or self.ticket)


class Transport(ABC):
    """A way of carrying the log to a client."""

    name: ClassVar[str]
    path: ClassVar[str]
    """Below ``/api/v1/events/``."""
    media_type: ClassVar[str]
    stays_open: ClassVar[bool]
    resumes_by: ClassVar[str] = ""
    """The header field, in lower case, in which a client repeats its last position by itself; else none."""
    moves_to: ClassVar[str] = ""
    """The transport whose manners this one takes on, on its own URL, where it may not stay open; else none."""

    @abstractmethod
    def frame(self, entry: Entry) -> bytes:
        """Encode one event."""

    @abstractmethod
    def control(self, control: Control) -> bytes:
        """Encode one control event."""

    def hold(self, parameters: Parameters) -> int:  # noqa: ARG002 - part of the interface
        """Return how long an answer may wait for its first event, in ms; 0: it does not wait."""
        return 0

    def open(self, terms: Terms) -> Answer:
        """Begin an answer that stays open."""
        return Answer(200, self.headers(terms))

    def join(self, frames: Sequence[bytes], position: Cursor) -> bytes:  # noqa: ARG002 - part of the interface
        """Make one write of several events; `position` is the cursor after them."""
        return b"".join(frames)

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:
        """Make the whole of an answer that does not stay open."""
        body = b"".join((*delivery.controls, self.join(delivery.frames, delivery.position)))
        return Answer(200, self.headers(terms), body)

    def close(self, terms: Terms) -> bytes:  # noqa: ARG002 - part of the interface
        """Return the last bytes of an answer that stayed open."""
        return b""

    def dismiss(self, terms: Terms, said: Control) -> bytes:
        """Return the last bytes of an answer: `said`, to a client that is not to come back by itself, and the end."""
        return self.control(said) + self.close(terms)

    def defer(self, terms: Terms, said: Control) -> Answer:
        """Send a client away that can't read a problem and may come back; `said` tells it why (PROTOCOL §4, SSE)."""
        return Answer(200, self.headers(terms), self.control(said))

    def headers(self, terms: Terms) -> Headers:
        """Return the header fields of an answer."""
        kind = (b"content-type", self.media_type.encode())
        if terms.public:
            return kind, (b"cache-control", b"public, max-age=1"), (b"access-control-allow-origin", b"*")
        return kind, (b"cache-control", b"private, no-store")

    def takes_no_problem(self, accept: str) -> bool:  # noqa: ARG002 - part of the interface
        """Tell from a request's Accept field that its sender can't read problems, and wants this transport's words."""
        return False


def problem(error: GaplessError) -> Answer:
    """Answer with an error as ``application/problem+json`` (RFC 9457)."""
    fields = {"Content-Type": PROBLEM_MEDIA_TYPE, "Cache-Control": "no-store", **error.headers}
    headers = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items())
    return Answer(error.status, headers, error.body())
