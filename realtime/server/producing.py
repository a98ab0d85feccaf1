"""The demo's producer and clients in a process of their own: like any others, they take nothing from the service."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from realtime import logs
from realtime.auth import Credentials
from realtime.config import resolve_secret
from realtime.demo import clients, producer

if TYPE_CHECKING:
    from pathlib import Path

    from realtime.config import Settings
    from realtime.server.child import Report

_SUB: Final = "demo-producer"
_NICER: Final = 10
"""How far it stands back behind the service when both want the same core."""


def work(report: Report, settings: Settings, url: str, folder: Path) -> None:
    """Publish the demo's events over HTTP, and receive them, until ended; the files below `folder` are hashed."""
    logs.configure(settings)
    os.nice(_NICER)
    credentials = Credentials(settings, resolve_secret(settings))
    report.ready()
    asyncio.run(_run(credentials, url, folder))


async def _run(credentials: Credentials, url: str, folder: Path) -> None:
    async with asyncio.TaskGroup() as group:
        token = partial(credentials.mint, _SUB, roles=("publisher",))
        group.create_task(producer.run_http(url, token, folder))
        group.create_task(clients.run_http(url, credentials.mint))
