"""The producer of real events: this machine's load, and the progress of a real piece of work.

Each of its two streams numbers its events inside `data`: `n` follows `n - 1` without a gap, per
`run` of the producer. That is what lets the page *check* that nothing is missed or repeated,
instead of claiming it.

Rules: a number is given when an event is published, and the next one only when that is in the log;
while the log is away, sampling and hashing pause. Nothing queues up, and no number is skipped.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from realtime.demo.hashing import Pass, advance
from realtime.demo.host import Host
from realtime.demo.outbox import Outbox

if TYPE_CHECKING:
    from pathlib import Path

Event: TypeAlias = dict[str, object]
Publish: TypeAlias = Callable[[list[Event]], Awaitable[None]]

LOAD_EVENT: Final = "host.load-sampled"
LOAD_SCOPE: Final = "topic:host"
TASK_EVENT: Final = "task.progress-updated"
TASK_SCOPE: Final = "user:demo"
TASK: Final = "hash-environment"
TASK_KEY: Final = "task:hash"

SAMPLE_EVERY_S: Final = 1.0
UPDATE_EVERY_S: Final = 0.25
REST_BETWEEN_PASSES_S: Final = 3.0

# A twentieth of a core: 10 ms of CPU time in every 200. The machine's load is what the page shows, and
# hashing as fast as it goes would be all of it.
SLICE_S: Final = 0.010
SHARE_OF_A_CORE: Final = 0.05


@dataclass(slots=True)
class Stream:
    """One numbered sequence of events of one type, from one run of the producer."""

    publish: Publish
    event: str
    scope: str
    run: str
    run_started_at: str
    key: str | None = None
    n: int = 0

    async def send(self, data: Event) -> None:
        """Publish `data` under the next number; returns when it is in the log."""
        self.n += 1
        numbered = {"run": self.run, "run_started_at": self.run_started_at, "n": self.n}
        event: Event = {
            "event": self.event,
            "scope": self.scope,
            "data": numbered | data,
            "idempotency_key": f"{self.run}:{self.event}:{self.n}",
        }
        if self.key is not None:
            event["key"] = self.key
        await self.publish([event])


async def run(publish: Publish, root: Path) -> None:
    """Produce until cancelled; the files below `root` are hashed.

    Raises:
        ExceptionGroup: of what `publish` raised.
    """
    name, started_at = secrets.token_hex(6), _now()
    load = Stream(publish, LOAD_EVENT, LOAD_SCOPE, name, started_at)
    task = Stream(publish, TASK_EVENT, TASK_SCOPE, name, started_at, TASK_KEY)
    async with asyncio.TaskGroup() as group:
        group.create_task(_sample(load))
        group.create_task(_hash_again_and_again(task, root))


async def run_http(base_url: str, token: str | Callable[[], str], root: Path) -> None:
    """Produce over HTTP until cancelled, as `run` does.

    `token` is a JWT of role `publisher`, or gives one: a callable is asked again when the service
    refuses the last, so that a long run outlives its first token.

    Raises:
        ExceptionGroup: of `PublishRefused`, when the service refuses the events for good.
    """
    give = token if callable(token) else lambda: token
    async with Outbox(base_url, give) as outbox:
        await run(outbox.publish, root)


async def _sample(stream: Stream) -> None:
    host = Host()
    due = time.monotonic()
    while True:
        # After a pause (the log was away, the machine slept) go on from now, without catching up.
        due = max(due + SAMPLE_EVERY_S, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        await stream.send(host.sample())


async def _hash_again_and_again(stream: Stream, root: Path) -> None:
    while True:
        await _hash_once(stream, root)
        await asyncio.sleep(REST_BETWEEN_PASSES_S)


async def _hash_once(stream: Stream, root: Path) -> None:
    work = Work(root)
    await stream.send(work.data())  # at once: to count the files takes a while
    steps, told_at, more = work.files.steps(), time.monotonic(), True
    while more:
        more, used_s = await asyncio.to_thread(advance, steps, SLICE_S)
        if more and work.counted and time.monotonic() - told_at >= UPDATE_EVERY_S:
            told_at = time.monotonic()
            await stream.send(work.data())
        await asyncio.sleep(used_s * (1 / SHARE_OF_A_CORE - 1))
    await stream.send(work.data())


@dataclass(slots=True)
class Work:
    """One pass over the environment's files, as the page is told of it."""

    root: Path
    files: Pass = field(init=False)
    started_at: str = field(init=False)

    def __post_init__(self) -> None:
        """Begin now."""
        self.files, self.started_at = Pass(self.root), _now()

    @property
    def counted(self) -> bool:
        """Whether the totals are known yet."""
        return self.files.progress.files_total > 0

    def data(self) -> Event:
        """Return the `data` of one `task.progress-updated`, without its number."""
        progress = self.files.progress
        data: Event = {
            "task": TASK,
            "files_done": progress.files_done,
            "files_total": progress.files_total,
            "files_skipped": progress.files_skipped,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
            "current": progress.current.replace(os.sep, "/"),
            "percent": progress.percent,
            "started_at": self.started_at,
        }
        return data if progress.digest is None else data | {"digest": progress.digest}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
