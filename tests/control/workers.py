"""One worker's share of the control log, with nothing else of the service: what it heard, its policy, its fleet."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from policies.document import Document
from realtime.channel.event import ORIGIN
from realtime.config import Settings
from realtime.connect import connect
from realtime.control import Control
from realtime.delivery.wheel import Wheel
from realtime.offers import Offers
from realtime.revisions import Revisions
from realtime.revocation import Revocation
from realtime.revocations import Revocations
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from policies.policy import Policy

CATALOGUE = Offers(Settings()).catalogue
BASELINE = Document()
_TIMEOUT_S = 5.0  # a busy machine answers late; tests cut connections where Redis is to be away
_BLOCKED_S = 6.0  # longer than a follower or a question waits


@dataclass
class Worker:
    """One worker."""

    control: Control
    policies: list[Policy] = field(default_factory=list)
    """What was in force, one after another."""
    commands: list[Any] = field(default_factory=list)
    """The commands that it carried out."""
    ended: int = 0
    """How often it looked whom to end, after a revocation."""

    def __post_init__(self) -> None:
        offers = Offers(Settings())
        offers.on_change(lambda: self.policies.append(offers.policy))
        self.revisions = Revisions(self.control, BASELINE, offers)
        self.revocations = Revocations(self.control, self._look)
        self.control.on("test.commanded", self._carry_out)

    def _look(self) -> None:
        self.ended += 1

    def _carry_out(self, data: dict[str, Any]) -> object:
        self.commands.append(data["number"])
        return {"did": data["number"]}

    async def prefer(self, *preference: str, by: str = "alice") -> int:
        """Put another order in force."""
        document = Document.model_validate({**self.revisions.document.dump(), "preference": list(preference)})
        return (await self.revisions.save(document, by, "a test", self.revisions.current.number)).number

    async def has(self, *preference: str) -> None:
        """Wait until an order is in force."""
        await until(lambda: self.revisions.document.preference == preference)

    async def refuse(self, sub: str) -> None:
        await self.revocations.revoke(Revocation("sub", sub, "alice", 0))

    async def command(self, number: int) -> None:
        await self.control.say("test.commanded", {"number": number})

    @property
    def position(self) -> Any:  # noqa: ANN401 - a cursor
        return self.control.follower.window.position


@asynccontextmanager
async def worker(redis_url: str, *, ready: bool = True) -> AsyncIterator[Worker]:
    """Run a worker until the block ends; if it is `ready`, it has heard what there is to hear when the block begins."""
    redis = connect(redis_url, _TIMEOUT_S, 8)
    wheel = Wheel()
    one = Worker(Control(redis, lambda: connect(redis_url, _BLOCKED_S, 1), wheel))
    parts = (one.control.follower, one.revisions, one.revocations)
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        await until(lambda: one.revisions.is_loaded == ready and one.position > ORIGIN)
        yield one
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        wheel.stop()
        await redis.aclose()
