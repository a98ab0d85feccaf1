"""``?audience=public``: one answer for everybody, so that a cache turns a crowd into one request (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from realtime.delivery.state import State
from tests.support.waiting import until
from tests.wire.support import (
    APP,
    BROWSER,
    HISTORY,
    LONG_POLL,
    POLL,
    STREAM,
    bare,
    check_problem,
    parsed,
    request,
    unique,
)

if TYPE_CHECKING:
    import httpx2

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

BODIES = [POLL, LONG_POLL, HISTORY]


def news() -> str:
    return unique("topic:news.n")


async def get(
    gateway: Gateway, path: str = POLL, headers: dict[str, str] | None = None, /, **query: str
) -> httpx2.Response:
    return await gateway.http.get(path, params={"audience": "public", **query}, headers=headers)


def start(path: str, cursor: str) -> dict[str, str]:
    return {"since_id" if path == HISTORY else "cursor": cursor}


@pytest.mark.parametrize("path", BODIES)
async def test_it_is_the_same_for_everybody_to_the_byte(public: Gateway, path: str) -> None:
    scope = news()
    ids = await public.publish(*({"scope": scope, "data": {"n": number}} for number in range(3)))
    cookie = await public.http.post("/api/v1/auth/ticket", json={"cookie": True}, headers=public.bearer())
    ticket = (await public.negotiate("7"))["ticket"]
    target = f"{path}?audience=public&scopes={scope}&{'since_id' if path == HISTORY else 'cursor'}={ids[0]}"
    comers: list[dict[str, str]] = [
        {},
        public.bearer("42", roles=("admin", "publisher")),
        {"Authorization": "Bearer no-good"},
        {"Cookie": cookie.headers["set-cookie"].split(";")[0]},
        {"Cookie": "gapless_ticket=no-good", "Origin": "https://evil.example.com"},
        {"Origin": APP},
        {"Accept": "text/event-stream"},
        {"Accept-Language": "de", "User-Agent": "else"},
    ]
    answers = [await bare(public, request("GET", target, headers)) for headers in comers]
    first = answers[0]
    for answer in answers:
        headers = {**answer.headers, "date": first.headers["date"]}
        assert (answer.status, headers, answer.body) == (200, first.headers, first.body)
    value = json.loads(first.body)
    assert [one["id"] for one in value["events"]] == ids[1:]
    assert value["cursor"] == ids[-1]
    with_ticket = await bare(public, request("GET", f"{target}&ticket={ticket}", {}))
    assert with_ticket.body == first.body, "whatever credentials come along"


@pytest.mark.parametrize("path", BODIES)
async def test_its_fields_let_caches_keep_it_for_a_second(public: Gateway, path: str) -> None:
    answer = await get(public, path)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=1"
    for name in ("set-cookie", "vary", "expires", "pragma"):
        assert name not in answer.headers, name
    keys = {POLL: ["events", "control", "cursor", "more", "next_poll_ms"], HISTORY: ["events", "cursor", "more"]}
    value = answer.json()
    assert list(value) == keys.get(path, ["events", "control", "cursor", "more"])
    assert value.get("control", []) == []


async def test_a_polls_next_time_is_the_same_for_everybody(public: Gateway) -> None:
    assert {(await get(public)).json()["next_poll_ms"] for _ in range(5)} == {5000}


async def test_no_ticket_even_when_one_is_due(quick: Gateway, public: Gateway) -> None:
    ticket = (await quick.negotiate())["ticket"]
    assert "ticket" not in (await get(public, ticket=ticket)).json()


@pytest.mark.parametrize("path", BODIES)
async def test_only_what_anonymous_clients_see(public: Gateway, path: str) -> None:
    scope = news()
    ids = await public.publish({"scope": scope}, {"scope": "user:42"}, {"scope": "topic:sport.a"}, {"scope": scope})
    answer = await get(public, path, public.bearer("42", scopes=("topic:*",)), **start(path, ids[0]))
    assert [event["id"] for event in answer.json()["events"]] == [ids[3]]
    refused = await get(public, path, public.bearer("42"), scopes="user:42")
    check_problem(refused, 403, "scope-not-held")


@pytest.mark.parametrize("path", BODIES)
async def test_what_is_hidden_does_not_move_the_cursor(public: Gateway, path: str) -> None:
    scope = news()
    (seen,) = await public.publish({"scope": scope})
    await public.publish({"scope": "user:42"}, {"scope": "topic:sport.b"})
    hold = {"hold_ms": "0"} if path == LONG_POLL else {}
    for _ in range(2):
        value = (await get(public, path, scopes=scope, **start(path, seen), **hold)).json()
        assert (value["events"], value["cursor"]) == ([], seen), "the given one when there is none"
    if path == HISTORY:
        assert (await get(public, path, scopes=scope)).json()["cursor"] == seen
    else:
        assert (await get(public, path, scopes=scope)).json()["cursor"] == seen, "from now: after the last visible one"
        value = (await get(public, path, scopes=scope, cursor="earliest")).json()
        assert ([one["id"] for one in value["events"]], value["cursor"]) == ([seen], seen)


@pytest.mark.parametrize("path", [POLL, LONG_POLL])
async def test_pages_go_from_visible_event_to_visible_event(public: Gateway, path: str) -> None:
    scope = news()
    ids = await public.publish(*({"scope": one} for one in (scope, scope, "user:42", scope, scope, "user:42")))
    mine = [ids[0], ids[1], ids[3], ids[4]]
    cursor, seen = mine[0], []
    for _ in range(3):
        value = (await get(public, path, scopes=scope, cursor=cursor, limit="1")).json()
        seen += [one["id"] for one in value["events"]]
        cursor = value["cursor"]
        assert cursor == seen[-1]
        assert value["more"] is (cursor != mine[-1])
    assert seen == mine[1:]


async def test_a_held_one_is_answered_with_the_next_visible_event(public: Gateway) -> None:
    scope = news()
    (seen,) = await public.publish({"scope": scope})
    waiting = asyncio.create_task(get(public, LONG_POLL, scopes=scope, cursor=seen))
    await until(lambda: any(one.state is State.LIVE for one in public.worker.engine.hub.attachments))
    await public.publish({"scope": "user:42"})
    (published,) = await public.publish({"scope": scope})
    value = (await waiting).json()
    assert ([one["id"] for one in value["events"]], value["cursor"]) == ([published], published)
    assert (await get(public, LONG_POLL, scopes=scope, cursor=published, hold_ms="0")).json()["cursor"] == published


@pytest.mark.parametrize("hold", [{}, {"hold_ms": "0"}], ids=["held", "at once"])
async def test_no_cache_keeps_a_long_poll_after_which_the_same_url_is_asked_for(
    public: Gateway, hold: dict[str, str]
) -> None:
    scope = news()
    ids = await public.publish({"scope": scope}, {"scope": scope})
    kept = "public, max-age=1"
    caching = {cursor: await caching_at(public, LONG_POLL, scope, hold, cursor) for cursor in ["", "earliest", *ids]}
    assert caching == {"": kept, "earliest": kept, ids[0]: kept, ids[1]: "no-store"}
    assert await caching_at(public, POLL, scope, {}, ids[1]) == kept, "its client waits for its interval"


async def caching_at(public: Gateway, path: str, scope: str, query: dict[str, str], cursor: str) -> str:
    begin = {"cursor": cursor} if cursor else {}
    answer = await get(public, path, scopes=scope, **query, **begin)
    assert answer.headers["access-control-allow-origin"] == "*"
    return answer.headers["cache-control"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("cursor", ["1-1", "9007199254740991-1"])
async def test_what_cannot_be_resumed_is_410_with_the_floor(public: Gateway, path: str, cursor: str) -> None:
    answer = await get(public, path, **start(path, cursor))
    floor = check_problem(answer, 410, "history-truncated")["floor"]
    again = await get(public, path, **start(path, floor), limit="1")
    assert again.status_code == 200, "the floor is where history still begins"
    with_credential = await get(public, path, public.bearer(), **start(path, cursor))
    assert with_credential.status_code == 410


@pytest.mark.parametrize("path", [*BODIES, STREAM])
async def test_without_anonymous_scopes_it_is_401_for_everybody(plain: Gateway, path: str) -> None:
    for headers in ({}, plain.bearer(), {"Authorization": "Bearer x"}):
        check_problem(await get(plain, path, headers), 401, "credential-required")


@pytest.mark.parametrize("audience", ["", "all", "Public", "private", "public "])
@pytest.mark.parametrize("path", [*BODIES, STREAM])
async def test_another_audience_is_malformed(public: Gateway, path: str, audience: str) -> None:
    answer = await public.http.get(path, params={"audience": audience}, headers=public.bearer())
    check_problem(answer, 400, "malformed-parameter")


async def test_a_conditional_poll_is_answered_as_ever(public: Gateway) -> None:
    scope = news()
    await public.publish({"scope": scope})
    first = await get(public, scopes=scope)
    query = {"scopes": scope, "cursor": first.json()["cursor"]}
    answer = await get(public, POLL, {"If-None-Match": first.headers["etag"]}, **query)
    assert answer.status_code == 304
    assert answer.headers["cache-control"] == "public, max-age=1"
    assert answer.headers["etag"] == first.headers["etag"]


async def test_a_stream_of_the_public_is_an_anonymous_one_and_no_cache_keeps_it(public: Gateway) -> None:
    scope = news()
    headers = {**BROWSER, **public.bearer("42")}
    async with public.stream(headers, audience="public", scopes=f"broadcast,{scope}") as stream:
        assert stream.answer.headers["cache-control"] == "no-store, no-transform"
        assert (await stream.next()).event == "connection.established"
        ids = await public.publish({"scope": "user:42"}, {"scope": scope})
        assert (await stream.next()).last_event_id == ids[1]


@pytest.mark.parametrize("path", BODIES)
async def test_pages_of_any_site_may_read_it_and_its_refusals(public: Gateway, path: str) -> None:
    for origin in (APP, "https://elsewhere.example.com"):
        for query in ({}, start(path, "1-1")):
            answer = await get(public, path, {"Origin": origin}, **query)
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in answer.headers


async def test_a_parameter_that_only_contains_the_words_is_none(public: Gateway) -> None:
    for query in ("?x=audience=public", "?xaudience=public"):
        answer = await public.http.get(POLL + query, headers={**public.bearer(), "Origin": APP})
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["access-control-allow-origin"] == APP
    answer = await public.http.get(f"{POLL}?%61udience=publi%63", headers={"Origin": APP})
    assert answer.headers["cache-control"] == "public, max-age=1"
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


async def test_it_starts_after_the_last_visible_event_on_every_gateway(public: Gateway) -> None:
    scope = news()
    values: list[dict[str, Any]] = [(await get(public, scopes=scope)).json() for _ in range(2)]
    await public.publish({"scope": "user:42"})
    values.append((await get(public, scopes=scope)).json())
    assert len({one["cursor"] for one in values}) == 1, "also when nothing was ever visible"
    assert parsed(values[0]["cursor"])
