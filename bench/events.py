"""The event of the bench: of one form and size for everyone, with a tick by which the load recognises it."""

from __future__ import annotations

from typing import Final

import orjson

TICK: Final = "LLLL-NNNNNNNN-TTTTTTTTTTTTTTTT"
"""Where the load puts lane, number and time: `bench/load/ticks.h`."""
USER: Final = "@@@@@"
"""Where it puts the number of the user that an event is for."""
TYPE: Final = "bench.ticked"
_DATA: Final = {"tick": TICK, "text": "x" * 80}
_ID: Final = "1795317600123-1234567"
_TIME: Final = "2026-11-22T03:20:00.123Z"


def publication(count: int = 1, scope: str = "broadcast") -> bytes:
    """Write the body that publishes a number of events to ours."""
    event = {"event": TYPE, "scope": scope, "data": _DATA}
    return orjson.dumps(event if count == 1 else {"events": [event] * count})


def envelope() -> bytes:
    """Write the text that a peer is given to send: as long as what ours sends for the same event."""
    event = {"id": _ID, "time": _TIME, "event": TYPE, "scope": "broadcast", "version": 1, "data": _DATA}
    return orjson.dumps(event)


def frame() -> bytes:
    """Write the frame that ours sends for it, for peers that only pass on."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (_ID.encode(), TYPE.encode(), envelope())
