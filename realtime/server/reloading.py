"""Reads the configuration anew when its file was edited, or at SIGHUP, and tells what came of it.

Rules: what can be taken on is; what can't is named once, as needing a restart; a configuration that can't be used
changes nothing, and is told as at the start. The folder is watched and not the file: editors and orchestrators replace
files. Whether anything was edited is seen from what the file holds, for others may write into that folder too, our own
log among them.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

import structlog
import watchfiles

from realtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.config import Settings, Source, Taken

_CALM_MS: Final = 200
"""How long a file must be left alone: an editor may write it in pieces."""

_log = structlog.get_logger("gapless.config")


class Reloading:
    """One program's configuration, while it runs."""

    def __init__(self, source: Source) -> None:
        """Read `source`, and watch its file."""
        self._source = source
        self._wanted = asyncio.Event()
        self._seen = self._bytes()
        # Who started it with SIGHUP ignored (nohup) wants it to outlive the terminal.
        self._ends_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def hang_up(self) -> None:
        """Do as SIGHUP asks: read anew, or end, when it tells that the terminal is gone."""
        if self._ends_with_terminal and not _has_terminal():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._wanted.set()

    async def run(self, take: Callable[[Settings], Taken]) -> NoReturn:
        """Hand what is read anew to `take`, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                self._read(take)

    async def _watch(self) -> None:
        folder = self._source.file.parent
        try:
            async for _ in watchfiles.awatch(folder, watch_filter=None, step=_CALM_MS, recursive=False):
                if self._bytes() != self._seen:
                    self._wanted.set()
        except OSError as error:
            _log.warning("configuration not watched: edits count after a SIGHUP", folder=str(folder), error=str(error))

    def _read(self, take: Callable[[Settings], Taken]) -> None:
        self._seen = self._bytes()
        try:
            taken = take(self._source.load())
        except ConfigError as error:
            _log.error("configuration not reloaded, nothing has changed", detail=error.detail)
            return
        _log.info("configuration reloaded", changed=list(taken.changed))
        if taken.waiting:
            _log.warning("configuration needs a restart", settings=list(taken.waiting))

    def _bytes(self) -> bytes | None:
        with suppress(OSError):
            return self._source.file.read_bytes()
        return None


def _has_terminal() -> bool:
    """Tell whether there is a terminal whose end is told by SIGHUP."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    os.close(descriptor)
    return True
