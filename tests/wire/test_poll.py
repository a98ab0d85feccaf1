"""Polling: an answer at once, when to come again, and 304 only when there is nothing to say (PROTOCOL §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import stopped_clock
from tests.support.waiting import at_once, until
from tests.wire.support import POLL, bare, check_problem, parsed, request, unique

if TYPE_CHECKING:
    import httpx2

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def get(gateway: Gateway, sub: str = "42", tag: str = "", **query: str) -> httpx2.Response:
    headers = {**gateway.bearer(sub), **({"If-None-Match": tag} if tag else {})}
    return await gateway.http.get(POLL, params=query, headers=headers)


async def test_its_body_and_fields(plain: Gateway) -> None:
    sub = unique("user:poller")
    ids = await plain.publish({"scope": sub}, {"scope": unique("user:not-mine")}, {"scope": sub})
    answer = await get(plain, sub[5:], cursor=ids[0])
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "private, no-store"
    value = answer.json()
    assert list(value) == ["events", "control", "cursor", "more", "next_poll_ms"]
    assert [event["id"] for event in value["events"]] == [ids[2]]
    assert (value["control"], value["more"], value["cursor"]) == ([], False, ids[2])
    assert answer.headers["etag"] == f'W/"{value["cursor"]}"'
    for name in ("set-cookie", "vary", "access-control-allow-origin", "retry-after"):
        assert name not in answer.headers, name


async def test_it_never_waits(plain: Gateway) -> None:
    cursor = (await get(plain)).json()["cursor"]
    await at_once(get(plain, cursor=cursor, hold_ms="25000", scopes="user:42"))


async def test_the_next_poll_is_the_policys_interval_jittered(plain: Gateway) -> None:
    given = [(await get(plain)).json()["next_poll_ms"] for _ in range(8)]
    assert all(isinstance(one, int) and 4000 <= one <= 6000 for one in given)
    assert len(set(given)) > 1


async def test_without_a_cursor_it_is_empty_with_the_tail(plain: Gateway) -> None:
    (published,) = await plain.publish({"scope": "user:42"})
    value = (await get(plain)).json()
    assert value["events"] == []
    assert parsed(value["cursor"]) >= parsed(published)


async def test_the_cursor_moves_past_what_is_hidden(plain: Gateway) -> None:
    cursor = (await get(plain, "nobody")).json()["cursor"]
    (hidden,) = await plain.publish({"scope": unique("user:not-mine")})
    value = (await get(plain, "nobody", cursor=cursor, scopes="user:nobody")).json()
    assert value["events"] == []
    assert parsed(value["cursor"]) >= parsed(hidden)


async def test_more_than_the_limit_comes_in_pages(plain: Gateway) -> None:
    sub = unique("user:pages")
    ids = await plain.publish(*({"scope": sub} for _ in range(7)))
    first = (await get(plain, sub[5:], cursor=ids[0], limit="4")).json()
    assert ([one["id"] for one in first["events"]], first["more"], first["cursor"]) == (ids[1:5], True, ids[4])
    second = (await get(plain, sub[5:], cursor=ids[4], limit="4")).json()
    assert ([one["id"] for one in second["events"]], second["more"]) == (ids[5:], False)


async def test_all_that_a_waiting_client_needs_is_in_the_304(plain: Gateway) -> None:
    first = await get(plain, scopes="user:nobody-else", sub="nobody-else")
    tag, cursor = first.headers["etag"], first.json()["cursor"]
    await plain.publish({"scope": unique("user:not-mine")})
    answer = await get(plain, "nobody-else", tag, cursor=cursor, scopes="user:nobody-else")
    assert answer.status_code == 304, "what is hidden is nothing to say"
    assert answer.headers["etag"] == tag
    assert answer.headers["cache-control"] == "private, no-store"
    assert int(answer.headers["retry-after"]) in range(4, 7)
    assert answer.content == b""


@pytest.mark.parametrize("form", ["{}", "W/{}", '"1-1", {}', '{},"1-1"', 'W/"x" , W/{}'])
async def test_if_none_match_is_a_list_compared_weakly(plain: Gateway, form: str) -> None:
    first = await get(plain, "quiet", scopes="user:quiet")
    tag = form.format(first.headers["etag"].removeprefix("W/"))
    assert (await get(plain, "quiet", tag, cursor=first.json()["cursor"], scopes="user:quiet")).status_code == 304


async def test_on_the_wire_a_304_has_no_body(plain: Gateway) -> None:
    first = await get(plain, "quiet", scopes="user:quiet")
    headers = {**plain.bearer("quiet"), "If-None-Match": first.headers["etag"]}
    target = f"{POLL}?scopes=user:quiet&cursor={first.json()['cursor']}"
    answer = await bare(plain, request("GET", target, headers))
    assert (answer.status, answer.body) == (304, b"")
    assert "transfer-encoding" not in answer.headers
    assert answer.headers.get("content-length") in {None, "0"}


async def test_an_event_is_something_to_say(plain: Gateway) -> None:
    sub = unique("user:told")
    first = await get(plain, sub[5:])
    (published,) = await plain.publish({"scope": sub})
    answer = await get(plain, sub[5:], first.headers["etag"], cursor=first.json()["cursor"])
    assert answer.status_code == 200
    assert [event["id"] for event in answer.json()["events"]] == [published]
    assert answer.headers["etag"] == f'W/"{answer.json()["cursor"]}"'


async def test_what_was_missed_is_something_to_say(plain: Gateway) -> None:
    answer = await get(plain, tag='"1-1"', cursor="1-1")
    assert answer.status_code == 200
    (truncated,) = answer.json()["control"]
    assert truncated["event"] == "history.truncated"
    assert truncated["data"]["cursor"] == answer.json()["cursor"]


async def test_a_ticket_that_is_due_is_something_to_say(quick: Gateway) -> None:
    with stopped_clock() as clock:
        session = await quick.negotiate("fresh")
        query = {"ticket": session["ticket"], "cursor": session["cursor"], "scopes": "user:fresh"}
        tag = {"If-None-Match": f'"{session["cursor"]}"'}
        assert (await quick.http.get(POLL, params=query, headers=tag)).status_code == 304
        clock.forward(501)
        answer = await quick.http.get(POLL, params=query, headers=tag)
    assert answer.status_code == 200
    assert answer.json()["ticket"]


@pytest.mark.parametrize("tag", ['"0-0"', "*", "{bare}", '"earliest"', "nonsense", '"'])
async def test_another_tag_is_200(plain: Gateway, tag: str) -> None:
    cursor = (await get(plain, "quiet")).json()["cursor"]
    answer = await get(plain, "quiet", tag.replace("{bare}", cursor), cursor=cursor, scopes="user:quiet")
    assert answer.status_code == 200


async def test_a_tag_without_a_cursor_is_200(plain: Gateway) -> None:
    first = await get(plain, "quiet")
    assert (await get(plain, "quiet", first.headers["etag"])).status_code == 200


async def test_a_cursor_older_than_half_the_retention_is_replaced(plain: Gateway) -> None:
    """Idle for long, the client must get a younger cursor, or its own falls out of history."""
    half_ms = 24 * 3600 * 1000 // 2
    first = await get(plain, "idle", scopes="user:idle")
    query, tag = {"cursor": first.json()["cursor"], "scopes": "user:idle"}, first.headers["etag"]
    with stopped_clock() as clock:
        clock.at_ms = parsed(query["cursor"])[0] + half_ms - 1
        assert (await get(plain, "idle", tag, **query)).status_code == 304
        clock.forward(1)
        answer = await get(plain, "idle", tag, **query)
        assert answer.status_code == 200
        assert (answer.json()["events"], answer.json()["control"]) == ([], [])


async def test_answers_of_two_gateways_have_one_position(plain: Gateway, quick: Gateway) -> None:
    sub = unique("user:roamer")
    ids = await plain.publish({"scope": sub}, {"scope": sub})

    async def answered(running: Gateway) -> dict[str, Any]:
        value: dict[str, Any] = {}

        async def has_come() -> bool:
            value.update((await get(running, sub[5:], cursor=ids[0])).json())
            return bool(value["events"])

        await until(has_come)
        return value

    here, there = await answered(plain), await answered(quick)
    assert here["events"] == there["events"]
    assert [one["id"] for one in here["events"]] == ids[1:]


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"limit": "0"}, {"events": "x"}, {"scopes": "x"}])
async def test_a_malformed_parameter_is_400(plain: Gateway, query: dict[str, str]) -> None:
    check_problem(await get(plain, **query), 400, "malformed-parameter")
