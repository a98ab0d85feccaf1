"""Runs one piece of work on an event loop of its own, until a signal or the end of another process stops it.

SIGTERM lets clients go in their time first (a drain); Ctrl-C (SIGINT), SIGQUIT and a second SIGTERM end it at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import uvloop

from realtime.server.notify import STOPPING, notify

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

FORCED: Final = 130
"""The status after a second Ctrl-C: 128 and the number of SIGINT, as shells have it."""


@dataclass(slots=True)
class Ending:
    """How the work is to end, once it is cancelled."""

    drains: bool = False
    """Whether clients are let go in their time first."""
    hurried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when nobody wants to wait for that any longer. A second cancellation would not get through task groups."""


def run(
    work: Coroutine[None, None, None],
    ending: Ending,
    *,
    tied_to: int | None = None,
    hung_up: Callable[[], None] | None = None,
) -> None:
    """Run `work`, and cancel it at the first signal to end, or when the process `tied_to` ends.

    To be called from the main thread. SIGHUP calls `hung_up`. A second SIGINT ends this process by force, and the
    kernel those that depend on it (`die_with_parent`).
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, suppress(asyncio.CancelledError):
        runner.run(_until_stopped(work, ending, tied_to, hung_up))


async def _until_stopped(
    work: Coroutine[None, None, None], ending: Ending, tied_to: int | None, hung_up: Callable[[], None] | None
) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    interrupts = 0

    def at_once() -> None:
        ending.drains = False
        ending.hurried.set()
        task.cancel()

    def interrupted() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            os._exit(FORCED)
        at_once()

    def terminated() -> None:
        if ending.drains:
            at_once()
        else:
            ending.drains = True
            notify(STOPPING)
            task.cancel()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGQUIT, at_once)
    loop.add_signal_handler(signal.SIGTERM, terminated)
    if hung_up is not None:
        loop.add_signal_handler(signal.SIGHUP, hung_up)
    with ExitStack() as watched:
        if tied_to is not None:
            _watch(tied_to, task, watched)
        await task


def _watch(process: int, task: asyncio.Task[None], watched: ExitStack) -> None:
    """Cancel a task when a process ends, where the system can tell (Linux).

    Other than the kernel's signal (`die_with_parent`) this doesn't mistake the end of the thread that started us for
    the end of its process: we know nothing of the program that did.
    """
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        task.cancel()
    except (AttributeError, OSError):
        return  # another system, or a process out of our sight
    else:
        watched.callback(os.close, descriptor)
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, task.cancel)
        watched.callback(loop.remove_reader, descriptor)
