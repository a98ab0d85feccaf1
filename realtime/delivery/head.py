"""The head of a plain request, read without a parser: what a client sends again and again is looked up by its bytes.

Strict on purpose (RFC 9112 §3, §5): whatever is not written in the plainest way, and whatever has a body or asks for
more than an answer, is `None` here, and read by uvicorn's parser instead. Nothing is taken here that it would refuse.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from realtime.auth.recent import Recent
from realtime.request import CURSOR_ALIASES, Request, is_host, parse_query

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES: Final = 16 * 1024
_MOST_FIELDS: Final = 50
_MOST_KEPT: Final = 4 * 1024
_TWICE: Final = 2
_GET: Final = b"GET "
_POST: Final = b"POST "
_VERSION: Final = b" HTTP/1.1"
_END: Final = b"\r\n\r\n"
_CURSOR: Final = b"cursor="
_TARGET: Final = re.compile(rb"/[A-Za-z0-9\-._~:/@!$&'()*+,;=%]*(?:\?[A-Za-z0-9\-._~:/?@!$&'()*+,;=%]*)?")
_FIELD: Final = re.compile(rb"([A-Za-z0-9-]+): ?([!-~](?:[ -~]*[!-~])?)?\r\n")
_UNUSUAL: Final = frozenset(
    {"transfer-encoding", "content-encoding", "expect", "upgrade", "origin", "te", "trailer", "connection"}
)
"""A request with one of these is left to ASGI: it has an odd body, asks for more than an answer, is of another site."""
_LENGTH: Final = "content-length"
_IF_NONE_MATCH: Final = "if-none-match"
_LAST_EVENT_ID: Final = "last-event-id"
_TAG: Final = re.compile(rb'\r\nif-none-match: ?(?:W/)?"([0-9-]+)"\r\n', re.IGNORECASE)
_ALIASES: Final = frozenset(CURSOR_ALIASES)
_KEPT_ALIVE: Final = "keep-alive"


class Head(NamedTuple):
    """A head in its parts: what comes before the cursor, the cursor, and what comes behind it.

    Where there is no cursor, everything comes before. Where the cursor comes again as the tag of `If-None-Match`, what
    lies between the two is `between`, and `behind` begins after the tag.
    """

    before: bytes
    between: bytes
    behind: bytes
    cursor: bytes
    target: bytes
    fields: bytes

    @property
    def key(self) -> bytes:
        """All but the cursor: equal for all requests of one kind, for it says what was cut out, and where."""
        return b"%b\0%b%b" % (self.before, self.between, self.behind) if self.between else self.before + self.behind


class Heads:
    """Reads them; remembers the header fields of those that came lately."""

    def __init__(self, most_bytes: int = _MOST_BYTES, most_fields: int = _MOST_FIELDS) -> None:
        """Begin with none; heads that have more bytes or fields than a request may have are not plain."""
        self._most_bytes = min(most_bytes, _MOST_BYTES)
        self._most_fields = min(most_fields, _MOST_FIELDS)
        self._known: Recent[Mapping[str, str]] = Recent()

    def sweep(self) -> int:
        """Forget the header fields that did not come since the last sweep; return how many requests' they were."""
        return self._known.sweep()

    def split(self, data: bytes) -> Head | None:
        """Take a read for the whole of one request's head, if that is what it is."""
        if data[:4] != _GET or len(data) > self._most_bytes or data.find(_END) != len(data) - 4:
            return None
        end = data.find(b"\r\n")
        if data[end - 9 : end] != _VERSION:
            return None
        target = data[4 : end - 9]
        at = target.find(_CURSOR)
        if at < 1 or target[at - 1] not in b"?&":
            return Head(data, b"", b"", b"", target, data[end + 2 : -2])
        behind = target.find(b"&", at)
        behind = len(target) if behind < 0 else behind
        cut = at + len(_CURSOR)
        cursor, between, rest = target[cut:behind], b"", data[behind + 4 :]
        if b'"%b"' % cursor in rest:
            between, rest = _around_tag(rest, cursor)
        return Head(data[: cut + 4], between, rest, cursor, target, data[end + 2 : -2])

    def posted(self, data: bytes, scheme: str, peer: str) -> tuple[Request, bytes] | None:
        """Take a read for the whole of one request with a body, whose length it says; `None`: it is not plain."""
        end = data.find(_END)
        line = data.find(b"\r\n")
        target = data[len(_POST) : line - len(_VERSION)]
        if (
            not 0 <= end <= self._most_bytes
            or data[line - len(_VERSION) : line] != _VERSION
            or not _TARGET.fullmatch(target)
        ):
            return None
        headers, body = self._headers(data[line + 2 : end + 2]), data[end + 4 :]
        if headers is None or headers.get(_LENGTH) != str(len(body)):
            return None
        raw_path, _, query = target.partition(b"?")
        return Request("POST", raw_path.decode(), parse_query(query), headers, scheme, peer), body

    def read(self, head: Head, scheme: str, peer: str) -> Request | None:
        """Make a request of a head; `None`: it is not plain."""
        if not _TARGET.fullmatch(head.target):
            return None
        headers = self._headers(head.fields)
        if headers is None or _LENGTH in headers:
            return None
        raw_path, _, query = head.target.partition(b"?")
        key, asked = head.key, parse_query(query)
        if query.count(_CURSOR) >= _TWICE or len(key) > _MOST_KEPT or _depends(head, headers):
            key = b""
        if not _ALIASES.isdisjoint(asked) or asked.get("cursor", "") != head.cursor.decode():
            key = b""
        return Request("GET", raw_path.decode(), asked, headers, scheme, peer, key)

    def _headers(self, fields: bytes) -> Mapping[str, str] | None:
        known = self._known.get(fields)
        if known is None:
            known = _parsed(fields)
            if known is not None and len(known) > self._most_fields:
                return None
            if known is not None and len(fields) <= _MOST_KEPT:
                self._known.put(fields, known)
        return known


def _around_tag(rest: bytes, cursor: bytes) -> tuple[bytes, bytes]:
    """Cut the tag of `If-None-Match` out of what is behind a cursor, where it repeats that."""
    found = _TAG.search(rest)
    if found is None or found[1] != cursor:
        return b"", rest
    return rest[: found.start(1)], rest[found.end(1) :]


def _depends(head: Head, headers: Mapping[str, str]) -> bool:
    """Tell whether a request depends on the position by more than its cursor: it is another one each time."""
    return _LAST_EVENT_ID in headers or (_IF_NONE_MATCH in headers and not head.between)


def _parsed(fields: bytes) -> Mapping[str, str] | None:
    """Read header fields, each of which comes once, by their names in lower case; Host is one of them."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(fields):
        found = _FIELD.match(fields, at)
        if found is None:
            return None
        name, value = found[1].decode().lower(), (found[2] or b"").decode()
        if name in headers or (name in _UNUSUAL and (name, value.lower()) != ("connection", _KEPT_ALIVE)):
            return None
        headers[name] = value
        at = found.end()
    return headers if is_host(headers.get("host", "")) else None
