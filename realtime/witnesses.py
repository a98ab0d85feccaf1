"""Keeps what a gateway saw of its logs in the data directory, so that a restarted one notices what they lost meanwhile.

Each worker has a file of its own, `<data_dir>/witnesses/<gateway>-<worker>.json`, replaced at most once a second and at
a stop. Gateways may share a directory: who starts reads the files of all, and has the logs compared with them before
anybody is served (rule 5). What was seen within the last second before a process was killed is not in its file.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from realtime.channel.witness import Seen, highest, of_log, read, written
from realtime.errors import ConfigError, LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from realtime.channel.log import Log

_EVERY_S: Final = 1.0
_MOST_FILES: Final = 100
"""How many are left in the directory when a gateway starts: it has merged them all into its own."""

_log = structlog.get_logger("gapless.witnesses")


class Witnesses:
    """What one worker saw of its logs, and its file."""

    def __init__(self, data_dir: Path, name: str, logs: Sequence[Log]) -> None:
        """Keep a file of that name, unlike any other's, for some logs."""
        self._folder = data_dir / "witnesses"
        self._file = self._folder / f"{name}.json"
        self._logs = logs
        self._seen: dict[str, Seen] = {}
        self._fails = False

    async def recall(self) -> None:
        """Have the logs compared with what gateways saw of them: what is lost is told from now on.

        Raises:
            ConfigError: Redis does not answer.
        """
        found = await asyncio.to_thread(lambda: list(self._found()))
        try:
            for log in self._logs:
                await _compare(log, found)
        except LogUnavailable as error:
            raise ConfigError(f"redis.url: {error.detail}") from error
        await self.keep()
        await asyncio.to_thread(self._clear)

    async def run(self) -> None:
        """Keep the file up to date, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.keep()

    async def keep(self) -> None:
        """Write down what was seen, where that is something new. Where it can't be written, the service goes on."""
        seen = {log.name: Seen(log.born, highest(log.witnesses)) for log in self._logs}
        if seen == self._seen:
            return
        try:
            await asyncio.to_thread(self._write, written(seen))
        except OSError as error:
            if not self._fails:
                _log.warning("what was seen of the log can't be kept", file=str(self._file), reason=error.strerror)
            self._fails = True
        else:
            self._seen, self._fails = seen, False

    def _found(self) -> Iterator[tuple[str, Seen]]:
        for file in self._files():
            with suppress(OSError, ValueError):  # another gateway's that is gone meanwhile, or no file of ours
                yield from read(file.read_bytes())

    def _files(self) -> list[Path]:
        """Return the files of all, the newest first."""

        def age(file: Path) -> float:
            with suppress(OSError):
                return -file.stat().st_mtime
            return 0

        return sorted(self._folder.glob("*.json"), key=age)

    def _write(self, raw: bytes) -> None:
        """Replace the file, so that a crash leaves the old one or the new one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        with new.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)

    def _clear(self) -> None:
        for file in self._files()[_MOST_FILES:]:
            with suppress(OSError):
                file.unlink()


async def _compare(log: Log, found: Sequence[tuple[str, Seen]]) -> None:
    """Fence what a log lacks of what was seen, however old: it may be of a server whose clock was behind (rule 5)."""
    await log.touch()
    for id_ in of_log(found, log.name, log.born):
        log.witness(id_)
    pulse = await log.touch()
    if pulse.fenced:
        _log.warning("entries lost", log=log.name, floor=str(pulse.floor))
