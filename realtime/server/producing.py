"""The demo's producer in a process of its own: a publisher like any other, that takes nothing from the service."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from realtime import logs
from realtime.auth import Credentials
from realtime.config import resolve_secret
from realtime.demo import producer

if TYPE_CHECKING:
    from realtime.config import Settings
    from realtime.server.child import Report

_SUB: Final = "demo-producer"
_NICER: Final = 10
"""How far it stands back behind the service when both want the same core."""


def work(report: Report, settings: Settings, url: str) -> None:
    """Publish the demo's events over HTTP until ended."""
    logs.configure(settings)
    os.nice(_NICER)
    credentials = Credentials(settings, resolve_secret(settings))
    report.ready()
    asyncio.run(producer.run_http(url, lambda: credentials.mint(_SUB, roles=("publisher",))))
