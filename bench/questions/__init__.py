"""The questions, in the order in which they are asked: those of one group are asked of the same running target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.questions import (
    broadcast,
    growth,
    idle,
    mix,
    polls,
    publishing,
    reattach,
    saturated,
    scopes,
    single,
    stalled,
    turnaround,
)

if TYPE_CHECKING:
    from bench.questions.question import Question

QUESTIONS: Final[tuple[Question, ...]] = (
    single.QUESTION,
    saturated.QUESTION,
    broadcast.QUESTION,
    scopes.QUESTION,
    mix.QUESTION,
    polls.QUESTION,
    turnaround.QUESTION,
    publishing.QUESTION,
    reattach.QUESTION,
    idle.QUESTION,
    growth.QUESTION,
    stalled.QUESTION,
)
