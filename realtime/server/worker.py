"""One of several processes that serve on the same address."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from realtime import logs
from realtime.server import stopping
from realtime.server.gateway import run_gateway

if TYPE_CHECKING:
    from realtime.config import Settings
    from realtime.server.address import Place
    from realtime.server.child import Report


def work(report: Report, settings: Settings, redis_url: str, place: Place, demo: bool) -> None:  # noqa: FBT001 - `Child` passes its arguments by position
    """Serve until ended, in a process of its own.

    Raises:
        StartError: it can't start.
    """
    logs.configure(settings)
    with closing(place.bind()) as sock:
        stopping.run(run_gateway(settings, redis_url, sock, report.ready, demo=demo))
