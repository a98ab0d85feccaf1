"""A transport to look through: a line for each event and control event, and counters of what was asked of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.transports.ndjson import NDJSON
from transports.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Cursor, Entry
    from transports.transport import Terms


class Lines(NDJSON):
    """NDJSON that begins with a line of its own, and counts."""

    def __init__(self) -> None:
        self.framed = 0
        self.joined = 0

    def open(self, terms: Terms) -> Answer:
        return Answer(200, self.headers(terms), b'{"begin":true}\n')

    def close(self, terms: Terms) -> bytes:
        del terms
        return b'{"end":true}\n'

    def frame(self, entry: Entry) -> bytes:
        self.framed += 1
        return super().frame(entry)

    def join(self, frames: Sequence[bytes], position: Cursor) -> bytes:
        self.joined += 1
        return super().join(frames, position)


def lines(body: bytes) -> list[dict[str, Any]]:
    """Read the lines of a body."""
    return [json.loads(line) for line in body.splitlines()]


def data(body: bytes) -> list[Any]:
    """Return the ``data`` of the events in a body."""
    return [line["data"] for line in lines(body) if "id" in line]


def said(body: bytes) -> list[str]:
    """Return the types of everything in a body."""
    return [line["event"] if "event" in line else next(iter(line)) for line in lines(body)]
