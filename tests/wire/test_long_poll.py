"""Long-poll: held until there is something to say, and then all of it (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import gateway
from tests.support.waiting import at_once, patience
from tests.wire.support import LONG_POLL, check_problem, parsed, unique

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def get(gateway: Gateway, sub: str = "42", **query: str) -> httpx2.Response:
    answer = await gateway.http.get(LONG_POLL, params=query, headers=gateway.bearer(sub))
    assert answer.status_code == 200, answer.text
    return answer


async def polled(gateway: Gateway, sub: str = "42", **query: str) -> dict[str, Any]:
    value: dict[str, Any] = (await get(gateway, sub, **query)).json()
    return value


def ids(value: dict[str, Any]) -> list[str]:
    return [event["id"] for event in value["events"]]


async def test_without_a_cursor_it_is_empty_at_once_with_the_tail(plain: Gateway) -> None:
    (published,) = await plain.publish({"scope": "user:42"})
    answer = await at_once(get(plain))
    value = answer.json()
    assert list(value) == ["events", "control", "cursor", "more"]
    assert (value["events"], value["control"], value["more"]) == ([], [], False)
    assert parsed(value["cursor"]) >= parsed(published)


async def test_its_fields(plain: Gateway) -> None:
    answer = await get(plain)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-store"
    for name in ("etag", "set-cookie", "vary", "access-control-allow-origin"):
        assert name not in answer.headers, name


async def test_what_is_there_comes_at_once(plain: Gateway) -> None:
    sub = unique("user:there")
    published = await plain.publish({"scope": sub}, {"scope": unique("user:not-mine")}, {"scope": sub})
    value = await at_once(polled(plain, sub[5:], cursor="earliest", scopes=sub))
    assert ids(value) == [published[0], published[2]]
    assert list(value["events"][0]) == ["id", "time", "event", "scope", "version", "data"]
    assert value["cursor"] >= published[2]


async def test_it_waits_for_what_is_visible(plain: Gateway) -> None:
    sub = unique("user:waiter")
    cursor = (await polled(plain, sub[5:]))["cursor"]
    waiting = asyncio.create_task(polled(plain, sub[5:], cursor=cursor))
    await plain.holds(sub[5:])
    await plain.publish({"scope": unique("user:not-mine")})
    (published,) = await plain.publish({"scope": sub})
    value = await waiting
    assert ids(value) == [published], "it was not answered by what it does not see"
    assert value["cursor"] == published


async def test_empty_when_the_hold_has_passed_with_a_cursor_past_what_is_hidden(plain: Gateway) -> None:
    sub = unique("user:alone")
    cursor = (await polled(plain, sub[5:]))["cursor"]
    (hidden,) = await plain.publish({"scope": unique("user:not-mine")})
    began = time.monotonic()
    value = await polled(plain, sub[5:], cursor=cursor, hold_ms="200")
    assert time.monotonic() - began >= 0.19
    assert (value["events"], value["control"], value["more"]) == ([], [], False)
    assert parsed(value["cursor"]) >= parsed(hidden)


@pytest.mark.parametrize("hold_ms", ["999999", "99999999999999"])
async def test_it_holds_no_longer_than_the_policy_lets_it(quick: Gateway, hold_ms: str) -> None:
    cursor = (await polled(quick, "nobody"))["cursor"]
    began = time.monotonic()
    async with patience():  # far less than the longest of these
        assert not ids(await polled(quick, "nobody", cursor=cursor, hold_ms=hold_ms, scopes="user:nobody"))
    assert time.monotonic() - began >= 0.29


async def test_a_hold_of_nothing_is_a_poll(plain: Gateway) -> None:
    cursor = (await polled(plain))["cursor"]
    asked = polled(plain, unique("nobody"), cursor=cursor, hold_ms="0")
    assert (await at_once(asked))["events"] == []


async def test_a_burst_comes_together(plain: Gateway) -> None:
    sub = unique("user:burst")
    cursor = (await polled(plain, sub[5:]))["cursor"]
    waiting = asyncio.create_task(polled(plain, sub[5:], cursor=cursor))
    await plain.holds(sub[5:])
    published = await plain.publish(*({"scope": sub} for _ in range(50)))
    assert ids(await waiting) == published


@pytest.mark.parametrize("place", ["window", "log"])
async def test_more_tells_that_the_next_will_not_wait(
    wire_valkey: RedisServer, tmp_path: Path, plain: Gateway, place: str
) -> None:
    sub = unique("user:many")
    published = await plain.publish(*({"scope": sub} for _ in range(10)))
    await plain.publish(*({"scope": unique("user:not-mine")} for _ in range(5)))
    settings = {"HISTORY__WINDOW_EVENTS": "2" if place == "log" else "100000"}
    async with gateway(tmp_path, wire_valkey.url, settings) as running:
        for start in ("earliest", published[0]):
            expected = published if start == "earliest" else published[1:]
            for limit in (1, 3, 5, 9, 10, 11):
                await read_all(running, sub, start, limit, expected)


async def read_all(running: Gateway, sub: str, start: str, limit: int, expected: list[str]) -> None:
    cursor, seen, calls = start, [], 0
    for _ in range(len(expected)):
        asked = polled(running, sub[5:], cursor=cursor, limit=str(limit), scopes=sub)
        value = await at_once(asked)
        assert len(value["events"]) <= limit
        seen += ids(value)
        cursor = value["cursor"]
        calls += 1
        if not value["more"]:
            break
    assert seen == expected
    assert calls == -(-len(expected) // limit), "no call is empty"


async def test_the_default_limit_is_five_hundred_and_a_thousand_the_most(plain: Gateway) -> None:
    sub = unique("user:crowd")
    published = await plain.publish(*({"scope": sub} for _ in range(1000)))
    published += await plain.publish(*({"scope": sub} for _ in range(10)))
    first = await polled(plain, sub[5:], cursor="earliest", scopes=sub)
    assert (ids(first), first["more"], first["cursor"]) == (published[:500], True, published[499])
    second = await polled(plain, sub[5:], cursor=first["cursor"], limit="1000", scopes=sub)
    assert (ids(second), second["more"]) == (published[500:], False)
    most = await polled(plain, sub[5:], cursor="earliest", limit="1000", scopes=sub)
    assert (ids(most), most["more"]) == (published[:1000], True)


async def test_a_burst_above_the_limit_is_cut_and_says_so(plain: Gateway) -> None:
    sub = unique("user:burst")
    cursor = (await polled(plain, sub[5:]))["cursor"]
    waiting = asyncio.create_task(polled(plain, sub[5:], cursor=cursor, limit="7"))
    await plain.holds(sub[5:])
    published = await plain.publish(*({"scope": sub} for _ in range(20)))
    value = await waiting
    assert (ids(value), value["more"], value["cursor"]) == (published[:7], True, published[6])
    rest = await polled(plain, sub[5:], cursor=value["cursor"])
    assert (ids(rest), rest["more"]) == (published[7:], False)


async def test_what_cannot_be_resumed_is_said_at_once(plain: Gateway) -> None:
    value = await at_once(polled(plain, cursor="1-1"))
    assert value["events"] == []
    (truncated,) = value["control"]
    assert list(truncated) == ["time", "event", "data"]
    assert truncated["event"] == "history.truncated"
    assert truncated["data"]["requested"] == "1-1"
    assert truncated["data"]["cursor"] == value["cursor"], "the same answer goes on after it"


async def test_last_event_id_is_of_sse_only(plain: Gateway) -> None:
    headers = {**plain.bearer(), "Last-Event-ID": "1-1"}
    assert (await plain.http.get(LONG_POLL, headers=headers)).json()["control"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": ""}, {"cursor": "x"}, {"cursor": "1-1-1"}, {"cursor": "%31-1%"},
        {"limit": "0"}, {"limit": "-1"}, {"limit": "x"}, {"limit": "1.5"}, {"limit": "1001"}, {"limit": ""},
        {"limit": "٣"}, {"limit": "9" * 5000},
        {"hold_ms": "-1"}, {"hold_ms": "soon"}, {"hold_ms": ""}, {"hold_ms": "1e3"}, {"hold_ms": "1.5"},
        {"hold_ms": "9" * 5000},
        {"events": "*.x"}, {"scopes": ","},
    ],
)  # fmt: skip
async def test_a_malformed_parameter_is_400(plain: Gateway, query: dict[str, str]) -> None:
    answer = await plain.http.get(LONG_POLL, params={"cursor": "1-1", **query}, headers=plain.bearer())
    check_problem(answer, 400, "malformed-parameter")


async def test_unknown_parameters_are_ignored(plain: Gateway) -> None:
    query = "?x=1&_=123&cursor[]=1&CURSOR=bad&Limit=0&&=&x&y=%ff&z=%zz&%ff=1"
    answer = await plain.http.get(LONG_POLL + query, headers=plain.bearer())
    assert answer.status_code == 200, answer.text


async def test_a_second_waiting_one_of_a_session_ends_the_first_empty(plain: Gateway) -> None:
    sub = unique("user:tab")
    session = await plain.negotiate(sub[5:])
    query = {"ticket": session["ticket"], "cursor": session["cursor"]}
    first = asyncio.create_task(plain.http.get(LONG_POLL, params=query))
    await plain.holds(sub[5:])
    second = asyncio.create_task(plain.http.get(LONG_POLL, params=query))
    answer = await at_once(first)
    assert answer.status_code == 200
    assert (answer.json()["events"], answer.json()["control"]) == ([], [])
    assert not second.done()
    (published,) = await plain.publish({"scope": sub})
    assert ids((await second).json()) == [published]


async def test_those_of_two_sessions_wait_side_by_side(plain: Gateway) -> None:
    sub = unique("user:two")
    sessions = [await plain.negotiate(sub[5:]) for _ in range(2)]
    waiting = [
        asyncio.create_task(plain.http.get(LONG_POLL, params={"ticket": one["ticket"], "cursor": one["cursor"]}))
        for one in sessions
    ]
    await plain.holds(sub[5:], 2)
    (published,) = await plain.publish({"scope": sub})
    assert [ids((await one).json()) for one in waiting] == [[published], [published]]
