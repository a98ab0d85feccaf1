"""The sockets that a gateway listens on, and how its address is written.

They are bound before anything is started, so that a port in use costs nothing, and listen only when uvicorn has them:
until the service is ready a connection is refused, and not left waiting.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from realtime.errors import StartError

if TYPE_CHECKING:
    from realtime.config import ServerSettings

USER_TIMEOUT_MS: Final = 30_000
"""How long what was written may go unacknowledged before the kernel ends a connection: phones vanish without a word."""

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
_LOCALHOST: Final = "localhost"
_LOOPBACK: Final = ("127.0.0.1", "::1")
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What a system says of an address, or of a whole family, that it does not have."""
_PORTS_TRIED: Final = 10
"""How often any port is tried: what is free at one address may be taken at the next."""
_IS_LINUX: Final = hasattr(socket, "TCP_USER_TIMEOUT")


def bind(settings: ServerSettings, *, shared: bool = False) -> list[socket.socket]:
    """Bind a socket to each address of the configured host, all at one port; that which is shown comes first.

    `shared`: so that other processes of ours can do the same. An address that this machine does not have (no IPv6) is
    left out if another one can be had.

    Raises:
        StartError: the port is in use, or the host is none of this machine's.
    """
    try:
        places, tries = _places(settings), 1 if settings.port else _PORTS_TRIED
        while True:
            tries -= 1
            try:
                return _all_bound(places, shared=shared)
            except OSError as error:
                if not tries or error.errno != errno.EADDRINUSE:
                    raise
    except OSError as error:
        raise _start_error(settings, error) from error


def _places(settings: ServerSettings) -> list[Place]:
    """Return the addresses of the configured host, IPv4 first: more clients are given 127.0.0.1 than ::1.

    ``localhost`` is both of them, whatever the machine's table of hosts says (RFC 6761 §6.3).
    """
    hosts = _LOOPBACK if settings.host.lower() == _LOCALHOST else (settings.host,)
    found = [
        Place(family, address)
        for host in hosts
        for family, _, _, _, address in socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    ]
    return sorted(dict.fromkeys(found), key=lambda place: place.family != socket.AF_INET)


def _all_bound(places: list[Place], *, shared: bool) -> list[socket.socket]:
    """Bind each place that this machine has, at the port of the first one."""
    with ExitStack() as bound:
        socks: list[socket.socket] = []
        missing = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        for place in places:
            try:
                sock = _first_bound(place.at(socks[0].getsockname()[1]) if socks else place, shared=shared)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
            else:
                socks.append(bound.enter_context(closing(sock)))
        if not socks:
            raise missing
        bound.pop_all()
        return socks


def _first_bound(place: Place, *, shared: bool) -> socket.socket:
    """Bind a place that no other program has, and no other gateway."""
    if shared and place.address[1]:
        # Sockets that share a port never collide with each other: ask as one that doesn't share.
        _bound(place, shared=False).close()
    return _bound(place, shared=shared)


@dataclass(frozen=True, slots=True)
class Place:
    """The address of a shared socket, for a process that binds another one there."""

    family: int
    address: tuple[Any, ...]

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """Tell where a socket is bound."""
        return cls(sock.family, sock.getsockname())

    def at(self, port: int) -> Place:
        """Return the same address with a port."""
        return Place(self.family, (self.address[0], port, *self.address[2:]))

    def bind(self) -> socket.socket:
        """Bind a socket beside the others.

        Raises:
            StartError: the system refuses.
        """
        try:
            return _bound(self, shared=True)
        except OSError as error:
            raise StartError(f"Another socket can't be bound to {self.address}: {error.strerror}.") from error


def url(sock: socket.socket) -> str:
    """Write the address of a bound socket as others on this machine reach it."""
    host, port = sock.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(place: Place, *, shared: bool) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if place.family == socket.AF_INET6 and place.address[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if _IS_LINUX:  # accepted sockets inherit it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.bind(place.address)
    except BaseException:
        sock.close()
        raise
    return sock


def _start_error(settings: ServerSettings, error: OSError) -> StartError:
    place = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return port_in_use(place)
    if error.errno == errno.EACCES:
        return StartError(f"{place}: this user may not listen there. Choose a port above 1023.")
    reason = error.strerror or os.strerror(error.errno or 0)
    return StartError(f"{place}: can't listen there: {reason}.")


def port_in_use(place: str) -> StartError:
    """Make the error for an address that another program listens on."""
    return StartError(
        f"{place} is in use by another program. Stop that one, or choose another port: --port 8001, or 0 for any "
        "that is free."
    )
