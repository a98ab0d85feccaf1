"""Goals are judged by medians, and know no machine; what was not measured is not judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import results
from bench.plan import Publisher
from bench.questions import QUESTIONS
from bench.questions.question import Goal, Samples
from bench.tables import table

if TYPE_CHECKING:
    from pathlib import Path

OURS = [{"cost": 9.0}, {"cost": 4.0}, {"cost": 5.0}]
THEIRS = [{"cost": 4.0}, {"cost": 1.0}, {"cost": 5.0}]


@pytest.mark.parametrize(("most", "holds"), [(1.3, True), (1.2, False)])
def test_a_goal_compares_our_median_with_a_peers(most: float, holds: bool) -> None:
    goal = Goal("cheap", "cost", most=most, peer="nchan")
    assert goal.judge(Samples({"gapless": OURS, "nchan": THEIRS})).holds is holds


@pytest.mark.parametrize(("least", "holds"), [(5, True), (5.1, False)])
def test_a_goal_may_be_a_number(least: float, holds: bool) -> None:
    assert Goal("much", "cost", least=least).judge(Samples({"gapless": OURS})).holds is holds


def test_a_goal_without_its_peer_is_not_judged() -> None:
    assert Goal("cheap", "cost", most=1, peer="nchan").judge(Samples({"gapless": OURS})).holds is None


def test_a_goal_may_compare_with_what_a_peer_answered_to_another_question() -> None:
    floor = {"single": {"floor": [{"p99": 8.0}, {"p99": 10.0}]}}
    goal = Goal("soon", "late", most=2, peer="floor", of="p99", asked="single")
    assert goal.judge(Samples({"gapless": [{"late": 18.0}]}, floor)).holds is True
    assert goal.judge(Samples({"gapless": [{"late": 18.1}]}, floor)).holds is False
    assert goal.judge(Samples({"gapless": [{"late": 18.0}]})).holds is None


MACHINES_ALIKE = (
    *("faults", "faults_nothing", "faults_one", "faults_batch", "reads"),
    *("few", "many", "growth", "longer_growth"),
)
"""What no machine makes faster or slower: errors, reads of the log, bytes."""


@pytest.mark.parametrize(
    "goal", [pytest.param(goal, id=f"{one.name}: {goal.text}") for one in QUESTIONS for goal in one.goals]
)
def test_no_goal_knows_a_machine(goal: Goal) -> None:
    assert goal.peer or goal.of or goal.figure in MACHINES_ALIKE


@pytest.mark.parametrize("figure", [0.5, 1.0, 2.0])
def test_a_load_is_scaled_by_the_pace_and_lasts_as_long(figure: float) -> None:
    scaled = Publisher(b"", 30_000, rate=10_000).at(figure)
    assert scaled.limit / scaled.rate == 3
    assert scaled.rate == 10_000 * figure


def test_the_results_are_what_the_figures_say(tmp_path: Path) -> None:
    results.render(tmp_path)
    assert (tmp_path / "RESULTS.md").read_text() == (results.FOLDER / "RESULTS.md").read_text()


def test_a_goal_that_falls_short_is_said_to() -> None:
    question = next(one for one in QUESTIONS if one.name == "single")
    told = table(
        question, Samples({"gapless": [{"cost": 2.0, "load": 0.95}], "nchan": [{"cost": 1.0}]}), ("nchan", "floor")
    )
    assert "falls short" in told.verdicts[0]
    assert any("the limit" in note for note in told.notes)
    assert any(note == "floor: no figure" for note in told.notes)


def test_questions_have_names_of_their_own() -> None:
    names = [one.name for one in QUESTIONS]
    assert len(set(names)) == len(names)
