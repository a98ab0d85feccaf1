"""An event stream read as the WHATWG HTML standard has it (9.2.6): written from the standard, not from our encoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_LINE_END = re.compile("\r\n|\n|\r")


class Message(NamedTuple):
    """One dispatched event."""

    event: str
    data: str
    last_event_id: str


@dataclass
class EventStream:
    """A parser that is fed text in pieces of any size."""

    last_event_id: str = ""
    retry_ms: int | None = None
    _buffer: str = ""
    _data: str = ""
    _event: str = ""
    _id: str = ""
    _begun: bool = False

    def feed(self, text: str) -> list[Message]:
        """Take a piece; return the events that it completes."""
        if not self._begun and text:
            text, self._begun, self._id = text.removeprefix("\ufeff"), True, self.last_event_id
        self._buffer += text
        found: list[Message] = []
        while (end := _LINE_END.search(self._buffer)) and not (end[0] == "\r" and end.end() == len(self._buffer)):
            line, self._buffer = self._buffer[: end.start()], self._buffer[end.end() :]
            found.extend(self._line(line))
        return found

    def _line(self, line: str) -> list[Message]:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return []

    def _dispatch(self) -> list[Message]:
        self.last_event_id = self._id
        data, event = self._data, self._event
        self._data = self._event = ""
        if not data:
            return []
        return [Message(event or "message", data.removesuffix("\n"), self.last_event_id)]
