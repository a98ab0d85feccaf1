"""Calls that are shared: while one is under way, those that come wait, and then go together.

Nobody waits for company: one that finds nothing under way goes at once. Each gets its own answer; a call that fails has
failed for all who went with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """What one process asks of one place."""

    def __init__(
        self,
        carry: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        fitting: Callable[[Sequence[Question]], int],
        calls: int = 1,
        enough: int = 1,
    ) -> None:
        """Ask by `carry`, which returns an answer, or what is wrong, for each question, in order.

        `fitting` tells how many of those that wait, from the first on, one call carries; at least one is taken. Up to
        so many `calls` are under way at a time: another one as soon as `enough` wait, or more than one call carries.
        """
        self._carry = carry
        self._fitting = fitting
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._calls = calls
        self._enough = enough
        self._running: set[asyncio.Task[None] | None] = set()

    async def ask(self, question: Question) -> Answer:
        """Ask, together with whoever else asks meanwhile; raises what the answer is, or the call fails with."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, answer))
        if not self._running or (len(self._waiting) >= self._enough and len(self._running) < self._calls):
            self._begin()
        return await answer

    def _begin(self) -> None:
        self._running.add(asyncio.get_running_loop().create_task(self._run()))

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._call(self._take())
        finally:  # at once, and not when the task is done: who asks in between would wait for nobody
            self._running.discard(asyncio.current_task())

    def _take(self) -> Sequence[tuple[Question, asyncio.Future[Answer]]]:
        """Take as many as one call carries; have another one made for the others, if it may be."""
        count = max(1, self._fitting([question for question, _ in self._waiting]))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._waiting and len(self._running) < self._calls:
            self._begin()
        return taken

    async def _call(self, taken: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._carry([question for question, _ in taken])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is theirs who went together
            answers = [error] * len(taken)
        except BaseException:
            for _, waiting in taken:
                waiting.cancel()
            raise
        for (_, waiting), answer in zip(taken, answers, strict=True):
            if waiting.done():  # who asked has stopped waiting
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
