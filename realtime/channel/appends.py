"""Concurrent appends share calls to Redis (`Together`), each with its own answer and its own conflict.

An answer that is lost is lost for all who went together, and they may all try again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from realtime.channel.durability import MEMORY
from realtime.channel.together import Together
from realtime.errors import IdempotencyConflict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.channel.durability import Durability
    from realtime.channel.event import Draft
    from realtime.channel.log import Appended

    Drafts = Sequence[Draft]
    """What one publisher wants appended, all or nothing."""
    Answers = list[Sequence[Appended] | Exception]

_MOST_EVENTS = 500
_MOST_BYTES = 1024 * 1024
_CALLS = 2
"""While Redis works on one, another is made ready."""
_ENOUGH = 12
"""So many publishers have to wait for that: a call costs as much as several events, and fewer go with the next."""


class Appender(Protocol):
    """What is asked of a log."""

    async def append(self, drafts: Sequence[Draft], *, durability: Durability = MEMORY) -> Sequence[Appended]:
        """Append all events or none, once each, and return when they are as durable as is wanted."""


class Appends:
    """The appends of one process to one log."""

    def __init__(self, log: Appender, durability: Durability = MEMORY) -> None:
        """Append to a log; those who share a call share the wait for durability too."""
        self._log = log
        self._durability = durability
        self._together: Together[Drafts, Sequence[Appended]] = Together(self._append, _fitting, _CALLS, _ENOUGH)

    async def append(self, drafts: Sequence[Draft], publisher: str = "") -> Sequence[Appended]:
        """Append all events or none, once each.

        Raises:
            IdempotencyConflict: a key was used for another event; nothing was appended.
            LogUnavailable: no answer, or not as durable as wanted: the events are perhaps in the log.
        """
        theirs = [one._replace(publisher=publisher) if one.idempotency_key else one for one in drafts]
        return await self._together.ask(theirs)

    async def _append(self, requests: Sequence[Drafts]) -> Answers:
        """Append for several, once more without each that is in conflict: nothing of the others was appended yet."""
        conflicts: dict[int, IdempotencyConflict] = {}
        while len(conflicts) < len(requests):
            left = [(at, drafts) for at, drafts in enumerate(requests) if at not in conflicts]
            try:
                together = [draft for _, drafts in left for draft in drafts]
                appended = await self._log.append(together, durability=self._durability)
            except IdempotencyConflict as conflict:
                at, index = _place(left, conflict.index)
                conflicts[at] = IdempotencyConflict.of(index)
            else:
                return _answers(requests, conflicts, appended)
        return _answers(requests, conflicts, ())


def _fitting(requests: Sequence[Drafts]) -> int:
    """Tell how many requests one call carries: so many events, and bytes of stored envelopes."""
    events = size = 0
    for count, drafts in enumerate(requests):
        events, size = events + len(drafts), size + sum(len(draft.stored) for draft in drafts)
        if events > _MOST_EVENTS or size > _MOST_BYTES:
            return count
    return len(requests)


def _place(requests: Sequence[tuple[int, Drafts]], index: int) -> tuple[int, int]:
    """Find whose event has an index among those of all, and which of theirs it is."""
    for at, drafts in requests:
        if index < len(drafts):
            return at, index
        index -= len(drafts)
    raise IndexError(index)


def _answers(
    requests: Sequence[Drafts], conflicts: dict[int, IdempotencyConflict], appended: Sequence[Appended]
) -> Answers:
    """Give each its own part of what was appended."""
    answers: Answers = []
    begin = 0
    for at, drafts in enumerate(requests):
        if at in conflicts:
            answers.append(conflicts[at])
        else:
            answers.append(appended[begin : begin + len(drafts)])
            begin += len(drafts)
    return answers
