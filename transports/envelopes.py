"""The JSON body that long-poll and polling share: envelopes, control envelopes, and the cursor to come back with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.transport import Transport

if TYPE_CHECKING:
    from realtime.channel.event import Control, Entry
    from transports.transport import Delivery


class Envelopes(Transport):
    """An answer that carries envelopes in one JSON object and ends."""

    media_type = "application/json"
    stays_open = False

    def frame(self, entry: Entry) -> bytes:
        """Encode one event: its envelope."""
        return entry.envelope()

    def control(self, control: Control) -> bytes:
        """Encode one control event: its envelope."""
        return control.envelope()


def body(delivery: Delivery, next_poll_ms: int | None = None) -> bytes:
    """Write ``{"events":[…],"control":[…],"cursor":"…","more":…}``, with a ticket and the next poll where there are."""
    parts = [
        b'{"events":[%b],"control":[%b],"cursor":"%d-%d","more":%b'
        % (b",".join(delivery.frames), b",".join(delivery.controls), *delivery.position, _boolean(value=delivery.more))
    ]
    if next_poll_ms is not None:
        parts.append(b',"next_poll_ms":%d' % next_poll_ms)
    if delivery.ticket is not None:
        parts.append(b',"ticket":"%b"' % delivery.ticket.encode())
    return b"".join((*parts, b"}"))


def _boolean(*, value: bool) -> bytes:
    return b"true" if value else b"false"
