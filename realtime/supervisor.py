"""Keeps the long-lived tasks of a process running: none of them ends unnoticed.

A task that ends, by an error or not, is started again after a pause that doubles. Each restart is logged and counted.
A task that ends `TRIES` times without lasting `CALM_S` in between is *failing*: the worker is not ready until a later
try lasts that long. It is tried again and again all the same, for what it failed of may pass.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Self

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Work = Callable[[], Coroutine[object, object, None]]

TRIES: Final = 5
CALM_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 10.0

_log = structlog.get_logger("gapless.supervisor")


class Supervisor:
    """The long-lived tasks of one process, by name."""

    def __init__(self, first_pause_s: float = _FIRST_PAUSE_S, calm_s: float = CALM_S) -> None:
        """Begin with none; a task is started again after `first_pause_s`, and is well once it lasts `calm_s`."""
        self._first_pause_s = first_pause_s
        self._calm_s = calm_s
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()
        self.restarts: Counter[str] = Counter()
        """By name, how often a task was started again."""

    async def __aenter__(self) -> Self:
        """Supervise until the block ends."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def failing(self) -> tuple[str, ...]:
        """The names of the tasks that keep ending."""
        return tuple(sorted(self._failing))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tasks."""
        return tuple(self._keepers)

    def start(self, name: str, work: Work) -> None:
        """Run `work()` under a name until `stop`, and again whenever it ends."""
        self._keepers[name] = asyncio.get_running_loop().create_task(self._keep(name, work), name=f"keep {name}")

    async def stop(self) -> None:
        """Cancel all tasks, and wait for their ends."""
        keepers = list(self._keepers.values())
        self._keepers.clear()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, name: str, work: Work) -> None:
        ends = 0
        while True:
            ends = 1 if await self._lasts(name, work) else ends + 1
            if ends >= TRIES:
                self._failing.add(name)
            self.restarts[name] += 1
            await asyncio.sleep(min(self._first_pause_s * 2 ** (ends - 1), _LONGEST_PAUSE_S))

    async def _lasts(self, name: str, work: Work) -> bool:
        """Run a task to its end; tell whether it lasted until it was taken for well."""
        task = asyncio.get_running_loop().create_task(work(), name=name)
        try:
            await asyncio.wait({task}, timeout=self._calm_s)
            has_lasted = not task.done()
            if has_lasted:
                self._failing.discard(name)
                await asyncio.wait({task})
        finally:
            task.cancel()  # for the case that we are cancelled; one that is done stays as it is
            await asyncio.gather(task, return_exceptions=True)
        _tell_of_the_end(name, task)
        return has_lasted


def _tell_of_the_end(name: str, task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    _log.error("a task ended and is started again", task=name, exc_info=error)
