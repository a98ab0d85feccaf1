"""The fleet: every worker of every gateway, as each tells of itself once a second on the control log.

Nobody keeps a list: who has told lately is there, and a crash needs no cleaning up. What is asked of the fleet (who is
connected, whom would this policy move) goes to all of them, and comes back summed up.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog

from realtime.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realtime.channel.event import Cursor
    from realtime.channel.follower import Follower
    from realtime.channel.library import Command
    from realtime.control import Control, Data
    from realtime.delivery.hub import Hub
    from realtime.presence import Presence
    from realtime.revisions import Revisions

SAMPLED: Final = "gateway.sampled"
STOPPED: Final = "gateway.stopped"

EVERY_S: Final = 1.0
_SILENT_MS: Final = 4_000
"""Who has told nothing for so long is gone, or cut off from Redis."""

_log = structlog.get_logger("gapless.control")


class Member(NamedTuple):
    """One worker of one gateway."""

    gateway: str
    worker: int


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker tells of itself. Times in unix milliseconds; counts of deliveries since its start."""

    gateway: str
    worker: int
    version: str
    started: int
    revision: int
    ready: bool
    draining: bool
    connections: dict[str, int]
    """By transport: streams and held requests that are open, and clients that poll."""
    deliveries: dict[str, int]
    latency_ms: dict[str, tuple[int, ...]]
    """By transport, of the last second: median, 95th percentile, maximum, from the append to the write."""
    lag_ms: int
    """By how much its window is behind the newest event that it knows of."""

    @property
    def member(self) -> Member:
        """Who tells."""
        return Member(self.gateway, self.worker)


class Vitals:
    """What this worker tells of itself."""

    def __init__(self, member: Member, follower: Follower, hub: Hub, presence: Presence) -> None:
        """Tell of these."""
        self.member = member
        self._follower = follower
        self._hub = hub
        self._presence = presence
        self._version = version("gapless")  # reads a file
        self._started = time.time_ns() // 1_000_000

    def sample(self, revision: int) -> Sample:
        """Take stock; the latencies begin anew."""
        meter = self._hub.meter
        return Sample(
            gateway=self.member.gateway,
            worker=self.member.worker,
            version=self._version,
            started=self._started,
            revision=revision,
            ready=self._follower.filled and not self._hub.is_closed,
            draining=self._hub.is_closed,
            connections=self.connections(),
            deliveries=dict(meter.deliveries),
            latency_ms=meter.take_latencies(),
            lag_ms=self.lag_ms,
        )

    @property
    def lag_ms(self) -> int:
        """By how much the window is behind the newest event that is known of."""
        return max(0, self._follower.tail.ms - self._follower.window.position.ms)

    def connections(self) -> dict[str, int]:
        """Count who is connected, by transport; one who polls by stream is on polling."""
        attachments = self._hub.attachments
        counts = Counter(attachment.transport.name for attachment in attachments)
        counts.update(visit.transport for visit in self._presence.visits(attachments))
        return dict(counts)


class Fleet:
    """All workers, as they told."""

    def __init__(self, control: Control, vitals: Vitals, revisions: Revisions, renewal: Callable[[], Command]) -> None:
        """Hear of all, and tell of this one; `renewal` is the command that keeps what this one holds."""
        self._control = control
        self._renewal = renewal
        self._vitals = vitals
        self._revisions = revisions
        self._told: dict[Member, tuple[int, Sample]] = {}
        self._newest_ms = 0
        control.on_record(SAMPLED, self._sampled)
        control.on_record(STOPPED, self._stopped)

    def _sampled(self, id_: Cursor, data: Data) -> None:
        sample = msgspec.convert(data, Sample)
        self._newest_ms = max(self._newest_ms, id_.ms)
        self._told[sample.member] = (id_.ms, sample)

    def _stopped(self, _: Cursor, data: Data) -> None:
        self._told.pop(Member(data["gateway"], data["worker"]), None)

    def samples(self) -> list[Sample]:
        """Return the latest of each worker that is there; the sign of life is told by Redis's clock."""
        gone = [member for member, (ms, _) in self._told.items() if self._newest_ms - ms > _SILENT_MS]
        for member in gone:
            del self._told[member]
        return [sample for _, (_, sample) in sorted(self._told.items())]

    def knows(self, gateway: str) -> bool:
        """Tell whether a gateway is there."""
        return any(sample.gateway == gateway for sample in self.samples())

    async def ask(self, event: str, data: Mapping[str, object]) -> list[Any]:
        """Ask every worker; return the answers that came within a second.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        return await self._control.ask(event, data, max(1, len(self.samples())))

    async def run(self) -> None:
        """Tell of this worker once a second, until cancelled."""
        while True:
            try:
                sample = self._vitals.sample(self._revisions.current.number)
                await self._control.say(SAMPLED, msgspec.to_builtins(sample), beside=[self._renewal()], lasts=False)
            except LogUnavailable:
                pass  # who can't be heard counts as gone
            except Exception:  # noqa: BLE001 - a worker that serves must not count as gone for good
                _log.exception("sample not told")
            await asyncio.sleep(EVERY_S)

    async def stop(self) -> None:
        """Say that this worker goes."""
        gateway, worker = self._vitals.member
        try:
            await self._control.say(STOPPED, {"gateway": gateway, "worker": worker})
        except LogUnavailable:
            _log.info("leaving unheard")
