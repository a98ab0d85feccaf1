"""The ways in which a client can be served: every registered transport, and the plug-in of these tests.

A transport that takes on another's manners where it may not stay open (SSE, as SSE-polling) is two ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.offers import EVENTS
from transports import installed

if TYPE_CHECKING:
    from transports.transport import Transport

PLUGINS = ("tests.transports.ndjson:NDJSON",)
TRANSPORTS = installed(PLUGINS)


@dataclass(frozen=True)
class Way:
    """One transport, as itself or as what it moves to."""

    transport: Transport
    moved: bool = False

    def __str__(self) -> str:
        return f"{self.transport.name} as {self.transport.moves_to}" if self.moved else self.transport.name

    @property
    def url(self) -> str:
        return f"{EVENTS}/{self.transport.path}"

    @property
    def media_type(self) -> str:
        """The media type without its parameters; clients of the way accept it and nothing else."""
        return self.transport.media_type.partition(";")[0]

    @property
    def stays_open(self) -> bool:
        return self.transport.stays_open and not self.moved

    @property
    def waits(self) -> bool:
        """Whether an answer without events is held."""
        return not self.transport.stays_open and self.transport.hold({"hold_ms": 1}) > 0


WAYS = (
    *(Way(transport) for transport in TRANSPORTS.values()),
    *(Way(transport, moved=True) for transport in TRANSPORTS.values() if transport.moves_to),
)
STREAMS = tuple(way for way in WAYS if way.stays_open)
ANSWERS = tuple(way for way in WAYS if not way.stays_open)
WAITING = tuple(way for way in WAYS if way.waits)
