"""The promise, in histories that a seed draws: so many of them are without a fault, and each can be made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.promise.scheduler.acts import ACTS
from tests.promise.scheduler.history import stage
from tests.promise.scheduler.steps import KINDS, Step, draw
from tests.promise.scheduler.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

_FIRST: Final = range(1, 401, 50)
_HISTORIES: Final = 50


@pytest.mark.parametrize("first", _FIRST)
async def test_no_history_has_a_fault(tmp_path: Path, first: int) -> None:
    tally = Tally()
    async with stage(tmp_path) as made:
        for seed in range(first, first + _HISTORIES):
            outcome = await made.make(draw(seed))
            tally.add(outcome)
            assert not outcome.faults, f"\n{await made.shrink(outcome)}"
    assert tally.truncations > 0, "some are told: else nothing was lost"


@pytest.mark.parametrize("seed", range(1, 9))
async def test_a_seed_gives_the_same_steps_and_the_same_answers(tmp_path: Path, seed: int) -> None:
    async with stage(tmp_path) as made:
        first, second = await made.make(draw(seed)), await made.make(draw(seed))
    assert first.trace == second.trace
    assert first.faults == second.faults


async def test_a_failing_history_is_shrunk_to_few_steps(tmp_path: Path) -> None:
    async with stage(tmp_path, [("return stop and not below(stop, id)", "return stop")]) as made:
        outcome = await made.make(draw(1))
        while not outcome.faults:
            outcome = await made.make(draw(outcome.plan.seed + 1))
        shrunk = await made.shrink(outcome)
    assert shrunk.faults[0].kind == outcome.faults[0].kind
    assert len(shrunk.plan.steps) < len(outcome.plan.steps) / 2


def test_every_kind_of_step_that_is_drawn_can_be_made() -> None:
    assert sorted(ACTS) == sorted(KINDS)


def test_any_part_of_a_plan_is_a_plan() -> None:
    plan = draw(1)
    assert plan.only((Step("publish"),)).setting == plan.setting
    assert draw(1) == plan
