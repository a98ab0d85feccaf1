"""The rounds: every peer is started afresh in each of them, in another order, and asked its questions."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

import httpx2
from redis import RedisError

from bench.peers import PEERS
from bench.questions.question import Figures, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.questions.question import Question

_FAILURES = (RuntimeError, OSError, subprocess.SubprocessError, httpx2.HTTPError, RedisError)
"""What may go wrong with one target: said, and the others are asked all the same."""


@dataclass(frozen=True, slots=True)
class Step:
    """Some questions to one peer that is started for them."""

    peer: str
    questions: tuple[Question, ...]


@dataclass(slots=True)
class Rounds:
    """What has been asked and answered. A failure is kept too: nothing is left out."""

    questions: Sequence[Question]
    peers: Sequence[str]
    wanted: Sequence[str]
    """Those that can't be asked too."""
    pace: float = 1.0
    """What the rates of load are multiplied by."""
    found: dict[str, dict[str, list[Figures]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    failures: list[str] = field(default_factory=list)

    def samples(self, question: Question) -> Samples:
        """Return the figures of a question."""
        return Samples(self.found[question.name], self.found)

    def steps(self, number: int) -> Iterator[Step]:
        """Return the steps of one round: peers go to and fro, so that none is always first."""
        for _, group in groupby(self.questions, key=lambda question: question.group):
            together = tuple(group)
            asked = [peer for peer in self.peers if any(peer in question.peers for question in together)]
            for peer in asked if number % 2 == 0 else reversed(asked):
                yield Step(peer, tuple(question for question in together if peer in question.peers))

    def take(self, number: int, step: Step, say: Callable[[str], None]) -> None:
        """Take one step."""
        asked = ""
        try:
            with PEERS[step.peer].running() as running:
                target = replace(running, pace=self.pace)
                for question in step.questions:
                    asked = question.name
                    say(f"round {number + 1}: {step.peer}, {asked}")
                    self.found[asked][step.peer].append(question.ask(target))
        except _FAILURES as error:
            self.failures.append(f"round {number + 1}, {step.peer}, {asked or 'start'}: {error!r}")
