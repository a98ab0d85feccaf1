"""Who is at the other end: the connection's peer, or whom a trusted proxy says it speaks for.

Exact rules. Only a peer in `server.trusted_proxies` is believed. Of the one header field that the proxies are set up to
write (`server.forwarded`), addresses are read from the right, past those that are trusted themselves: the first that is
not is the client. What is left of it could be anybody's invention. An address that can't be read ends the reading
there: the proxy that wrote it is then taken for the client. A client that speaks over a Unix socket has no address.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from realtime.config import ServerSettings

_PROTOCOLS = frozenset({"http", "https"})


class Proxies:
    """The proxies that are believed."""

    def __init__(self, settings: ServerSettings) -> None:
        """Take them from the configuration."""
        self._networks = [ip_network(one) for one in settings.trusted_proxies]
        self._field = settings.forwarded.encode()
        self._is_trusted = lru_cache(maxsize=4096)(self._lies_within)

    def speak_for(self, scope: MutableMapping[str, Any]) -> bool:
        """Tell whether the peer of an ASGI scope is believed."""
        client = scope.get("client")
        return bool(self._networks) and client is not None and self._is_trusted(client[0])

    def apply(self, scope: MutableMapping[str, Any]) -> None:
        """Put the client's address and scheme into an ASGI scope, where a trusted proxy tells them."""
        if not self.speak_for(scope):
            return
        client = scope["client"]
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == self._field]
        if values:
            scope["client"] = (self._client(client[0], ",".join(values)), 0)
        scheme = self._scheme(scope, ",".join(values))
        if scheme in _PROTOCOLS:
            scope["scheme"] = scheme

    def _client(self, peer: str, text: str) -> str:
        hops = _forwarded(text, "for") if self._field == b"forwarded" else (one.strip() for one in text.split(","))
        for hop in reversed(list(hops)):
            address = _address(hop)
            if address is None:
                break
            peer = address
            if not self._is_trusted(address):
                break
        return peer

    def _scheme(self, scope: MutableMapping[str, Any], text: str) -> str:
        """Return what the nearest proxy says of the scheme."""
        if self._field == b"forwarded":
            told = list(_forwarded(text, "proto"))
        else:
            told = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-proto"]
            told = ",".join(told).split(",")
        return told[-1].strip().lower() if told else ""

    def _lies_within(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def _forwarded(text: str, wanted: str) -> Iterator[str]:
    """Read one parameter of each element of a ``Forwarded`` field (RFC 7239 §4); an element without it is empty."""
    for element in _split(text, ","):
        pairs = (pair.partition("=") for pair in _split(element, ";"))
        values = [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == wanted]
        if values or wanted == "for":
            yield values[0] if values else ""


def _split(text: str, mark: str) -> list[str]:
    """Split at a mark that is not within quotes."""
    parts, quoted = [""], False
    for letter in text:
        quoted ^= letter == '"'
        if letter == mark and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _address(text: str) -> str | None:
    """Read an address with or without a port: ``192.0.2.1:80``, ``[2001:db8::1]:80``, ``2001:db8::1``."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return None
