"""Limits on what is open: streams of a user and of an address over all gateways, and clients of this worker.

Over the limit nobody need be refused: a stream's client can be served as polling (``on_limit = "degrade"``), and gets
its stream when there is room again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from realtime.delivery.controls import control
from realtime.errors import AtCapacity, ConnectionLimit, LogUnavailable

if TYPE_CHECKING:
    from realtime.auth import Credential
    from realtime.config import Settings
    from realtime.control import Control, Data
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.hub import Hub
    from realtime.delivery.watch import Watch
    from realtime.leases import Lease, Leases
    from realtime.metrics import Metrics
    from realtime.request import Request

REPLACED: Final = "stream.replaced"

_SECOND_LOOK_S: Final = 0.15
"""A page that is loaded anew asks for its next stream before we know that the last one ended."""

_log = structlog.get_logger("gapless.limits")


class Limits:
    """Admits attachments."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is counted, and who is told
        self, settings: Settings, leases: Leases, control_log: Control, hub: Hub, watch: Watch, metrics: Metrics
    ) -> None:
        """Admit by the settings; who is replaced on another gateway is told over the control log."""
        self._settings = settings.limits
        self._leases = leases
        self._control = control_log
        self._hub = hub
        self._watch = watch
        self._metrics = metrics
        self._open: dict[str, Attachment] = {}
        self._most = -(-settings.limits.max_clients // settings.server.workers)
        control_log.on(REPLACED, self._replaced)

    @property
    def is_full(self) -> bool:
        """Whether this worker has as many clients that wait or stay, or owe it the rest of a request, as it may."""
        return bool(self._most) and self._hub.size + self._watch.size >= self._most

    def check_capacity(self) -> None:
        """Check that this worker takes one more client that waits or stays.

        Raises:
            AtCapacity: it does not.
        """
        if self.is_full:
            self._metrics.limit_hit("clients")
            raise AtCapacity("this gateway serves as many clients as it may: try again, or poll")

    def holders(self, credential: Credential, request: Request) -> list[tuple[str, int]]:
        """Name whose streams are counted for a request, and how many each may have.

        A user comes last: only who has room at the address replaces a stream.
        """
        identity, limits = credential.identity, self._settings
        found = []
        if limits.streams_per_address and request.peer:
            found.append((f"address {request.peer}", limits.streams_per_address))
        if limits.streams_per_user and identity.sub is not None:
            found.append((f"user {identity.channel} {identity.sub}", limits.streams_per_user))
        return found

    async def admit(self, attachment: Attachment, holders: list[tuple[str, int]]) -> bool:
        """Take leases for a stream, to be let go at its end; tell whether it may be open.

        Raises:
            ConnectionLimit: it may not, and is to be refused.
        """
        stream = attachment.plan.session or uuid4().hex
        replace = self._settings.on_limit == "replace"
        leases: list[Lease] = []
        for holder, most in holders:
            lease = await self._take(holder, stream, most, replace=replace and holder.startswith("user "))
            if lease is None:
                self._let_go(leases)
                return self._over(holder)
            leases.append(lease)
            await self._end_replaced(lease)
        if attachment.is_over:
            self._let_go(leases)
            return True
        self._open[stream] = attachment
        attachment.on_end(lambda: self._ended(stream, attachment, leases))
        return True

    async def _take(self, holder: str, stream: str, most: int, *, replace: bool) -> Lease | None:
        lease = await self._leases.take(holder, stream, most, replace=replace)
        if lease is None:
            await asyncio.sleep(_SECOND_LOOK_S)
            lease = await self._leases.take(holder, stream, most, replace=replace)
        return lease

    def _over(self, holder: str) -> bool:
        kind = holder.partition(" ")[0]
        self._metrics.limit_hit(f"streams-per-{kind}")
        _log.info("limit hit", kind=f"streams-per-{kind}", on_limit=self._settings.on_limit)
        if self._settings.on_limit == "degrade":
            return False
        raise ConnectionLimit(f"too many streams are open for this {kind}: close one, or poll")

    async def _end_replaced(self, lease: Lease) -> None:
        """End the stream whose place was taken, wherever it is."""
        if lease.replaces is None:
            return
        stream, member = lease.replaces
        if self._leases.is_here(member):
            self._replaced({"member": member, "stream": stream})
            return
        try:
            await self._control.say(REPLACED, {"member": member, "stream": stream})
        except LogUnavailable as error:
            _log.warning("a replaced stream was not told", reason=error.detail)

    def _replaced(self, data: Data) -> None:
        attachment = self._open.get(data["stream"]) if self._leases.is_here(data["member"]) else None
        if attachment is not None:
            attachment.dismiss(control("connection.replaced", code="replaced"))

    def _ended(self, stream: str, attachment: Attachment, leases: list[Lease]) -> None:
        if self._open.get(stream) is attachment:
            del self._open[stream]
        self._let_go(leases)

    def _let_go(self, leases: list[Lease]) -> None:
        for lease in leases:
            self._leases.release(lease)
