"""Connected clients follow the policy: told, moved by the deadline, and nothing of theirs lost or repeated."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.live.support import ORDER, WITHIN_MS, Negotiated, Pair, Sdk, browser, controls, names
from tests.support.clock import stopped_clock
from tests.support.operator import Operator
from tests.support.waiting import until
from tests.wire.support import BROWSER, SDK, STREAM, TICKET, blocks, check_problem, unique

if TYPE_CHECKING:
    from tests.support.gateway import Gateway, Stream

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def prefer(pair: Pair, *preference: str, **policy: object) -> int:
    """Change the policy here, and wait until it is in force there."""
    revision = await pair.operator().prefer(*preference, **policy)
    await Operator.at(pair.there).sees(revision)
    return revision


# SDKs


@pytest.mark.parametrize(("first", "then"), tuple(permutations(ORDER, 2)))
async def test_an_sdk_moves_within_the_time_while_events_flow(pair: Pair, first: str, then: str) -> None:
    await prefer(pair, first)
    async with Sdk(pair.there).running() as sdk:
        await until(lambda: sdk.on == first)
        stop, published = asyncio.Event(), 0

        async def publish() -> None:
            nonlocal published
            while not stop.is_set():
                await pair.here.publish({"scope": f"user:{sdk.sub}", "data": published})
                published += 1

        publishing = asyncio.create_task(publish())
        with stopped_clock():  # or it had no time left where the machine stalls
            revision = await prefer(pair, then, first)
            await until(lambda: sdk.on == then)
        stop.set()
        await publishing
        await until(lambda: len(sdk.numbers) >= published)
        assert sdk.numbers == list(range(published))
        assert (sdk.transports, sdk.refused) == ([first, then], [])
        (told,) = sdk.told
        assert told["code"] == "policy-changed"
        assert told["within_ms"] == WITHIN_MS
        assert (names(told["decision"]), told["decision"]["revision"]) == ([then, first], revision)


async def test_a_crowd_that_does_not_heed_is_moved_spread_over_the_time(pair: Pair) -> None:
    """Stock EventSources: each is cut at a random moment, so that they don't all come back at once."""
    count, within_ms = 30, 60_000
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            stream = await stack.enter_async_context(browser(pair.there, pair.there.bearer()))
            await stream.envelope("connection.established")
            streams.append(stream)
        crowd, hub = set(pair.there.worker.engine.hub.attachments), pair.there.worker.engine.hub
        began_ms = hub.wheel.now_ms()
        await prefer(pair, "polling", move_within=f"{within_ms}ms")
        moments = sorted(one._ends_ms for one in crowd)  # noqa: SLF001 - when each is cut
        told_ms = hub.wheel.now_ms()
    assert len(moments) == count
    assert began_ms <= moments[0] < moments[-1] <= told_ms + within_ms
    assert moments[-1] - moments[0] > within_ms / 3
    assert moments[count // 2] - moments[0] > within_ms / 9


async def test_a_stream_that_does_not_heed_is_ended_by_the_deadline_and_then_refused(pair: Pair) -> None:
    client = await Negotiated.at(pair.there)
    async with client.stream() as stream:
        await prefer(pair, "long-poll", "sse")
        told = await stream.envelope("transport.changed")
        assert names(told["data"]["decision"]) == ["long-poll", "sse"]
        await stream.rest()
    async with pair.there.stream(SDK, **client.query()) as stream:
        await stream.answer.aread()
        problem = check_problem(stream.answer, 409, "transport-not-offered")
        assert names(problem["decision"]) == ["long-poll", "sse"]


async def test_a_stream_that_comes_back_within_its_grace_is_told_again_and_ends_too(pair: Pair) -> None:
    """It came with a ticket from before: where it is counts, not that it was told once."""
    client = await Negotiated.at(pair.there)
    with stopped_clock():
        async with client.stream() as stream:
            await prefer(pair, "long-poll", "sse", move_within="1s")
            await stream.envelope("transport.changed")
        async with client.stream() as stream:
            await stream.envelope("transport.changed")
            await stream.rest()


async def test_a_switch_that_is_put_back_at_once_cuts_nobody(pair: Pair) -> None:
    client = await Negotiated.at(pair.there)
    async with client.stream() as stream:
        (attachment,) = (one for one in pair.there.worker.engine.hub.attachments if one.plan.session == client.session)
        ends_ms = attachment._ends_ms  # noqa: SLF001 - when it is cut
        await prefer(pair, *ORDER, move_within="200s")
        await pair.operator().switch("sse", enabled=False)
        await stream.envelope("transport.changed")
        assert attachment._ends_ms < ends_ms  # noqa: SLF001
        await pair.operator().switch("sse", enabled=True)
        told = await stream.envelope("transport.changed")
        assert names(told["data"]["decision"]) == list(ORDER)
        assert attachment._ends_ms == ends_ms  # noqa: SLF001
        await pair.here.publish({"scope": f"user:{client.sub}", "data": 1})
        assert (await stream.envelope("test.happened"))["data"] == 1


# Stock EventSources


async def test_an_eventsource_polls_on_its_url_and_comes_back_to_streaming(pair: Pair) -> None:
    sub = unique("user-")
    answer = await pair.there.http.post(TICKET, json={"cookie": True}, headers=pair.there.bearer(sub))
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    last = ""

    async def numbers(stream: Stream) -> list[str]:
        return [message.data for message in await stream.rest() if message.event == "test.happened"]

    async with browser(pair.there, cookie) as stream:
        await stream.envelope("connection.established")
        await pair.here.publish({"scope": f"user:{sub}", "data": 1})
        last = (await stream.envelope("test.happened"))["id"]
        await prefer(pair, "polling")
        await stream.rest()
    await pair.here.publish({"scope": f"user:{sub}", "data": 2})
    async with browser(pair.there, {**cookie, "Last-Event-ID": last}) as stream:
        assert stream.answer.status_code == 200
        (event,) = await numbers(stream)
        assert '"data":2' in event
        assert 80 <= (stream.parser.retry_ms or 0) <= 120
        last = stream.parser.last_event_id
    await prefer(pair, *ORDER)
    await pair.here.publish({"scope": f"user:{sub}", "data": 3})
    async with browser(pair.there, {**cookie, "Last-Event-ID": last}) as stream:
        await stream.envelope("connection.established")
        assert (await stream.envelope("test.happened"))["data"] == 3


# What polls


async def test_a_held_long_poll_is_told_once_and_refused_when_it_stays(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["long-poll", "polling"])
    waiting = client.waiting()
    await client.held()
    with stopped_clock() as clock:
        await prefer(pair, "polling", "long-poll", move_within="1s")
        (told,) = controls(await waiting)
        assert (told["event"], told["data"]["code"]) == ("transport.changed", "policy-changed")
        waiting = client.waiting()
        await client.held()
        await pair.here.publish({"scope": f"user:{client.sub}", "data": 1})
        answer = await waiting
        assert (controls(answer), len(answer.json()["events"])) == ([], 1), "told once, and not again and again"
        clock.forward(999)
        answer = await client.get("long-poll", hold_ms="0")
        assert (answer.status_code, controls(answer)) == (200, [])
        clock.forward(1)
        answer = await client.get("long-poll", hold_ms="0")
        assert names(check_problem(answer, 409, "transport-not-offered")["decision"]) == ["polling", "long-poll"]


async def test_who_went_to_the_first_transport_with_its_old_ticket_is_left_alone(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["long-poll", "polling"])
    await prefer(pair, "polling", "long-poll", move_within="50ms")
    with stopped_clock() as clock:
        for _ in range(5):
            answer = await client.get("poll")
            assert (answer.status_code, controls(answer)) == (200, [])
            clock.forward(1000)  # past the deadline, in steps


async def test_who_moved_with_its_old_ticket_is_told_when_it_has_to_move_again(pair: Pair) -> None:
    """Its answer has a ticket that knows where it is."""
    client = await Negotiated.at(pair.there)
    await prefer(pair, "polling", "sse")
    before = client.ticket
    await client.get("poll")
    assert client.ticket != before
    after = client.ticket
    await client.get("poll")
    assert client.ticket == after
    await prefer(pair, "sse", "polling")
    (told,) = controls(await client.get("poll"))
    assert names(told["data"]["decision"]) == ["sse", "polling"]


async def test_a_poll_is_told_with_its_next_answer_even_if_nothing_is_new(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["polling", "long-poll"])
    await prefer(pair, "polling", "long-poll")
    client = await Negotiated.at(pair.there, client.sub, transports=["polling", "long-poll"])
    await client.get("poll")
    with stopped_clock():
        await prefer(pair, "long-poll", "polling", move_within="1s")
        tag = {"If-None-Match": f'"{client.cursor}"'}
        answer = await pair.there.http.get("/api/v1/events/poll", params=client.query(), headers=tag)
        assert [one["event"] for one in controls(answer)] == ["transport.changed"]
        answer = await pair.there.http.get("/api/v1/events/poll", params=client.query(), headers=tag)
        assert answer.status_code == 304


async def test_the_end_of_a_fallback_is_told_and_moves_nobody_by_force(pair: Pair) -> None:
    await prefer(pair, *ORDER, fallback_retry_after="1s", move_within="0s")
    with stopped_clock() as clock:
        client = await Negotiated.at(pair.there, failed=[{"transport": "sse", "reason": "buffered"}])
        assert names(client.decision) == ["long-poll", "polling"]
        clock.forward(999)
        assert controls(await client.get("long-poll", hold_ms="0")) == []
        clock.forward(1)
        (found,) = controls(await client.get("long-poll", hold_ms="0"))
        assert (found["event"], found["data"]["code"]) == ("transport.changed", "fallback-ended")
        assert names(found["data"]["decision"]) == list(ORDER)
        answer = await client.get("long-poll", hold_ms="0")
        assert (answer.status_code, controls(answer)) == (200, [])


# Switches


@pytest.mark.parametrize("name", ORDER)
async def test_a_transport_that_is_switched_off_is_offered_to_nobody(pair: Pair, name: str) -> None:
    path = {"sse": "stream", "long-poll": "long-poll", "polling": "poll"}[name]
    await prefer(pair, name, move_within="0s")
    client = await Negotiated.at(pair.there)
    await Operator.at(pair.there).sees(await pair.operator().switch(name, enabled=False))
    assert name not in names((await Negotiated.at(pair.there)).decision)
    answer = await pair.there.http.get(f"/api/v1/events/{path}", params=client.query(hold_ms="0"), headers=SDK)
    check_problem(answer, 409, "transport-not-offered")
    answer = await pair.there.http.get(f"/api/v1/events/{path}", headers={**SDK, **pair.there.bearer(client.sub)})
    check_problem(answer, 409, "transport-not-offered")
    await Operator.at(pair.there).sees(await pair.operator().switch(name, enabled=True))
    assert names((await Negotiated.at(pair.there)).decision)[0] == name


async def test_with_everything_switched_off_each_is_sent_away_in_its_own_words_and_comes_back(pair: Pair) -> None:
    client, poller = await Negotiated.at(pair.there), await Negotiated.at(pair.there, transports=["long-poll"])
    waiting = poller.waiting()
    await poller.held()
    async with client.stream() as stream, browser(pair.there, pair.there.bearer(client.sub)) as other:
        await other.envelope("connection.established")
        off = {name: {"enabled": False} for name in ORDER}
        await prefer(pair, *ORDER, transports=off)
        for one in (stream, other):
            told = await one.envelope("transport.changed")
            assert (told["data"]["code"], names(told["data"]["decision"])) == ("no-transport", [])
            await one.rest()
        (told,) = controls(await waiting)
        assert told["data"]["code"] == "no-transport"
    answer = await pair.there.http.post("/api/v1/events/negotiate", json={}, headers=pair.there.bearer())
    check_problem(answer, 503, "no-transport")
    for path in ("stream", "long-poll", "poll"):
        answer = await pair.there.http.get(f"/api/v1/events/{path}", params=client.query(), headers=SDK)
        check_problem(answer, 503, "no-transport")
    headers = {**pair.there.bearer(), **BROWSER, "Last-Event-ID": client.cursor}
    answer = await pair.there.http.get(STREAM, headers=headers)
    (deferred,) = blocks(answer.text)
    assert (deferred["event"], deferred["id"]) == ("connection.deferred", client.cursor)
    assert deferred.envelope["data"]["code"] == "no-transport"
    await prefer(pair, *ORDER, transports={name: {"enabled": True} for name in ORDER})
    async with client.stream():
        pass


# What else a policy says


async def test_parameters_change_under_an_open_stream(pair: Pair) -> None:
    client = await Negotiated.at(pair.there)
    async with client.stream() as stream:
        await prefer(pair, *ORDER, transports={"sse": {"heartbeat": "50ms"}})
        for _ in range(2):
            await stream.envelope("heartbeat.sent")


async def test_parameters_change_for_the_next_request(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["long-poll", "polling"])
    await prefer(pair, *ORDER, transports={"long-poll": {"hold": "60ms"}, "polling": {"interval": "40s"}})
    answer = await client.get("long-poll")
    assert answer.json()["events"] == []
    assert 36_000 <= (await client.get("poll")).json()["next_poll_ms"] <= 44_000


async def test_an_interval_gathers_events_on_the_wire(pair: Pair) -> None:
    await prefer(pair, *ORDER, transports={name: {"min_interval": "500ms"} for name in ("sse", "long-poll")})
    client = await Negotiated.at(pair.there)
    offers = {offer["name"]: offer for offer in client.decision["transports"]}
    assert [offers[name].get("min_interval_ms") for name in ORDER] == [500, 500, None]
    async with client.stream() as stream:
        waiting = client.waiting()
        await client.held()
        began, before = time.monotonic(), stream.parts
        for number in range(4):
            await pair.here.publish({"scope": f"user:{client.sub}", "data": number})
        for number in range(4):
            assert (await stream.envelope("test.happened"))["data"] == number
        intervals = (time.monotonic() - began) / 0.5
        assert stream.parts - before <= 1 + intervals, "the first comes at once, the others together"
        answer = await waiting
        assert [event["data"] for event in answer.json()["events"]] == [0, 1, 2, 3]


async def test_a_rule_is_for_those_it_names_and_no_others(pair: Pair) -> None:
    rule = {
        "name": "metered phones in the background poll",
        "when": {"platform": ["ios"], "network": ["cellular"], "state": ["background"]},
        "preference": ["polling"],
        "parameters": {"polling": {"interval": "60s"}},
    }
    phone = {"platform": "ios", "network": "cellular", "state": "background"}
    async with (
        Sdk(pair.there, client=phone).running() as meant,
        Sdk(pair.there, client={**phone, "state": "foreground"}).running() as other,
    ):
        await until(lambda: meant.on == other.on == "sse")
        await prefer(pair, *ORDER, rules=[rule])
        await until(lambda: meant.on == "polling")
        assert (other.on, other.told) == ("sse", [])
    offer = (await Negotiated.at(pair.there, client=phone)).decision["transports"][0]
    assert offer["interval_ms"] == 60_000


async def test_a_rollout_gives_its_arms_and_keeps_to_them(pair: Pair) -> None:
    arms = {"control": {"weight": 50}, "polls": {"weight": 50, "preference": ["polling"]}}
    await prefer(pair, *ORDER, rollouts=[{"name": "polls", "arms": arms}])
    found = {}
    for number in range(24):
        client = await Negotiated.at(pair.there, f"rolled-{number}")
        found[client.sub] = client.decision["arms"]["polls"]
        assert (names(client.decision)[0] == "polling") is (found[client.sub] == "polls")
    assert set(found.values()) == {"control", "polls"}
    for sub, arm in found.items():
        assert (await Negotiated.at(pair.here, sub)).decision["arms"] == {"polls": arm}
    await pair.operator().call("PATCH", "/rollouts/polls", {"weights": {"control": 20, "polls": 80}})
    await until_ramped(pair.here)
    for sub, arm in found.items():
        now = (await Negotiated.at(pair.here, sub)).decision["arms"]["polls"]
        assert (arm, now) != ("polls", "control"), "a ramp up takes nobody back"


async def until_ramped(gateway: Gateway) -> None:
    async def is_ramped() -> bool:
        policy = (await Operator.at(gateway).get("/policy"))["policy"]
        return bool(policy["rollouts"][0]["arms"]["polls"]["weight"] == 80)

    await until(is_ramped)
