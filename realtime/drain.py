"""Draining: a gateway that is to go takes nobody new, and sends everybody away, spread over a time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

import structlog

from realtime.delivery.controls import control

if TYPE_CHECKING:
    from realtime.config import Live
    from realtime.delivery.hub import Hub

_LOOK_AGAIN_S: Final = 0.05

_log = structlog.get_logger("gapless.server")


class Drain:
    """Sends the clients of one worker to other gateways."""

    def __init__(self, hub: Hub, live: Live) -> None:
        """Spread it over the time that the settings give."""
        self._hub = hub
        self._live = live

    @property
    def has_begun(self) -> bool:
        """Whether this worker drains."""
        return self._hub.is_closed

    async def finish(self) -> None:
        """Drain, and wait until everybody has gone; who has not by then is left to whoever ends the service."""
        self.begin()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._live.settings.server.drain / 1000
        while self._hub.size and loop.time() < deadline:  # noqa: ASYNC110 - no attachment pays for telling us
            await asyncio.sleep(_LOOK_AGAIN_S)

    def begin(self) -> None:
        """Take nobody new, tell everybody, and end each at a random moment."""
        if self._hub.is_closed:
            return
        self._hub.is_closed = True
        within_ms, retry_ms = self._live.settings.server.drain, self._live.settings.sse.retry
        _log.info("draining", connections=self._hub.size, within_ms=within_ms)
        said = control("gateway.drain-started", within_ms=within_ms, retry_ms=retry_ms)
        now_ms = self._hub.wheel.now_ms()
        for attachment in self._hub.attachments:
            attachment.leave(said, now_ms + int(random.uniform(0, within_ms)))
