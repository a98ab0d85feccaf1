"""Concurrent appends share calls to Redis: while one is under way, those that come wait, and then go together.

Nobody waits for company: an append that finds nothing under way goes at once. Each gets its own answer, and its own
conflict; an answer that is lost is lost for all who went together, and they may all try again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from realtime.errors import IdempotencyConflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.event import Draft
    from realtime.channel.log import Appended

_MOST_EVENTS = 1_000
_MOST_BYTES = 1024 * 1024


@dataclass(eq=False, slots=True)
class _Request:
    """What one publisher wants appended, all or nothing."""

    drafts: Sequence[Draft]
    answer: asyncio.Future[Sequence[Appended]]

    @property
    def size(self) -> int:
        """Bytes of the stored envelopes."""
        return sum(len(draft.stored) for draft in self.drafts)


class Appender(Protocol):
    """What is asked of a log."""

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Appended]:
        """Append all events or none, once each."""


class Appends:
    """The appends of one process to one log."""

    def __init__(self, log: Appender) -> None:
        """Append to a log."""
        self._log = log
        self._waiting: list[_Request] = []
        self._running: asyncio.Task[None] | None = None

    async def append(self, drafts: Sequence[Draft], publisher: str = "") -> Sequence[Appended]:
        """Append all events or none, once each.

        Raises:
            IdempotencyConflict: a key was used for another event; nothing was appended.
            LogUnavailable: no answer: the events are perhaps in the log.
        """
        loop = asyncio.get_running_loop()
        theirs = [replace(one, publisher=publisher) if one.idempotency_key else one for one in drafts]
        request = _Request(theirs, loop.create_future())
        self._waiting.append(request)
        if self._running is None:
            self._running = loop.create_task(self._run())
        return await request.answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._append(self._together())
        finally:
            self._running = None

    def _together(self) -> list[_Request]:
        """Take as many of the waiting as one call carries; at least one."""
        taken, events, size = [self._waiting[0]], len(self._waiting[0].drafts), self._waiting[0].size
        for request in self._waiting[1:]:
            events, size = events + len(request.drafts), size + request.size
            if events > _MOST_EVENTS or size > _MOST_BYTES:
                break
            taken.append(request)
        del self._waiting[: len(taken)]
        return taken

    async def _append(self, requests: list[_Request]) -> None:
        while requests:
            try:
                appended = await self._log.append([draft for one in requests for draft in one.drafts])
            except IdempotencyConflict as conflict:
                requests = _without_conflict(requests, conflict)
            except BaseException as error:
                for request in requests:
                    _fail(request, error)
                if not isinstance(error, Exception):
                    raise
                return
            else:
                _answer(requests, appended)
                return


def _answer(requests: Sequence[_Request], appended: Sequence[Appended]) -> None:
    begin = 0
    for request in requests:
        end = begin + len(request.drafts)
        if not request.answer.done():
            request.answer.set_result(appended[begin:end])
        begin = end


def _without_conflict(requests: Sequence[_Request], conflict: IdempotencyConflict) -> list[_Request]:
    """Refuse the one that is in conflict; nothing of the others was appended yet."""
    left, index = [], conflict.index
    for request in requests:
        if 0 <= index < len(request.drafts):
            _fail(request, IdempotencyConflict.of(index))
        else:
            left.append(request)
        index -= len(request.drafts)
    return left


def _fail(request: _Request, error: BaseException) -> None:
    if not request.answer.done():
        request.answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
