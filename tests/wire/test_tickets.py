"""Tickets: how one is got, how long it attaches, when an answer carries a new one (PROTOCOL §3)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.clock import stopped_clock
from tests.support.gateway import gateway
from tests.wire.support import BROWSER, LONG_POLL, NEGOTIATE, POLL, SDK, STREAM, TICKET, blocks, check_problem, unique

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ticket_of(gateway: Gateway, sub: str = "42", **claims: float) -> str:
    answer = await gateway.http.post(TICKET, headers=gateway.bearer(sub, **claims))
    assert answer.status_code == 200, answer.text
    ticket: str = answer.json()["ticket"]
    return ticket


async def get(gateway: Gateway, path: str, **query: str) -> httpx2.Response:
    return await gateway.http.get(path, params=query)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"cookie":false}', b'{"cookie":false,"later":1}'])
async def test_a_token_gets_a_ticket(plain: Gateway, body: bytes) -> None:
    answer = await plain.http.post(TICKET, content=body, headers=plain.bearer())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert answer.json().keys() == {"ticket", "expires_in_ms"}
    assert answer.json()["expires_in_ms"] == 60_000
    assert (await get(plain, POLL, ticket=answer.json()["ticket"])).status_code == 200


async def test_only_a_token_does(public: Gateway) -> None:
    check_problem(await public.http.post(TICKET), 401, "credential-required")
    ticket = await ticket_of(public)
    check_problem(await public.http.post(TICKET, params={"ticket": ticket}), 401, "credential-required")
    cookie = (await public.http.post(TICKET, json={"cookie": True}, headers=public.bearer())).headers["set-cookie"]
    check_problem(await public.http.post(TICKET, headers={"Cookie": cookie.split(";")[0]}), 401, "credential-required")


@pytest.mark.parametrize(("body", "status", "code"), [
    (b'{"cookie":1}', 422, "invalid-field"),
    (b'{"cookie":"true"}', 422, "invalid-field"),
    (b'{"cookie":null}', 422, "invalid-field"),
    (b"[]", 422, "invalid-field"),
    (b"{", 400, "malformed-body"),
    (b"cookie=true", 400, "malformed-body"),
    (b" " * (4 * 1024 * 1024 + 1), 413, "body-too-large"),
])  # fmt: skip
async def test_what_else_is_asked_for_is_refused(plain: Gateway, body: bytes, status: int, code: str) -> None:
    problem = check_problem(await plain.http.post(TICKET, content=body, headers=plain.bearer()), status, code)
    assert status != 422 or problem["field"] in {"cookie", "body"}


async def test_a_ticket_lives_no_longer_than_its_token(plain: Gateway) -> None:
    with stopped_clock():
        answer = await plain.http.post(TICKET, headers=plain.bearer(ttl_s=20))
        assert answer.json()["expires_in_ms"] == 20_000
        value = await plain.negotiate(ttl_s=20)
        assert value["ticket_expires_in_ms"] == 20_000


async def test_a_ticket_attaches_for_its_time_only(plain: Gateway) -> None:
    with stopped_clock() as clock:
        value = await plain.negotiate()
        assert value["ticket_expires_in_ms"] == 60_000
        async with plain.stream(BROWSER, ticket=value["ticket"]) as stream:
            assert (await stream.next()).event == "connection.established"
            clock.forward(59_999)
            assert (await get(plain, POLL, ticket=value["ticket"])).status_code == 200
            clock.forward(1)
            for path in (POLL, LONG_POLL, STREAM):
                check_problem(await get(plain, path, ticket=value["ticket"]), 401, "bad-credential")
            (published,) = await plain.publish({"scope": "user:42"})
            assert (await stream.next()).last_event_id == published, "what was attached lives on after the ticket"


async def test_a_ticket_that_was_changed_is_refused(plain: Gateway) -> None:
    ticket = await ticket_of(plain)
    for changed in (ticket[:-2], ticket + "A", "A" + ticket, ticket.swapcase(), ticket.split(".")[0], ticket * 40):
        check_problem(await get(plain, POLL, ticket=changed), 401, "bad-credential")


async def test_a_ticket_of_another_secret_is_refused(plain: Gateway, wire_valkey: RedisServer, tmp_path: Path) -> None:
    settings = {"AUTH__SECRET": "quite another secret, and long enough"}
    async with gateway(tmp_path, wire_valkey.database(), settings) as other:
        check_problem(await get(plain, POLL, ticket=await ticket_of(other)), 401, "bad-credential")


async def test_a_ticket_is_good_on_every_gateway_of_the_secret(plain: Gateway, quick: Gateway) -> None:
    sub = unique("roamer")
    with stopped_clock():
        value = await quick.negotiate(sub)
        (published,) = await quick.publish({"scope": f"user:{sub}"})
        answer = await get(plain, LONG_POLL, ticket=value["ticket"], cursor=value["cursor"])
    assert [event["id"] for event in answer.json()["events"]] == [published]


@pytest.mark.parametrize("path", [POLL, LONG_POLL])
async def test_a_fresh_ticket_is_not_renewed(plain: Gateway, path: str) -> None:
    answer = await get(plain, path, ticket=await ticket_of(plain))
    assert "ticket" not in answer.json()


async def test_it_is_renewed_when_less_than_twice_the_next_wait_is_left(plain: Gateway) -> None:
    """Of a token with 45 s to go: more than half a life is left, and less than two long-polls of 25 s."""
    with stopped_clock():
        ticket = await ticket_of(plain, ttl_s=45)
        assert "ticket" not in (await get(plain, POLL, ticket=ticket)).json(), "two polls are 10 s"
        assert "ticket" not in (await get(plain, LONG_POLL, ticket=ticket)).json(), "none lives longer than the token"


async def test_a_renewed_ticket_lives_twice_the_next_wait(wire_valkey: RedisServer, tmp_path: Path) -> None:
    settings = {"AUTH__TICKET_TTL": "10s", "LONG_POLL__HOLD": "20s", "POLLING__INTERVAL": "10s"}
    async with gateway(tmp_path, wire_valkey.database(), settings) as running:
        with stopped_clock() as clock:
            value = await running.negotiate()
            query = {"ticket": value["ticket"], "cursor": value["cursor"]}
            clock.forward(1)
            polled = (await get(running, POLL, **query)).json()
            waited = (await get(running, LONG_POLL, **query, hold_ms="0")).json()
            assert list(polled) == ["events", "control", "cursor", "more", "next_poll_ms", "ticket"]
            assert list(waited) == ["events", "control", "cursor", "more", "ticket"]
            lives_ms = 2 * polled["next_poll_ms"]
            clock.forward(lives_ms - 1)
            assert (await get(running, POLL, ticket=polled["ticket"])).status_code == 200
            clock.forward(1)
            check_problem(await get(running, POLL, ticket=polled["ticket"]), 401, "bad-credential")
            clock.forward(39_999 - lives_ms)
            assert (await get(running, LONG_POLL, ticket=waited["ticket"])).status_code == 200, "lives 40 s: two holds"
            clock.forward(1)
            check_problem(await get(running, LONG_POLL, ticket=waited["ticket"]), 401, "bad-credential")


async def test_the_new_ticket_is_of_the_same_session_and_transports(quick: Gateway) -> None:
    with stopped_clock() as clock:
        value = await quick.negotiate(body={"transports": ["sse", "polling"]})
        clock.forward(501)
        renewed = (await get(quick, POLL, ticket=value["ticket"])).json()["ticket"]
        assert renewed != value["ticket"]
        async with quick.stream({}, ticket=renewed) as stream:
            assert (await stream.envelope())["data"]["session"] == value["session"]
        check_problem(await get(quick, LONG_POLL, ticket=renewed), 409, "transport-not-offered")


async def test_a_poller_lives_on_for_as_long_as_its_token(quick: Gateway) -> None:
    """Tickets of 1 s, polls of 0.2 s: the chain of renewed tickets does not break in 2 s."""
    with stopped_clock() as clock:
        ticket = await ticket_of(quick)
        cursor = (await get(quick, POLL, ticket=ticket)).json()["cursor"]
        renewals, ends_ms = 0, clock.at_ms + 2000
        while clock.at_ms < ends_ms:
            answer = await get(quick, POLL, ticket=ticket, cursor=cursor)
            assert answer.status_code == 200
            body = answer.json()
            renewals += "ticket" in body
            ticket, cursor = body.get("ticket", ticket), body["cursor"]
            clock.forward(body["next_poll_ms"])
    assert renewals in range(2, 5), "about every half second"


async def test_who_comes_with_a_token_gets_no_ticket(quick: Gateway) -> None:
    answer = await quick.http.get(POLL, headers=quick.bearer())
    assert "ticket" not in answer.json()


@pytest.mark.parametrize("via", ["header", "ticket"])
async def test_a_stream_ends_with_ticket_expired_when_the_token_does(plain: Gateway, via: str) -> None:
    claims: dict[str, Any] = {"ttl_s": 1}
    with stopped_clock():
        query = {"ticket": await ticket_of(plain, **claims)} if via == "ticket" else {}
        headers = plain.bearer(**claims) if via == "header" else {}
        began = time.monotonic()
        async with plain.stream({**headers, **BROWSER}, **query) as stream:
            events = await stream.rest()
    assert [message.event for message in events] == ["connection.established", "ticket.expired"]
    assert json.loads(events[-1].data).keys() == {"time", "event"}
    assert time.monotonic() - began > 0.8, "told up to a tenth of its life early"


async def test_a_held_long_poll_is_told_too(plain: Gateway) -> None:
    with stopped_clock():
        value = await plain.negotiate(ttl_s=1)
        began = time.monotonic()
        answer = await get(plain, LONG_POLL, ticket=value["ticket"], cursor=value["cursor"])
    assert [one["event"] for one in answer.json()["control"]] == ["ticket.expired"]
    assert answer.json()["events"] == []
    assert time.monotonic() - began > 0.8, "told up to a tenth of its life early"


async def test_a_poll_is_told_when_it_could_not_be_told_later(plain: Gateway) -> None:
    with stopped_clock():
        headers = plain.bearer(ttl_s=6)
        first = await plain.http.get(POLL, headers=headers)
        assert first.json()["control"] == [], "it asked for a position only"
        answer = await plain.http.get(POLL, headers=headers, params={"cursor": first.json()["cursor"]})
        assert [one["event"] for one in answer.json()["control"]] == ["ticket.expired"]
        same = {**headers, "If-None-Match": answer.headers["etag"]}
        again = await plain.http.get(POLL, headers=same, params={"cursor": answer.json()["cursor"]})
    assert again.status_code == 200, "there is something to say"


async def test_one_who_asks_for_the_tail_is_told_nothing_yet(plain: Gateway) -> None:
    with stopped_clock():
        answer = await plain.http.get(LONG_POLL, headers=plain.bearer(ttl_s=6))
    assert answer.json()["control"] == []


async def test_an_sse_polling_browser_is_told_too(moved: Gateway) -> None:
    with stopped_clock():
        headers = {**moved.bearer(ttl_s=2), **BROWSER}
        first = blocks((await moved.http.get(STREAM, headers=headers)).text)
        answer = await moved.http.get(STREAM, headers={**headers, "Last-Event-ID": first[-1]["id"]})
    assert "ticket.expired" in [block["event"] for block in blocks(answer.text) if "event" in block.names]


async def test_negotiate_takes_a_ticket_as_well(plain: Gateway) -> None:
    answer = await plain.http.post(NEGOTIATE, params={"ticket": await ticket_of(plain)})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_it_takes_post_and_delete_only(plain: Gateway, method: str) -> None:
    answer = await plain.http.request(method, TICKET, headers={**plain.bearer(), **SDK})
    check_problem(answer, 405, "method-not-allowed")
    assert {"POST", "DELETE"} <= set(answer.headers["allow"].split(", "))
