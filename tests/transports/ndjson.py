"""Newline-delimited JSON that stays open: one envelope a line, for programs that would rather not parse SSE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.transport import Transport

if TYPE_CHECKING:
    from realtime.channel.event import Control, Entry


class NDJSON(Transport):
    """One ``application/x-ndjson`` answer, a line for each event and control event."""

    name = "ndjson"
    path = "ndjson"
    media_type = "application/x-ndjson"
    stays_open = True

    def frame(self, entry: Entry) -> bytes:
        """Encode one event: an envelope is one line already."""
        return entry.envelope() + b"\n"

    def control(self, control: Control) -> bytes:
        """Encode one control event."""
        return control.envelope() + b"\n"
