"""One HTTP request as the hot endpoints see it, whichever server or lane it came through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

from realtime.errors import MalformedParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = r"(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}\.?"
_HOST: Final = re.compile(rf"(?:{_NAME}|\[[A-Fa-f0-9]*:[A-Fa-f0-9.:]+\])(?::([1-9][0-9]{{0,4}}))?")
_LARGEST_PORT: Final = 65_535
CURSOR_ALIASES: Final = ("lastEventId", "last-event-id", "last_event_id")
"""Other names of ``?cursor=``: clients that can't set a header field put ``Last-Event-ID`` into the URL."""


class Request(NamedTuple):
    """A request's head. Header names are lower case; the last of several equal query parameters counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    scheme: str = "http"
    peer: str = ""
    """The client's address; empty where there is none."""
    key: bytes = b""
    """What is the same in a client's next request of this kind: all but the cursor; empty: nothing is known of it."""
    prefix: str = ""
    """The path prefix under which a proxy shows the service, such as ``/rt``; `path` is without it."""

    def header(self, name: str) -> str:
        """Return a header field's value, empty when it is absent."""
        return self.headers.get(name, "")


def from_asgi(scope: Mapping[str, Any]) -> Request:
    """Read the head of an ASGI request; a header that comes several times is joined (RFC 9110 §5.3, 9113 §8.2.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    query, client = parse_query(scope["query_string"]), scope.get("client")
    peer = client[0] if client else ""
    return Request(
        scope["method"], scope["path"], query, headers, scope["scheme"], peer, prefix=scope.get("prefix", "")
    )


def is_host(text: str) -> bool:
    """Tell whether a text is a name or an address, with or without a port (RFC 9112 §3.2, the names of DNS)."""
    found = _HOST.fullmatch(text)
    return found is not None and int(found[1] or 0) <= _LARGEST_PORT


def check_host(scope: Mapping[str, Any]) -> None:
    """Check that an ASGI request names the host that it is for once, as RFC 9112 §3.2 demands; HTTP/1.0 need not.

    Raises:
        MalformedParameter: it does not.
    """
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if not hosts and scope["http_version"] == "1.0":
        return
    if len(hosts) != 1 or not is_host(hosts[0]):
        raise MalformedParameter("one Host field is expected, with a name or an address in it")


def parse_query(raw: bytes) -> dict[str, str]:
    """Read a query string (WHATWG URL, application/x-www-form-urlencoded).

    What is not UTF-8 becomes surrogates, which no grammar of a parameter has: an unknown parameter may hold anything.
    """
    if not raw:
        return {}
    if raw.isascii() and b"%" not in raw and b"+" not in raw:
        return _plain(raw.decode())
    text = raw.decode("utf-8", "surrogateescape")
    return dict(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))


def _plain(raw: str) -> dict[str, str]:
    """Read a query string without escapes; what the general reader makes of it, sooner."""
    query = {}
    for part in raw.split("&"):
        if part:
            name, _, value = part.partition("=")
            query[name] = value
    return query
