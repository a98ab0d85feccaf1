"""What stands around the bytes of an answer on the wire: heads and chunks, made once for all that have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transports.transport import Answer, Headers

_MOST_MADE: Final = 512
_LARGEST_KEPT: Final = 16 * 1024
_NO_BODY: Final = frozenset({204, 304})
_CLOSE: Final = (b"connection", b"close")
_CHUNKED: Final = (b"transfer-encoding", b"chunked")


class Framing:
    """Chunks of the chunked coding (RFC 9112 §7.1), made once for all who are written the same bytes in a row."""

    __slots__ = ("_chunk", "_data")

    def __init__(self) -> None:
        """Begin with none."""
        self._data = b""
        self._chunk = b""

    def chunk(self, data: bytes) -> bytes:
        """Frame a part of a body."""
        if data is not self._data:
            self._data, self._chunk = data, b"%x\r\n%b\r\n" % (len(data), data)
        return self._chunk


class HeadLines(NamedTuple):
    """The head of an answer as it is sent, and what follows from it."""

    data: bytes
    chunked: bool
    keep_alive: bool


class Heading:
    """Writes heads, once for all answers that have the same: clients that poll get one again and again."""

    __slots__ = ("_fields", "_made", "_whole")

    def __init__(self) -> None:
        """Begin with none."""
        self._fields: Sequence[tuple[bytes, bytes]] = ()
        self._made: dict[tuple[int, Headers], HeadLines] = {}
        self._whole: dict[int, tuple[Answer, bytes]] = {}
        """By which answer it is: one that is kept is no other."""

    def whole(self, fields: Sequence[tuple[bytes, bytes]], answer: Answer) -> bytes:
        """Write a whole answer, once for all who are given the very same one."""
        made = self._whole.get(id(answer)) if fields is self._fields else None
        if made is not None:
            return made[1]
        data = self.lines(fields, answer.status, answer.headers).data + answer.body
        if len(self._whole) >= _MOST_MADE:
            self._whole.clear()
        if len(data) <= _LARGEST_KEPT:
            self._whole[id(answer)] = answer, data
        return data

    def lines(self, fields: Sequence[tuple[bytes, bytes]], status: int, headers: Headers) -> HeadLines:
        """Write a head: the status line, the fields of all answers (uvicorn renews the list of them), and its own.

        A body whose length is not said is chunked (RFC 9112 §6.1).
        """
        if fields is not self._fields or len(self._made) >= _MOST_MADE:
            self._fields, self._made, self._whole = fields, {}, {}
        made = self._made.get((status, headers))
        if made is None:
            chunked = status not in _NO_BODY and all(name != b"content-length" for name, _ in headers)
            written = (*fields, *headers, _CHUNKED) if chunked else (*fields, *headers)
            data = b"".join((STATUS_LINE[status], *[b"%b: %b\r\n" % field for field in written], b"\r\n"))
            made = self._made[status, headers] = HeadLines(data, chunked, _CLOSE not in headers)
        return made
