"""A transport with a fault: what the service says of it, and what it doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.transport import Transport

if TYPE_CHECKING:
    from realtime.channel.event import Control, Entry
    from transports.transport import Answer, Delivery, Terms


class Broken(Transport):
    """Fails at its only task."""

    name = "broken"
    path = "broken"
    media_type = "text/plain"
    stays_open = False

    def frame(self, entry: Entry) -> bytes:
        return entry.envelope()

    def control(self, control: Control) -> bytes:
        return control.envelope()

    def answer(self, terms: Terms, delivery: Delivery) -> Answer:  # noqa: ARG002 - part of the interface
        message = "the transport is broken"
        raise RuntimeError(message)
