"""One of several processes that serve on the same address."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from realtime import logs
from realtime.server import stopping
from realtime.server.gateway import run_gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.app import Worker
    from realtime.config import Settings
    from realtime.fleet import Member
    from realtime.metrics import Share
    from realtime.server.address import Place
    from realtime.server.child import Report


def work(  # noqa: PLR0913, PLR0917 - `Child` passes its arguments by position
    report: Report,
    settings: Settings,
    redis_url: str,
    places: Sequence[Place],
    demo: bool,  # noqa: FBT001 - see above
    member: Member,
    share: Share,
) -> None:
    """Serve until ended, in a process of its own; `member` says which worker of which gateway it is.

    Raises:
        StartError: it can't start.
    """
    logs.configure(settings)

    async def hear(worker: Worker) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(report.beat())
            await report.hear(worker.reload)

    with ExitStack() as bound:
        socks = [bound.enter_context(closing(place.bind())) for place in places]
        ending = stopping.Ending()
        serving = run_gateway(
            settings, redis_url, socks, report.ready, ending, demo=demo, member=member, share=share, beside=hear
        )
        stopping.run(serving, ending)
