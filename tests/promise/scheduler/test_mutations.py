"""Each rule that is taken away is missed: some history of the first few has a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.promise.scheduler.history import stage
from tests.promise.scheduler.kernel import replaced, simulated, source
from tests.promise.scheduler.mutations import MUTATIONS, Mutation
from tests.promise.scheduler.steps import draw

if TYPE_CHECKING:
    from pathlib import Path

_HISTORIES: Final = 300


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
async def test_a_rule_that_is_taken_away_is_missed(tmp_path: Path, mutation: Mutation) -> None:
    async with stage(tmp_path, mutation.kernel, mutation.parts) as made:
        for seed in range(1, _HISTORIES + 1):
            outcome = await made.make(draw(seed, mutation.theme))
            if outcome.faults:
                return
    pytest.fail(f"{_HISTORIES} histories, and none shows that {mutation.breaks}")


def test_a_text_that_the_kernel_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="the source has 0 times, and not once: no such text"):
        replaced(source(), [("no such text", "")])


def test_a_kernel_that_asks_for_the_time_in_another_way_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.promise.scheduler.kernel.source", lambda: "#!lua name=gapless\n")
    with pytest.raises(ValueError, match=r"log\.lua has changed"):
        simulated()
