"""Who is connected, and the end of it: closed by an admin, revoked, drained; from any gateway, on every transport."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.support import ORDER, SETTINGS, Negotiated, Pair, browser, controls, listed
from tests.support.gateway import gateway
from tests.support.operator import Operator
from tests.support.waiting import until
from tests.wire.support import BROWSER, SDK, STREAM, blocks, check_problem, unique

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def closed(pair: Pair, session: str) -> int:
    """Close a session's connections, at the gateway where they are not."""
    answer = await pair.operator().call("DELETE", f"/connections/{session}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["session"] == session
    count: int = answer.json()["closed"]
    return count


# The list


async def test_the_list_tells_who_is_connected_on_what_and_how_far_behind(pair: Pair) -> None:
    about = {"platform": "ios", "app_version": "5.2.0", "id": "phone"}
    client = await Negotiated.at(pair.there, client=about, failed=[{"transport": "polling", "reason": "idle"}])
    async with client.stream():
        (one,) = (await pair.operator().get(f"/connections?sub={client.sub}"))["connections"]
    assert one.pop("connected_ms") >= 0
    assert one.pop("behind_ms") >= 0
    assert one == {
        "session": client.session,
        "sub": client.sub,
        "channel": "main",
        "roles": [],
        "transport": "sse",
        "first": "sse",
        "cursor": one["cursor"],
        "client": {"platform": "ios", "app_version": "5.2.0", "client_id": "phone"},
        "supported": list(ORDER),
        "failed": ["polling"],
        "gateway": pair.there.worker.member.gateway,
        "worker": 1,
        "state": "live",
    }


async def test_who_polls_is_listed_between_its_requests_once_and_where_it_came_last(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["polling"])
    await client.get("poll")
    client.gateway = pair.here
    await client.get("poll")
    (one,) = await listed(pair.there, client.session)
    assert (one["state"], one["transport"]) == ("visiting", "polling")
    assert one["gateway"] == pair.here.worker.member.gateway


async def test_a_held_request_is_listed_once_with_a_ticket_or_without(pair: Pair) -> None:
    sub = unique("user-")
    client = await Negotiated.at(pair.there, sub, transports=["long-poll"])
    query = {"cursor": client.cursor}
    waiting = client.waiting()
    other = asyncio.create_task(
        pair.there.http.get("/api/v1/events/long-poll", params=query, headers=pair.there.bearer(sub))
    )

    async def found() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await pair.operator().get(f"/connections?sub={sub}"))["connections"]
        return found

    async def are_held() -> bool:
        return [one["state"] for one in await found()] == ["live", "live"]

    await until(are_held)
    assert {one["session"] for one in await found()} == {client.session, ""}
    await pair.here.publish({"scope": f"user:{sub}"})
    await asyncio.gather(waiting, other)


async def test_an_eventsource_that_streams_again_is_on_a_stream_only(pair: Pair) -> None:
    sub = unique("user-")

    async def on() -> list[str]:
        return [one["transport"] for one in (await pair.operator().get(f"/connections?sub={sub}"))["connections"]]

    await pair.operator().prefer("polling")
    await Operator.at(pair.there).sees(await pair.operator().prefer("polling", move_within="1s"))
    await pair.there.http.get(STREAM, headers={**pair.there.bearer(sub), **BROWSER})
    assert await on() == ["polling"]
    await Operator.at(pair.there).sees(await pair.operator().prefer(*ORDER))
    async with browser(pair.there, pair.there.bearer(sub)) as stream:
        await stream.envelope("connection.established")
        assert await on() == ["sse"]


# Closed by an admin


async def test_a_stream_is_told_and_ended_and_does_not_come_back_by_itself(pair: Pair) -> None:
    client = await Negotiated.at(pair.there)
    async with client.stream() as stream:
        assert await closed(pair, client.session) == 1
        messages = await stream.rest()
        assert [message.event for message in messages] == ["connection.closed"]
        assert '"code":"closed-by-admin"' in messages[0].data
        assert stream.parser.retry_ms == 86_400_000
    assert await listed(pair.here, client.session) == []


async def test_a_held_long_poll_is_told_and_told_again_when_it_comes_again(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["long-poll"])
    waiting = client.waiting()
    await client.held()
    assert await closed(pair, client.session) == 1
    (told,) = controls(await waiting)
    assert (told["event"], told["data"]) == ("connection.closed", {"code": "closed-by-admin"})
    (told,) = controls(await client.get("long-poll"))
    assert told["event"] == "connection.closed"


async def test_who_polls_is_told_with_its_next_answer_whichever_gateway_it_comes_to(pair: Pair) -> None:
    client = await Negotiated.at(pair.there, transports=["polling"])
    await client.get("poll")
    assert await closed(pair, client.session) == 1
    client.gateway = pair.here
    (told,) = controls(await client.get("poll"))
    assert (told["event"], told["data"]) == ("connection.closed", {"code": "closed-by-admin"})


async def test_a_session_that_nobody_has_can_not_be_closed(pair: Pair) -> None:
    check_problem(await pair.operator().call("DELETE", "/connections/nobody"), 404, "not-found")
    sub = unique("user-")
    await pair.there.http.get("/api/v1/events/poll", headers=pair.there.bearer(sub))
    check_problem(await pair.operator().call("DELETE", f"/connections/polling {sub}"), 404, "not-found")


# Revoked


