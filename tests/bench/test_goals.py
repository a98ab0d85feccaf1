"""Goals are judged by medians; what was not measured is not judged."""

from __future__ import annotations

import pytest

from bench.questions import QUESTIONS
from bench.questions.question import Goal, Samples
from bench.tables import table

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
