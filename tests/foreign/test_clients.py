"""SSE clients of others get every event once, in order, and nothing that nobody published."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from tests.foreign.reader import CLIENTS
from tests.foreign.scenario import HOSTILE, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.foreign.reader import Client, Outcome

pytestmark = pytest.mark.timeout(240)  # of all together: twenty programs are started
_EVENTS: Final = len(HOSTILE)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Client, Outcome]:
    """Run all of them at once, through the kill of a gateway."""
    scenario = Scenario(tmp_path_factory.mktemp("foreign"))
    return asyncio.run(scenario.run(CLIENTS, _EVENTS, {_EVENTS // 2: "gateway"}))


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_a_client_gets_every_event_once_and_nothing_else(outcomes: Mapping[Client, Outcome], client: Client) -> None:
    outcome = outcomes[client]
    assert (outcome.missed, outcome.repeated, outcome.wrong) == (0, 0, [])
