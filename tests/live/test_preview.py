"""Before a change is made: whom it would move, over all gateways and transports; and what one client would get."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.live.support import ORDER, Negotiated, Pair, browser, names
from tests.support.operator import Operator
from tests.wire.support import BROWSER, STREAM, unique

if TYPE_CHECKING:
    from tests.support.operator import Policy

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def previewed(pair: Pair, **policy: object) -> dict[str, Any]:
    answer = await pair.operator().call("POST", "/policy/preview", {"policy": policy})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["unanswered"] == 0
    return body


def more(after: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what was added to the numbers: clients of earlier tests may still be known."""
    moves = {
        (first, then): count - before["moves"].get(first, {}).get(then, 0)
        for first, counts in after["moves"].items()
        for then, count in counts.items()
    }
    return {
        "connections": after["connections"] - before["connections"],
        "moved": after["moved"] - before["moved"],
        "moves": {move: count for move, count in moves.items() if count},
    }


async def test_the_preview_counts_each_client_once_on_every_transport_at_both_gateways(pair: Pair) -> None:
    off = {name: {"enabled": False} for name in ORDER}
    policies: dict[str, Policy] = {
        "same": {"preference": list(ORDER)},
        "polling": {"preference": ["polling", "long-poll", "sse"]},
        "long-poll": {"preference": ["long-poll", "sse", "polling"]},
        "nothing": {"transports": off},
    }
    before = {name: await previewed(pair, **policy) for name, policy in policies.items()}
    streams = []
    async with AsyncExitStack() as stack:
        for gateway in pair:
            for _ in range(2):  # streams of SDKs
                await stack.enter_async_context((await Negotiated.at(gateway)).stream())
            streams.append(await stack.enter_async_context(browser(gateway, gateway.bearer(unique("user-")))))
            await streams[-1].envelope("connection.established")
            held = await Negotiated.at(gateway, transports=["long-poll", "polling"])
            waiting = held.waiting()
            stack.push_async_callback(ended, waiting)
            await held.held()
            poller = await Negotiated.at(gateway, transports=["polling"])
            await poller.get("poll")
        found = {name: more(await previewed(pair, **policy), before[name]) for name, policy in policies.items()}
    assert found == {
        "same": {"connections": 10, "moved": 0, "moves": {}},
        "polling": {
            "connections": 10,
            "moved": 8,
            "moves": {("sse", "polling"): 6, ("long-poll", "polling"): 2},
        },
        # An EventSource that can't long-poll goes on streaming, for that is next.
        "long-poll": {"connections": 10, "moved": 4, "moves": {("sse", "long-poll"): 4}},
        "nothing": {
            "connections": 10,
            "moved": 10,
            "moves": {("sse", "none"): 6, ("long-poll", "none"): 2, ("polling", "none"): 2},
        },
    }


async def ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_previewed_is_what_happens(pair: Pair) -> None:
    async with (await Negotiated.at(pair.there)).stream() as stream:
        told = (await previewed(pair, preference=["polling", "sse"]))["moves"]["sse"]["polling"]
        assert told >= 1
        await pair.operator().prefer("polling", "sse")
        decision = (await stream.envelope("transport.changed"))["data"]["decision"]
        assert names(decision) == ["polling", "sse"]


async def test_a_preview_puts_nothing_in_force(pair: Pair) -> None:
    before = await pair.operator().get("/policy")
    await previewed(pair, preference=["polling"])
    assert await pair.operator().get("/policy") == before


async def test_an_eventsource_that_polls_is_counted_as_polling(pair: Pair) -> None:
    await Operator.at(pair.there).sees(await pair.operator().prefer("polling"))
    before = await previewed(pair, preference=list(ORDER))
    await pair.there.http.get(STREAM, headers={**pair.there.bearer(unique("user-")), **BROWSER})
    after = more(await previewed(pair, preference=list(ORDER)), before)
    assert after == {"connections": 1, "moved": 1, "moves": {("polling", "sse"): 1}}


# Explain

RULES = [
    {"name": "phones poll", "when": {"platform": ["ios"], "state": ["background"]}, "preference": ["polling"]},
    {"name": "staff", "when": {"role": ["staff"]}, "parameters": {"sse": {"heartbeat": "5s"}}},
    {"name": "old apps", "when": {"app_version": "<5"}, "preference": ["long-poll", "sse"]},
]  # fmt: skip
ROLLOUTS = [
    {"name": "polls", "when": {"network": ["cellular"]}, "arms": {
        "control": {"weight": 50}, "polls": {"weight": 50, "preference": ["polling", "sse"]}}},
    {"name": "beats", "arms": {
        "control": {"weight": 60}, "slow": {"weight": 40, "parameters": {"sse": {"heartbeat": "50s"}}}}},
]  # fmt: skip

CLIENTS = st.fixed_dictionaries(
    {},
    optional={
        "platform": st.sampled_from(("ios", "android", "web")),
        "state": st.sampled_from(("background", "foreground")),
        "network": st.sampled_from(("cellular", "wifi")),
        "app_version": st.sampled_from(("4.9", "5.0.1", "next")),
    },
)
TRANSPORTS = st.none() | st.lists(st.sampled_from((*ORDER, "carrier-pigeon")), min_size=1, max_size=3).filter(
    lambda names: names != ["carrier-pigeon"] * len(names)
)
FAILED = st.lists(st.sampled_from(ORDER), max_size=2)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(number=st.integers(0, 50), staff=st.booleans(), client=CLIENTS, transports=TRANSPORTS, failed=FAILED)
async def test_explain_decides_as_negotiate_does(  # noqa: PLR0917 - what a client is
    gateways: Pair, number: int, staff: bool, client: dict[str, str], transports: list[str] | None, failed: list[str]
) -> None:
    admin = gateways.operator()
    if (await admin.get("/policy"))["policy"]["rules"] == []:
        await admin.prefer(*ORDER, rules=RULES, rollouts=ROLLOUTS)
    roles = ("staff",) if staff else ()
    body: dict[str, object] = {"client": client, "failed": [{"transport": name, "reason": "idle"} for name in failed]}
    if transports is not None:
        body["transports"] = transports
    agreed = await gateways.here.negotiate(f"user-{number}", body, roles=roles)
    answer = await admin.call("POST", "/explain", {**body, "sub": f"user-{number}", "roles": roles})
    explained = answer.json()
    assert explained["decision"] == agreed["decision"]
    assert [one["step"] for one in explained["steps"]] == [
        "preference", "rule", "rollouts", "supported", "failed", "switches", "parameters",
    ]  # fmt: skip
    assert all(one["reason"] for one in explained["steps"])
