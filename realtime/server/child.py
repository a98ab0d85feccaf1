"""A process of our own that is started again when it dies, and never outlives us.

It reports to its parent through a pipe: once, that it is ready, or why it can't be; then, if it beats, once a second
that its event loop runs. One that stops beating hangs: it is killed, and started again. The end of the pipe is its end.
The other way the parent tells it news; who takes its place is told the last.

Rules: it is started from the main thread, which is the parent that the kernel watches (`die_with_parent`). A terminal's
Ctrl-C, and its end, go to every process of the group: a child doesn't hear them, and is ended by its parent, in the
right order.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import select
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import structlog

from realtime.embedded import die_with_parent
from realtime.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

_FIRST_RESTART_S: Final = 0.1
_SLOWEST_RESTART_S: Final = 10.0
_STOP_S: Final = 5.0
"""How long a child may take to end before it is killed, beside its drain: longer than a gateway's last answers."""

_LOOK_AGAIN_S: Final = 0.2
_BEAT_S: Final = 1.0
_MOST_MISSED: Final = 4
"""So many seconds without a beat, each waited for by itself: a machine that stood still is one of them."""
_BEAT: Final = "beat"

_UNHEARD: Final = frozenset({signal.SIGINT, signal.SIGHUP})
_spawn: Final = multiprocessing.get_context("spawn")
_log = structlog.get_logger("gapless.server")


class Hanging(Exception):
    """A child that beat does not beat any more."""


class Report:
    """The child's end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        """Write to this end."""
        self._pipe = pipe

    def ready(self) -> None:
        """Tell the parent that the work has begun."""
        self._pipe.send(None)

    def refused(self, problem: StartError) -> None:
        """Tell the parent why it can't begin."""
        self._pipe.send(problem)

    async def beat(self) -> NoReturn:
        """Tell the parent once a second that this event loop runs; never wait for a parent that does not listen."""
        while True:
            if select.select([], [self._pipe], [], 0)[1]:
                self._pipe.send(_BEAT)
            await asyncio.sleep(_BEAT_S)

    async def hear(self, take: Callable[[Any], object]) -> None:
        """Hand the parent's news to `take`, until there will be none."""
        with suppress(EOFError):
            while True:
                await _readable(self._pipe.fileno())
                take(self._pipe.recv())


@dataclass(slots=True)
class Child:
    """One process, and those that take its place."""

    name: str
    work: Callable[..., None]
    """What it does until it is ended: a function of a module, called with a `Report` and the arguments."""
    arguments: tuple[object, ...]
    ended: Callable[[], None] = lambda: None
    """Called whenever it has ended, however it did, and before it is started again."""
    patience_s: Callable[[], float] = lambda: 0.0
    """How long it may drain when it is ended; 0: it is ended at once."""
    at_once: signal.Signals = signal.SIGTERM
    """What ends it at once, where SIGTERM lets it drain."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was ready for the first time."""
    _pause_s: float = field(init=False, default=_FIRST_RESTART_S)
    _pipe: Connection | None = field(init=False, default=None)
    _news: object = field(init=False, default=None)

    def tell(self, news: object) -> None:
        """Tell it something, and whoever takes its place, until there is later news."""
        self._news = news
        self._pass_on()

    def _pass_on(self) -> None:
        if self._pipe is not None and self._news is not None:
            with suppress(OSError):  # it has just ended, and the next one is told
                self._pipe.send(self._news)

    async def keep(self) -> NoReturn:
        """Start it, and start it again whenever it dies, until cancelled; then it is ended.

        Raises:
            StartError: it ended before it was ready for the first time.
        """
        while True:
            process, pipe = self._start()
            self._pipe = pipe
            self._pass_on()
            try:
                with suppress(EOFError):
                    await self._listen(pipe)
                await _ended(process, _STOP_S)
            except Hanging:
                _log.error("a process hangs and is killed", process=self.name, pid=process.pid)
                process.kill()
            finally:
                self._pipe = None
                await _end(process, self.patience_s, self.at_once)
                pipe.close()
                self.ended()
            if not self.ready.is_set():
                raise StartError(f"The {self.name} ended with status {process.exitcode} while it was starting.")
            _log.error("a process ended and is started again", process=self.name, status=process.exitcode)
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, _SLOWEST_RESTART_S)

    def _start(self) -> tuple[SpawnProcess, Connection]:
        ours, theirs = _spawn.Pipe()
        arguments = (os.getpid(), theirs, self.work, self.arguments)
        process = _spawn.Process(target=_begin, name=self.name, args=arguments, daemon=True)
        with _unheard():
            process.start()
        theirs.close()  # the copy in the child is the last, and ends with it
        return process, ours

    async def _listen(self, pipe: Connection) -> NoReturn:
        """Hear what it reports, until EOFError tells that it has ended.

        Raises:
            Hanging: it has stopped beating.
        """
        beats = False
        while True:
            problem = await _received(pipe, _MOST_MISSED if beats else None)
            if problem == _BEAT:
                beats = True
            elif problem is None:
                self._pause_s = _FIRST_RESTART_S
                self.ready.set()
            elif self.ready.is_set():
                _log.error("a process can't be started again", process=self.name, detail=problem.detail)
            else:
                raise problem


def _begin(parent: int, pipe: Connection, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """Do the work, in the child."""
    # By SIGKILL: once the parent is gone nobody is left to insist.
    die_with_parent(parent, signal.SIGKILL)
    report = Report(pipe)
    try:
        work(report, *arguments)
    except StartError as problem:
        report.refused(problem)


@contextmanager
def _unheard() -> Iterator[None]:
    """Block signals: a process started meanwhile will never hear them, and we hear them a moment later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _UNHEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _received(pipe: Connection, most_missed: int | None) -> Any:  # noqa: ANN401 - what `Report` sends
    """Wait for the next report, for as many beats as may be missed (`None`: for ever).

    Raises:
        EOFError: there will be none.
        Hanging: there was none in that time.
    """
    for _ in itertools.count() if most_missed is None else range(most_missed):
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEAT_S):
                await _readable(pipe.fileno())
        if pipe.poll():
            return pipe.recv()
    raise Hanging


async def _ended(process: SpawnProcess, within_s: float) -> None:
    """Wait for a process to end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await _readable(process.sentinel)


async def _end(process: SpawnProcess, patience_s: Callable[[], float], at_once: signal.Signals) -> None:
    """End a process: after a drain, as long as there is time for one; then at once; then by force."""
    try:
        if patience_s():
            process.terminate()
            deadline = time.monotonic() + patience_s() + _STOP_S
            while process.is_alive() and patience_s() and time.monotonic() < deadline:
                await _ended(process, _LOOK_AGAIN_S)
        if process.is_alive():
            os.kill(process.pid or 0, at_once)
        await _ended(process, _STOP_S)
    finally:
        process.kill()
        process.join()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
