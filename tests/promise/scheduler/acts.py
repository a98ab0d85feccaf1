"""Every kind of step, and what makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.promise.scheduler import breaking, moving, operating, publishing, reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.promise.scheduler.steps import Step
    from tests.promise.scheduler.world import World

    Act = Callable[[World, Step], Awaitable[str]]

_ALL: Final = (
    *(publishing.publish, publishing.batch, publishing.key, publishing.poison),
    *(reading.follow, reading.touch, reading.tick, reading.join, reading.earliest),
    *(reading.read, reading.stream, reading.drain, reading.long_poll),
    *(breaking.lose_reply, breaking.lose_request, breaking.cut, breaking.recover),
    *(breaking.fill, breaking.demote, breaking.evict),
    *(breaking.restart, breaking.restart_all, breaking.pass_time, breaking.clock_back, breaking.clock_ahead),
    *(moving.snapshot, moving.failover, moving.split, moving.heal, moving.go_back, moving.apart),
    *(moving.crash, moving.restore, moving.flush),
    *(operating.hear, operating.touch_control, operating.change, operating.revoke, operating.lift),
)
ACTS: Final[dict[str, Act]] = {act.__name__: act for act in _ALL}
