"""Who is at the other end: the connection's peer, or whom a trusted proxy says it speaks for.

Exact rules. Only a peer in `server.trusted_proxies` is believed. Of the one header field that the proxies are set up to
write (`server.forwarded`), addresses are read from the right, past those that are trusted themselves: the first that is
not is the client. What is left of it could be anybody's invention. An address that can't be read ends the reading
there: the proxy that wrote it is then taken for the client. A client that speaks over a Unix socket has no address.

The path prefix under which the proxies show the service is `server.root_path`, or for one request what a trusted peer
says in ``X-Forwarded-Prefix``: the last of its values, if it is a path of plain segments. What is not could lead a page
elsewhere, or end a header field, and is not looked at.

A socket that listens on ``::`` has IPv4 peers in their IPv4-mapped form: everywhere, that is the IPv4 address (RFC 4291
§2.5.5.2).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

from realtime.root_path import root_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from realtime.config import ServerSettings

_PROTOCOLS = frozenset({"http", "https"})
_X_PROTO = "x-forwarded-proto"
_X_PREFIX = "x-forwarded-prefix"
_MAPPED = IPv6Network("::ffff:0:0/96")


class Told(NamedTuple):
    """What is known of a request's way here."""

    peer: str
    """The client's address; empty where there is none."""
    scheme: str
    prefix: str
    """The path prefix under which the client sees the service."""


class Proxies:
    """The proxies that are believed."""

    def __init__(self, settings: ServerSettings) -> None:
        """Take them from the configuration."""
        self._networks = [_network(one) for one in settings.trusted_proxies]
        self._field: str = settings.forwarded
        self._prefix = settings.root_path
        self._is_trusted = lru_cache(maxsize=4096)(self._lies_within)

    def heard(self, peer: str, scheme: str, headers: Mapping[str, str]) -> Told:
        """Return the client's way here, as a trusted peer tells it in header fields (names lower case)."""
        peer = unmapped(peer)
        if not (self._networks and peer and self._is_trusted(peer)):
            return Told(peer, scheme, self._prefix)
        told = headers.get(self._field)
        proto = self._proto(headers)
        return Told(
            peer if told is None else self._client(peer, told),
            proto if proto in _PROTOCOLS else scheme,
            self._prefix if _X_PREFIX not in headers else self._prefix_of(headers[_X_PREFIX]),
        )

    def apply(self, scope: MutableMapping[str, Any]) -> None:
        """Put the client's address, scheme and path prefix into an ASGI scope, where a trusted proxy tells them.

        ``scope["prefix"]`` is ours: the framework's way with ``root_path`` is another one. The path is without it after
        this, whether the proxy has cut it off or not.
        """
        self._read(scope)
        prefix = scope["prefix"]
        if prefix and scope["path"].startswith(f"{prefix}/"):
            scope["path"] = scope["path"][len(prefix) :]

    def _read(self, scope: MutableMapping[str, Any]) -> None:
        scope["prefix"] = self._prefix
        client = scope.get("client")
        if client is None:
            return
        peer = unmapped(client[0])
        if peer != client[0]:
            scope["client"] = client = (peer, client[1])
        if not self._networks or not self._is_trusted(peer):
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name in {self._field, _X_PROTO, _X_PREFIX}:
                headers[name] = f"{headers[name]},{value}" if name in headers else value
        peer, scope["scheme"], scope["prefix"] = self.heard(client[0], scope["scheme"], headers)
        if self._field in headers:
            scope["client"] = (peer, 0)

    def _client(self, peer: str, text: str) -> str:
        hops = _forwarded(text, "for") if self._field == "forwarded" else (one.strip() for one in text.split(","))
        for hop in reversed(list(hops)):
            address = _address(hop)
            if address is None:
                break
            peer = address
            if not self._is_trusted(address):
                break
        return peer

    def _prefix_of(self, text: str) -> str:
        """Return the path prefix that the nearest proxy tells."""
        try:
            return root_path(text.rpartition(",")[2].strip())
        except ValueError:
            return self._prefix

    def _proto(self, headers: Mapping[str, str]) -> str:
        """Return what the nearest proxy says of the scheme."""
        if self._field == "forwarded":
            told = list(_forwarded(headers.get(self._field, ""), "proto"))
        else:
            told = headers.get(_X_PROTO, "").split(",")
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
        return unmapped(str(ip_address(text)))
    except ValueError:
        return None


def _network(text: str) -> IPv4Network | IPv6Network:
    """Read an address or a network; of IPv4-mapped addresses, that of the IPv4 addresses."""
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFF_FFFF
        return IPv4Network((low, network.prefixlen - _MAPPED.prefixlen))
    return network


def unmapped(text: str) -> str:
    """Return an address, an IPv4-mapped one as the IPv4 address that it is."""
    if not text.startswith("::"):
        return text
    mapped = IPv6Address(text.partition("%")[0]).ipv4_mapped
    return text if mapped is None else str(mapped)
