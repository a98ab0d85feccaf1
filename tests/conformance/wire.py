"""Readers of answers, one for each media type: bytes in; what is heard, and where its reader then stands, out.

Written from PROTOCOL §4 and the standards, not from our encoders.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tests.support.stream import EventStream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Envelope = dict[str, Any]


class Heard(NamedTuple):
    """What is heard at once, control events first, and the cursor to come back with from then on."""

    envelopes: Sequence[Envelope]
    cursor: str


class Wire(Protocol):
    """A reader of one answer."""

    more: bool
    """Whether the answer says that the next request will not wait."""

    @property
    def wait_ms(self) -> int:
        """How long the answer says to wait before the next request; 0 when it doesn't."""

    def feed(self, data: bytes) -> Iterator[Heard]:
        """Read a part of the answer."""

    def end(self) -> Iterator[Heard]:
        """Read the end of the answer."""


class EventStreamWire:
    """``text/event-stream``."""

    more = False

    def __init__(self, cursor: str) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._parser = EventStream(last_event_id=cursor)
        self._cursor = cursor

    @property
    def wait_ms(self) -> int:
        return self._parser.retry_ms or 0

    def feed(self, data: bytes) -> Iterator[Heard]:
        for message in self._parser.feed(self._decoder.decode(data)):
            envelope = json.loads(message.data)
            carried = envelope.get("id") or (envelope.get("data") or {}).get("cursor")
            assert message.event == envelope["event"]
            assert carried in {None, message.last_event_id}, "an id other than the envelope's"
            self._cursor = message.last_event_id
            yield Heard([envelope], self._cursor)
        if self._parser.last_event_id != self._cursor:
            self._cursor = self._parser.last_event_id
            yield Heard([], self._cursor)

    def end(self) -> Iterator[Heard]:
        assert self._parser.last_event_id, "every answer has at least one id"
        return iter(())


class BodyWire:
    """``application/json``: one object, read when it is whole."""

    more = False
    wait_ms = 0

    def __init__(self, cursor: str) -> None:
        self._body = bytearray()
        self._cursor = cursor

    def feed(self, data: bytes) -> Iterator[Heard]:
        self._body += data
        return iter(())

    def end(self) -> Iterator[Heard]:
        body = json.loads(self._body)
        self.more = body["more"]
        self.wait_ms = body.get("next_poll_ms", 0)
        yield Heard([*body["control"], *body["events"]], body["cursor"])


class LinesWire:
    """``application/x-ndjson``: an envelope a line."""

    more = False
    wait_ms = 0

    def __init__(self, cursor: str) -> None:
        self._rest = b""
        self._cursor = cursor

    def feed(self, data: bytes) -> Iterator[Heard]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            envelope = json.loads(line)
            self._cursor = envelope.get("id") or envelope.get("data", {}).get("cursor") or self._cursor
            yield Heard([envelope], self._cursor)

    def end(self) -> Iterator[Heard]:
        assert not self._rest, "an answer that ends by itself ends with a whole line"
        return iter(())


_READERS: dict[str, type[EventStreamWire | BodyWire | LinesWire]] = {
    "text/event-stream": EventStreamWire,
    "application/json": BodyWire,
    "application/x-ndjson": LinesWire,
}


def reader(media_type: str, cursor: str) -> Wire:
    """Return a reader for an answer of this media type, for a client that stands at `cursor` (empty: nowhere)."""
    return _READERS[media_type](cursor)