async def test_a_revoked_subject_is_ended_on_every_transport_and_refused_with_every_credential(pair: Pair) -> None:
    sub = unique("user-")
    client, poller = await Negotiated.at(pair.there, sub), await Negotiated.at(pair.there, sub)
    waiting = poller.waiting()
    async with client.stream() as stream, browser(pair.there, pair.there.bearer(sub)) as other:
        await other.envelope("connection.established")
        await poller.held()
        answer = await pair.operator().call("POST", "/revocations", {"sub": sub, "reason": "left the company"})
        assert answer.status_code == 201
        for one in (stream, other):
            messages = await one.rest()
            assert '"code":"credential-revoked"' in messages[-1].data
            assert one.parser.retry_ms == 86_400_000
        (told,) = controls(await waiting)
        assert told["data"] == {"code": "credential-revoked"}
    for place in pair:
        for headers in (place.bearer(sub), {**place.bearer(sub), **BROWSER}):
            check_problem(await place.http.get(STREAM, headers=headers), 401, "bad-credential")
        check_problem(await place.http.get(STREAM, params=client.query(), headers=SDK), 401, "bad-credential")
        answer = await place.http.post("/api/v1/events/negotiate", json={}, headers=place.bearer(sub))
        check_problem(answer, 401, "bad-credential")
    (listed_,) = [one for one in (await pair.operator().get("/revocations"))["revocations"] if one.get("sub") == sub]
    assert (listed_["reason"], listed_["revoked_by"], listed_["until"]) == ("left the company", "alice", None)
    answer = await Operator.at(pair.there).call("DELETE", f"/revocations/sub/{sub}")
    assert answer.status_code == 204

    async def is_let_in() -> bool:
        answers = [await one.http.get("/api/v1/events/poll", headers=one.bearer(sub)) for one in pair]
        return [answer.status_code for answer in answers] == [200, 200]

    await until(is_let_in)
    check_problem(await pair.operator().call("DELETE", f"/revocations/sub/{sub}"), 404, "not-found")


async def test_a_revoked_token_takes_its_tickets_along_and_no_other_token(pair: Pair) -> None:
    sub = unique("user-")
    token, other = pair.there.token(sub), pair.there.token(sub)
    bearer = {"Authorization": f"Bearer {token}"}
    answer = await pair.there.http.post("/api/v1/events/negotiate", json={}, headers=bearer)
    ticket, jti = answer.json()["ticket"], pair.there.worker.credentials.bearer(token).jti
    async with (
        pair.there.stream(SDK, ticket=ticket) as ended,
        pair.there.stream({**SDK, "Authorization": f"Bearer {other}"}) as kept,
    ):
        await ended.envelope("connection.established")
        await kept.envelope("connection.established")
        until_ms = int((time.time() + 1.5) * 1000)
        await pair.operator().call("POST", "/revocations", {"jti": jti, "until": until_ms})
        await ended.rest()
        await pair.here.publish({"scope": f"user:{sub}", "data": 1})
        assert (await kept.envelope("test.happened"))["data"] == 1
    check_problem(await pair.there.http.get(STREAM, params={"ticket": ticket}, headers=SDK), 401, "bad-credential")

    async def is_over() -> bool:
        return (await pair.there.http.get("/api/v1/events/poll", headers=bearer)).status_code == 200

    await until(is_over)
    assert time.time() * 1000 >= until_ms


# Drained


async def test_a_gateway_that_drains_sends_everybody_away_takes_nobody_and_loses_nothing(
    pair: Pair, live_valkey: RedisServer, tmp_path: Path
) -> None:
    async with gateway(tmp_path, live_valkey.url, SETTINGS) as going:
        name, sub = going.worker.member.gateway, unique("user-")
        client, poller = await Negotiated.at(going, sub), await Negotiated.at(going, sub, transports=["long-poll"])

        async def is_known() -> bool:
            return name in [one["id"] for one in (await pair.operator().get("/gateways"))["gateways"]]

        await until(is_known)
        waiting = poller.waiting()
        await poller.held()
        async with client.stream() as stream:
            answer = await pair.operator().call("POST", f"/gateways/{name}/drain")
            assert (answer.status_code, answer.json()) == (202, {"id": name, "draining": True})
            told = await stream.envelope("gateway.drain-started")
            assert told["data"] == {"within_ms": 600, "retry_ms": 20}
            (told,) = controls(await waiting)
            assert told["event"] == "gateway.drain-started"
            check_problem(await going.http.get("/readyz"), 503, "draining")
            answer = await going.http.get(STREAM, params=client.query(), headers=SDK)
            check_problem(answer, 503, "draining")
            assert answer.headers["connection"] == "close"
            answer = await going.http.get(STREAM, params=client.query(), headers=BROWSER)
            (deferred,) = blocks(answer.text)
            assert deferred["event"] == "connection.deferred"
            assert deferred.envelope["data"] == {"code": "draining", "retry_ms": int(deferred["retry"])}
            await pair.here.publish({"scope": f"user:{sub}", "data": 1})
            heard = [message.data for message in await stream.rest()]
        client.gateway, client.cursor = pair.here, stream.parser.last_event_id
        await pair.here.publish({"scope": f"user:{sub}", "data": 2})
        async with pair.here.stream(SDK, **client.query()) as stream:
            expected = [2] if heard else [1, 2]
            assert [(await stream.envelope("test.happened"))["data"] for _ in expected] == expected

        async def is_told() -> bool:
            found = {one["id"]: one for one in (await pair.operator().get("/gateways"))["gateways"]}
            return bool(found[name]["draining"] and not found[name]["ready"])

        await until(is_told)
    await until(lambda: is_gone(pair, name))
    check_problem(await pair.operator().call("POST", f"/gateways/{name}/drain"), 404, "not-found")


async def is_gone(pair: Pair, name: str) -> bool:
    return name not in [one["id"] for one in (await pair.operator().get("/gateways"))["gateways"]]
