"""What the load is to do, in the words that its programs read: `bench/load/audience.c`, `bench/load/requests.c`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

NOBODY: Final = -1


class Client(NamedTuple):
    """One that receives: its requests, and whose events it is given beside those for everyone."""

    first: bytes
    again: bytes | None = None
    """For one that polls: with {cursor} and {stamp} where its position goes."""
    user: int = NOBODY


class Publisher(NamedTuple):
    """Connections that publish the same request, each time with other ticks."""

    request: bytes
    limit: int
    """Events in all."""
    lanes: int = 1
    rate: int = 0
    """Events a second; 0: as fast as it goes."""
    outstanding: int = 0
    """The next event waits until all but so many have been given to everyone; 0: it doesn't wait."""
    pause_ms: int = 0
    users: int = 0
    most_ms: int = 0
    """After which no more are published, however few there were; 0: until the limit."""

    def at(self, pace: float) -> Publisher:
        """Return one that publishes at another pace, for as long: the limit is in hundreds, for batches divide them."""
        hundreds = max(1, round(self.limit * pace / 100))
        return self._replace(rate=max(1, round(self.rate * pace)), limit=hundreds * 100)


@dataclass(frozen=True, slots=True)
class Audience:
    """Clients that receive, and publishers."""

    port: int
    clients: dict[str, list[Client]] = field(default_factory=dict)
    """By their kind: sse, websocket, long-poll, poll, stalled."""
    publishers: tuple[Publisher, ...] = ()
    at_once: int = 128
    grace_ms: int = 10_000
    earlier: tuple[int, int] = (0, 0)
    """Lanes, and how many events each of them had sent before."""

    program: str = "audience"

    def text(self) -> bytes:
        """Write the plan."""
        return b"".join(self._parts())

    def _parts(self) -> Iterable[bytes]:
        lanes, events = self.earlier
        yield b"port %d\nat_once %d\ngrace_ms %d\n" % (self.port, self.at_once, self.grace_ms)
        if lanes:
            yield b"earlier %d %d\n" % (lanes, events)
        for kind, clients in self.clients.items():
            yield b"receivers %b %d\n" % (kind.encode(), len(clients))
            for client in clients:
                yield b"%d %b" % (client.user, _text(client.first))
                yield b"" if client.again is None else _text(client.again)
        for one in self.publishers:
            numbers = (one.lanes, one.rate, one.limit, one.outstanding, one.pause_ms, one.users, one.most_ms)
            yield b"publisher %d %d %d %d %d %d %d\n" % numbers + _text(one.request)
        yield b"end\n"


@dataclass(frozen=True, slots=True)
class Requests:
    """The same request again and again, over some connections."""

    port: int
    request: bytes
    count: int
    connections: int
    status: int = 200
    wanted: bytes = b""
    """What each answer must contain."""

    program: str = "requests"

    def text(self) -> bytes:
        """Write the plan."""
        numbers = b"%d %d %d %d\n" % (self.port, self.connections, self.count, self.status)
        return numbers + _text(self.request) + _text(self.wanted)


def _text(data: bytes) -> bytes:
    return b"%d\n%b\n" % (len(data), data)
