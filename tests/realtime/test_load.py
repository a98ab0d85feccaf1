"""Polls are further apart while a worker has no time left, within a bound, and come back."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.wheel import RESOLUTION_MS, Timed, Wheel
from realtime.load import EVERY_MS, MOST, Load, Stretch
from tests.support.gateway import gateway
from tests.support.metrics import scrape

if TYPE_CHECKING:
    from pathlib import Path

BUSY, SPARE = (1.0, 0.0), (0.3, 0.02)
POLL = "/api/v1/events/poll"


def noted(stretch: Stretch, second: tuple[float, float], times: int) -> list[float]:
    """Note the same second so many times; return the factor after each."""
    found = []
    for _ in range(times):
        stretch.note(*second)
        found.append(stretch.factor)
    return found


class Turned(Wheel):
    """A wheel whose clock a test turns."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.armed: tuple[Timed, int] | None = None

    def now_ms(self) -> int:
        return self.now

    def arm(self, item: Timed, at_ms: int) -> None:
        self.armed = (item, at_ms)

    def turn(self, late_ms: int = 0) -> None:
        """Go to when something is due, or so much later."""
        assert self.armed is not None
        item, at_ms = self.armed
        self.now = at_ms + RESOLUTION_MS + late_ms
        item.due(self.now)


def test_with_time_to_spare_polls_are_as_the_policy_has_them() -> None:
    assert noted(Stretch(), SPARE, 100) == [1.0] * 100


@pytest.mark.parametrize("second", [BUSY, (0.1, 2.0)], ids=["no time left", "a loop that is late"])
def test_being_busy_for_seconds_stretches_them_up_to_the_bound(second: tuple[float, float]) -> None:
    factors = noted(Stretch(), second, 60)
    assert factors[2] == 1.0
    assert factors[9] > 1.0
    assert factors == sorted(factors)
    assert factors[-1] == MOST


@pytest.mark.parametrize("second", [BUSY, (0.0, 600.0)], ids=["one busy second", "one pause of minutes"])
def test_one_hiccup_stretches_nothing(second: tuple[float, float]) -> None:
    stretch = Stretch()
    assert noted(stretch, second, 1) + noted(stretch, SPARE, 20) == [1.0] * 21


def test_it_goes_back_in_small_steps_and_all_the_way() -> None:
    stretch = Stretch()
    noted(stretch, BUSY, 60)
    back = noted(stretch, SPARE, 60)
    assert all(after >= before * 0.9 for before, after in pairwise(back))
    assert back[-1] == 1.0


def test_between_busy_and_calm_it_stays_where_it_is() -> None:
    stretch = Stretch()
    noted(stretch, BUSY, 10)
    settled = noted(stretch, (0.75, 0.0), 30)
    assert settled[10:] == [settled[-1]] * 20
    assert settled[-1] > 1


@given(st.lists(st.tuples(st.floats(0, 64), st.floats(0, 1e6)), max_size=100))
def test_the_factor_is_within_its_bounds_whatever_happens(seconds: list[tuple[float, float]]) -> None:
    stretch = Stretch()
    for second in seconds:
        stretch.note(*second)
        assert 1 <= stretch.factor <= MOST


def test_the_share_of_a_core_is_measured_over_the_time_that_passed() -> None:
    wheel, used = Turned(), 0.0
    load = Load(wheel, lambda: used)
    load.begin()
    used += 0.525
    wheel.turn()
    assert load.busy == pytest.approx(0.5)
    used += 1.05
    wheel.turn(EVERY_MS)
    assert load.busy == pytest.approx(1.05 / 2.05)


def test_polls_are_stretched_while_it_is_busy_and_not_afterwards() -> None:
    wheel, used = Turned(), 0.0
    load = Load(wheel, lambda: used)
    load.begin()
    for _ in range(60):
        used += 1.05
        wheel.turn()
    pace = load.pace(5_000)
    assert load.factor == MOST
    drawn = [pace.draw() for _ in range(500)]
    assert 4_500 * MOST - 1 <= min(drawn) < 5_000 * MOST < max(drawn) <= 5_500 * MOST
    for _ in range(60):
        wheel.turn()
    assert load.factor == 1
    assert 4_499 <= pace.draw() <= 5_500


async def test_a_busy_worker_tells_its_pollers_to_come_later_and_the_public_what_it_tells_everybody(
    tmp_path: Path, redis_url: str
) -> None:
    async with gateway(tmp_path, redis_url, {"AUTH__ANONYMOUS_SCOPES": '["broadcast"]'}) as served:
        noted(served.worker.engine.load.stretch, BUSY, 60)
        polled = (await served.http.get(POLL, headers=served.bearer())).json()["next_poll_ms"]
        assert 0.8 * 5_000 * MOST <= polled <= 1.1 * 5_000 * MOST
        assert (await served.http.get(f"{POLL}?audience=public")).json()["next_poll_ms"] == 5_000
        told = await scrape(served.http)
        assert told.sum("poll_stretch_ratio") > 0.8 * MOST
        assert 0 <= told.sum("busy_ratio") < 2
