"""The sockets that a gateway listens on, and how its address is written.

They are bound before anything is started, so that a port in use costs nothing, and listen only when uvicorn has them:
until the service is ready a connection is refused, and not left waiting.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from realtime.errors import StartError

if TYPE_CHECKING:
    from realtime.config import ServerSettings

USER_TIMEOUT_MS: Final = 30_000
"""How long what was written may go unacknowledged before the kernel ends a connection: phones vanish without a word."""

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
_IS_LINUX: Final = hasattr(socket, "TCP_USER_TIMEOUT")


def bind(settings: ServerSettings, *, shared: bool = False) -> socket.socket:
    """Bind a socket to the configured host and port; `shared`: so that other processes of ours can do the same.

    Raises:
        StartError: the port is in use, or the host is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name such as localhost has several: clients that are given 127.0.0.1 are more than those given ::1.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        if shared and settings.port:
            # Sockets that share a port never collide with each other: ask as one that doesn't share.
            _bound(family, address, shared=False).close()
        return _bound(family, address, shared=shared)
    except OSError as error:
        raise _start_error(settings, error) from error


@dataclass(frozen=True, slots=True)
class Place:
    """The address of a shared socket, for a process that binds another one there."""

    family: int
    address: tuple[Any, ...]

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """Tell where a socket is bound."""
        return cls(sock.family, sock.getsockname())

    def bind(self) -> socket.socket:
        """Bind a socket beside the others.

        Raises:
            StartError: the system refuses.
        """
        try:
            return _bound(self.family, self.address, shared=True)
        except OSError as error:
            raise StartError(f"Another socket can't be bound to {self.address}: {error.strerror}.") from error


def url(sock: socket.socket) -> str:
    """Write the address of a bound socket as others on this machine reach it."""
    host, port = sock.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(family: int, address: tuple[Any, ...], *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and address[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if _IS_LINUX:  # accepted sockets inherit it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.bind(address)
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
