"""History: pages of what the log still has (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import gateway
from tests.wire.support import HISTORY, POLL, check_problem, parsed, unique

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def page(gateway: Gateway, scope: str, **query: str) -> dict[str, Any]:
    answer = await gateway.http.get(HISTORY, params={"scopes": scope, **query}, headers=gateway.bearer(scope[5:]))
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def ids(value: dict[str, Any]) -> list[str]:
    return [event["id"] for event in value["events"]]


async def test_its_body_and_fields(plain: Gateway) -> None:
    scope = unique("user:historian")
    published = await plain.publish({"scope": scope, "data": {"a": 1}}, {"scope": scope})
    answer = await plain.http.get(HISTORY, params={"scopes": scope}, headers=plain.bearer(scope[5:]))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-store"
    value = answer.json()
    assert list(value) == ["events", "cursor", "more"]
    assert ids(value) == published
    assert list(value["events"][0]) == ["id", "time", "event", "scope", "version", "data"]
    assert value["more"] is False
    assert parsed(value["cursor"]) >= parsed(published[-1])


async def test_since_is_exclusive_and_until_inclusive(plain: Gateway) -> None:
    scope = unique("user:historian")
    published = await plain.publish(*({"scope": scope} for _ in range(6)))
    assert ids(await page(plain, scope, since_id=published[1])) == published[2:]
    assert ids(await page(plain, scope, until_id=published[3])) == published[:4]
    both = await page(plain, scope, since_id=published[1], until_id=published[3])
    assert (ids(both), both["more"], both["cursor"]) == (published[2:4], False, published[3])
    same = await page(plain, scope, since_id=published[2], until_id=published[2])
    assert (ids(same), same["more"], same["cursor"]) == ([], False, published[2])
    crossed = await page(plain, scope, since_id=published[4], until_id=published[1])
    assert (ids(crossed), crossed["more"], crossed["cursor"]) == ([], False, published[4])


async def test_it_pages_without_gap_repeat_or_an_empty_page(plain: Gateway) -> None:
    scope = unique("user:historian")
    published = await plain.publish(*({"scope": scope} for _ in range(12)))
    for limit in (1, 4, 5, 11, 12, 13):
        seen: list[str] = []
        query: dict[str, str] = {"limit": str(limit)}
        while True:
            value = await page(plain, scope, **query)
            seen += ids(value)
            assert value["events"]
            assert parsed(value["cursor"]) >= parsed(seen[-1])
            if not value["more"]:
                break
            assert value["cursor"] == seen[-1]
            query["since_id"] = value["cursor"]
        assert seen == published


async def test_a_hundred_unless_asked_and_a_thousand_at_most(plain: Gateway) -> None:
    scope = unique("user:historian")
    published = await plain.publish(*({"scope": scope} for _ in range(1000)))
    value = await page(plain, scope)
    assert (ids(value), value["more"]) == (published[:100], True)
    value = await page(plain, scope, limit="1000")
    assert (ids(value), value["more"]) == (published, False)


async def test_an_answer_has_at_most_256_kib_and_tells_of_the_rest(plain: Gateway) -> None:
    scope = unique("user:historian")
    published = await plain.publish(*({"scope": scope, "data": "x" * 60_000} for _ in range(9)))
    since = "earliest"
    for expected, more in ((published[:4], True), (published[4:8], True), (published[8:], False)):
        value = await page(plain, scope, since_id=since, limit="1000")
        assert (ids(value), value["more"]) == (expected, more)
        since = value["cursor"]


async def test_its_cursor_goes_on_anywhere(plain: Gateway) -> None:
    scope = unique("user:historian")
    await plain.publish({"scope": scope}, {"scope": unique("user:not-mine")})
    cursor = (await page(plain, scope))["cursor"]
    (later,) = await plain.publish({"scope": scope})
    answer = await plain.http.get(POLL, params={"cursor": cursor}, headers=plain.bearer(scope[5:]))
    assert [one["id"] for one in answer.json()["events"]] == [later]


async def test_filters_apply(plain: Gateway) -> None:
    scope = unique("user:historian")
    published = await plain.publish(
        {"scope": scope, "event": "task.done"},
        {"scope": scope, "event": "mail.sent"},
        {"scope": scope, "event": "task.sub.done"},
    )
    assert ids(await page(plain, scope, events="task.*")) == [published[0], published[2]]
    assert ids(await page(plain, scope, events="mail.sent")) == [published[1]]
    value = await page(plain, scope, events="task.*", limit="1")
    assert (ids(value), value["more"]) == ([published[0]], True)
    value = await page(plain, scope, events="mail.*", limit="1")
    assert (ids(value), value["more"]) == ([published[1]], False), "what is hidden is not more"


async def test_patterns_and_names_together_are_one_order(plain: Gateway) -> None:
    root = unique("topic:h")
    scopes = [f"{root}.a", "broadcast", f"{root}.b.c", root, f"{root}.a"]
    before = (await plain.negotiate())["cursor"]
    published = await plain.publish(*({"scope": scope} for scope in scopes))
    headers = plain.bearer(scopes=(f"{root}.*", root))

    async def seen(asked: str) -> list[str]:
        query = {"scopes": asked, "since_id": before, "limit": "1000"}
        answer = await plain.http.get(HISTORY, params=query, headers=headers)
        return [one["id"] for one in answer.json()["events"] if one["id"] in published]

    assert await seen(f"{root}.*") == [published[0], published[2], published[4]]
    assert await seen(f"{root}.*,{root}.a,{root}") == [published[at] for at in (0, 2, 3, 4)]
    assert await seen(f"{root}.*,broadcast") == [published[at] for at in (0, 1, 2, 4)]


@pytest.mark.parametrize("since", ["1-1", "9007199254740991-1"])
async def test_a_since_that_is_gone_is_410_with_the_floor(plain: Gateway, since: str) -> None:
    answer = await plain.http.get(HISTORY, params={"since_id": since}, headers=plain.bearer())
    floor = check_problem(answer, 410, "history-truncated")["floor"]
    again = await plain.http.get(HISTORY, params={"since_id": floor}, headers=plain.bearer())
    assert again.status_code == 200


async def test_below_a_scopes_cap_it_is_410_and_the_floor_is_where_it_begins(
    wire_valkey: RedisServer, tmp_path: Path
) -> None:
    url = wire_valkey.database()
    async with gateway(tmp_path, url, {"HISTORY__SCOPE_CAP": "10"}) as running:
        published = await running.publish(*({"scope": "user:42"} for _ in range(30)))
        headers = running.bearer()
        answer = await running.http.get(HISTORY, params={"since_id": published[2]}, headers=headers)
        floor = check_problem(answer, 410, "history-truncated")["floor"]
        kept = (await running.http.get(HISTORY, params={"since_id": floor}, headers=headers)).json()
        assert ids(kept) == published[published.index(floor) + 1 :]
        assert len(ids(kept)) >= 10
        default = (await running.http.get(HISTORY, headers=headers)).json()
        assert ids(default) == ids(kept), "without since_id it begins at the floor"


@pytest.mark.parametrize(
    "query",
    [
        {"since_id": "x"}, {"since_id": ""}, {"until_id": "x"}, {"until_id": ""}, {"until_id": "1"},
        {"limit": "0"}, {"limit": "1001"}, {"limit": "ten"}, {"limit": ""}, {"limit": "-1"}, {"limit": "9" * 5000},
        {"events": "x"}, {"scopes": "x"}, {"audience": "x"},
    ],
)  # fmt: skip
async def test_a_malformed_parameter_is_400_and_named(plain: Gateway, query: dict[str, str]) -> None:
    answer = await plain.http.get(HISTORY, params=query, headers=plain.bearer())
    problem = check_problem(answer, 400, "malformed-parameter")
    (name,) = query
    assert name in problem["detail"] or name in {"events", "scopes"}


async def test_unknown_parameters_are_ignored(plain: Gateway) -> None:
    query = "?cursor=bad&hold_ms=bad&x=%ff&Limit=0"
    assert (await plain.http.get(HISTORY + query, headers=plain.bearer())).status_code == 200


async def test_who_publishes_reads_it_at_once(plain: Gateway) -> None:
    scope = unique("user:writer")
    for number in range(20):
        (published,) = await plain.publish({"scope": scope, "data": number})
        assert ids(await page(plain, scope))[-1] == published


async def test_many_at_once(plain: Gateway) -> None:
    scope = unique("user:writer")
    published = await plain.publish(*({"scope": scope} for _ in range(5)))
    answers = await asyncio.gather(*(page(plain, scope, since_id=published[0]) for _ in range(30)))
    assert {json.dumps(ids(one)) for one in answers} == {json.dumps(published[1:])}
