"""SSE: what a stream says, in which order, and how an EventSource is answered in its own terms (PROTOCOL §4)."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.support.gateway import gateway
from tests.support.redis import RedisServer
from tests.support.waiting import interlude, patience, until
from tests.wire.support import (
    BROWSER,
    CURSOR,
    HISTORY,
    POLL,
    SDK,
    STREAM,
    Block,
    blocks,
    check_problem,
    parsed,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNREAL = "1-1"
FUTURE = "9007199254740991-9007199254740991"
MALFORMED = ["x", "1", "1-", "01-1", "-1-1", "9007199254740992-0", "1-9007199254740992", "1.5-2", "\uff11-\uff11"]


def check_head(answer: httpx2.Response) -> None:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers


async def first_blocks(answer: httpx2.Response, number: int) -> list[Block]:
    """Read until so many blocks have come."""
    text = ""
    async with patience():
        async for part in answer.aiter_text():
            text += part
            if text.count("\n\n") >= number:
                break
    return blocks(text[: text.rindex("\n\n") + 2])


async def opened(gateway: Gateway, number: int, headers: dict[str, str] | None = None, **query: str) -> list[Block]:
    """Open a stream as user 42 and read its first blocks."""
    full = {**gateway.bearer(), **BROWSER, **(headers or {})}
    async with gateway.http.stream("GET", STREAM, params=query, headers=full) as answer:
        check_head(answer)
        return await first_blocks(answer, number)


# The beginning


@pytest.mark.parametrize("accept", [BROWSER, SDK, {"Accept": "*/*"}, {"Accept": "application/json"}])
async def test_a_stream_begins_with_retry_and_established(plain: Gateway, accept: dict[str, str]) -> None:
    (established,) = await opened(plain, 1, accept)
    assert established.names == ("retry", "id", "event", "data")
    assert established["event"] == "connection.established"
    envelope = established.envelope
    assert list(envelope) == ["time", "event", "data"]
    assert list(envelope["data"]) == ["session", "transport", "cursor", "heartbeat_ms", "lifetime_ms"]
    assert envelope["data"]["transport"] == "sse"
    assert envelope["data"]["cursor"] == established["id"]
    assert envelope["data"]["heartbeat_ms"] == 15_000
    assert envelope["data"]["lifetime_ms"] == 600_000
    assert envelope["data"]["session"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", envelope["time"])


async def test_retry_is_jittered_per_connection(plain: Gateway) -> None:
    given = {(await opened(plain, 1))[0]["retry"] for _ in range(6)}
    assert len(given) > 1
    assert all(400 <= int(text) <= 1600 for text in given)


async def test_an_event_is_an_id_its_type_and_its_envelope(plain: Gateway) -> None:
    async with plain.stream({**plain.bearer(), **BROWSER}, scopes="user:42") as stream:
        await stream.next()
        (published,) = await plain.publish(
            {"scope": "user:42", "event": "task.progress-updated", "data": {"done": 1}, "key": "task:7", "version": 3}
        )
        message = await stream.next()
    assert message.event == "task.progress-updated"
    assert message.last_event_id == published
    envelope = json.loads(message.data)
    assert list(envelope) == ["id", "time", "event", "scope", "version", "key", "data"]
    assert envelope["id"] == published
    assert envelope["version"] == 3
    assert message.data.endswith(
        ',"event":"task.progress-updated","scope":"user:42","version":3,"key":"task:7","data":{"done":1}}'
    )


# Positions


async def test_a_cursor_resumes_after_it(plain: Gateway) -> None:
    sub = unique("user:resumer")
    ids = await plain.publish(*({"scope": sub, "data": number} for number in range(3)))
    headers = plain.bearer(sub[5:])
    established, *events = await opened(plain, 3, headers, cursor=ids[0])
    assert established["id"] == ids[0]
    assert [event["id"] for event in events] == ids[1:]
    assert "retry" not in events[0].names


async def test_earliest_is_all_that_is_retained(plain: Gateway) -> None:
    sub = unique("user:old")
    ids = await plain.publish(*({"scope": sub} for _ in range(3)))
    established, *events = await opened(plain, 4, plain.bearer(sub[5:]), cursor="earliest", scopes=sub)
    assert [event["id"] for event in events] == ids
    assert parsed(established["id"]) < parsed(ids[0]), "an id never passes an event that wasn't sent"


async def test_without_a_position_it_is_from_now(plain: Gateway) -> None:
    sub = unique("user:new")
    (before,) = await plain.publish({"scope": sub})
    (established,) = await opened(plain, 1, plain.bearer(sub[5:]))
    assert parsed(established["id"]) >= parsed(before)


async def test_last_event_id_comes_before_the_cursor(plain: Gateway) -> None:
    sub = unique("user:twice")
    ids = await plain.publish(*({"scope": sub} for _ in range(3)))
    for cursor in (ids[0], "earliest", FUTURE):
        headers = {**plain.bearer(sub[5:]), "Last-Event-ID": ids[1]}
        established, event = await opened(plain, 2, headers, cursor=cursor)
        assert (established["id"], event["id"]) == (ids[1], ids[2])


async def test_an_empty_last_event_id_is_none(plain: Gateway) -> None:
    (established,) = await opened(plain, 1, {"Last-Event-ID": ""})
    assert established["event"] == "connection.established"


@pytest.mark.parametrize("cursor", [*MALFORMED, "", "tail", "EARLIEST"])
async def test_a_malformed_cursor_is_400_for_everyone(plain: Gateway, cursor: str) -> None:
    for accept in (BROWSER, SDK):
        answer = await plain.http.get(STREAM, params={"cursor": cursor}, headers={**plain.bearer(), **accept})
        check_problem(answer, 400, "malformed-parameter")


@pytest.mark.parametrize("last", [*MALFORMED[:-1], "earliest", "a" * 500, FUTURE, UNREAL])
async def test_a_last_event_id_that_cannot_be_resumed_is_said_first(plain: Gateway, last: str) -> None:
    headers = {**plain.bearer(), **BROWSER, "Last-Event-ID": last}
    async with plain.http.stream("GET", STREAM, headers=headers) as answer:
        check_head(answer)
        raw = await anext(answer.aiter_raw())
    said = [block for block in blocks(raw.decode()) if "event" in block.names]
    assert [block["event"] for block in said] == ["history.truncated", "connection.established"], "in one write"
    data = said[0].envelope["data"]
    assert list(data) == ["requested", "floor", "cursor"]
    assert last.strip().startswith(data["requested"])
    assert said[0]["id"] == said[1]["id"] == data["cursor"]
    assert CURSOR.fullmatch(data["cursor"])
    assert CURSOR.fullmatch(data["floor"])
    assert parsed(data["floor"]) <= parsed(data["cursor"])
    answer = await plain.http.get(HISTORY, params={"since_id": data["floor"], "limit": "1"}, headers=plain.bearer())
    assert answer.status_code == 200, "where history still begins"


@pytest.mark.parametrize("cursor", [FUTURE, UNREAL])
async def test_a_cursor_that_cannot_be_resumed_is_said_and_the_stream_goes_on(plain: Gateway, cursor: str) -> None:
    sub = unique("user:lost")
    async with plain.stream({**plain.bearer(sub[5:]), **BROWSER}, cursor=cursor) as stream:
        truncated = await stream.next()
        assert (truncated.event, json.loads(truncated.data)["data"]["requested"]) == ("history.truncated", cursor)
        assert (await stream.next()).event == "connection.established"
        (published,) = await plain.publish({"scope": sub})
        assert (await stream.next()).last_event_id == published


# Filters


async def test_events_and_scopes_narrow_and_control_events_pass(quick: Gateway) -> None:
    sub = unique("user:picky")
    await quick.publish(
        {"scope": sub, "event": "task.done"},
        {"scope": sub, "event": "taskforce.met"},
        {"scope": sub, "event": "task.sub.done"},
        {"scope": "broadcast", "event": "task.done"},
        {"scope": sub, "event": "system.notification"},
        {"scope": sub, "event": "system.notification-sent"},
    )
    headers = {**quick.bearer(sub[5:]), **BROWSER}
    query = {"events": "task.*,system.notification", "scopes": sub, "cursor": "earliest"}
    async with quick.stream(headers, **query) as stream:
        seen = [(await stream.next()).event for _ in range(5)]
    assert seen == ["connection.established", "task.done", "task.sub.done", "system.notification", "heartbeat.sent"]


@pytest.mark.parametrize(
    "query",
    [
        {"events": ""},
        {"events": "task"},
        {"events": "Task.done"},
        {"events": "task.*,"},
        {"events": "task.*.done"},
        {"events": "task*"},
        {"events": "Task"},
        {"scopes": ""},
        {"scopes": "news"},
        {"scopes": "topic:"},
        {"scopes": "topic:a..b"},
        {"scopes": "user:*.x y"},
        {"scopes": "broadcast,"},
        {"scopes": "user:a\x00b"},
        {"audience": "all"},
        {"audience": ""},
    ],
)
async def test_a_malformed_filter_is_400(plain: Gateway, query: dict[str, str]) -> None:
    answer = await plain.http.get(STREAM, params=query, headers={**plain.bearer(), **SDK})
    check_problem(answer, 400, "malformed-parameter")


# Time


async def test_heartbeats_carry_the_position_past_what_is_hidden(quick: Gateway) -> None:
    sub = unique("user:idle")
    async with quick.stream({**quick.bearer(sub[5:]), **BROWSER}) as stream:
        established = await stream.next()
        (hidden,) = await quick.publish({"scope": unique("user:other")})
        beat = await stream.next()
        while parsed(beat.last_event_id) < parsed(hidden):  # until its lifetime is over, at most
            beat = await stream.next()
    assert beat.event == "heartbeat.sent"
    envelope = json.loads(beat.data)
    assert list(envelope) == ["time", "event", "data"]
    assert envelope["data"] == {"cursor": beat.last_event_id}
    assert json.loads(established.data)["data"]["heartbeat_ms"] == 100


async def test_a_stream_ends_by_itself_no_sooner_than_its_jittered_lifetime(
    wire_valkey: RedisServer, tmp_path: Path
) -> None:
    async def lived(running: Gateway) -> float:
        began = time.monotonic()
        async with running.stream({**running.bearer(), **BROWSER}) as stream:
            assert json.loads((await stream.next()).data)["data"]["lifetime_ms"] == 1500
            await stream.rest()
        return time.monotonic() - began

    async with gateway(tmp_path, wire_valkey.database(), {"SSE__LIFETIME": "1500ms"}) as running:
        lives = await asyncio.gather(*(lived(running) for _ in range(8)))
    assert min(lives) >= 1.15, lives
    assert max(lives) - min(lives) > 0.02, "jittered, so that they don't all come back at once"


# An EventSource that policy moved to another transport


async def sse_polled(gateway: Gateway, headers: dict[str, str], **query: str) -> list[Block]:
    answer = await gateway.http.get(STREAM, params=query, headers={**BROWSER, **headers})
    check_head(answer)
    found = blocks(answer.text)
    assert ["retry" in block.names for block in found] == [True] + [False] * (len(found) - 1)
    retry = found[0]["retry"]
    assert (found[-1]["event"], found[-1].envelope["data"]) == ("heartbeat.sent", {"cursor": found[-1]["id"]})
    assert 1500 <= int(retry) <= 2500, "the policy's interval of 2 s, jittered"
    return found


def events_of(found: list[Block]) -> list[Block]:
    return [block for block in found if block["event"] != "heartbeat.sent"]


async def test_sse_polling_is_retry_what_is_new_a_heartbeat_and_the_end(moved: Gateway) -> None:
    sub = unique("user:moved")
    headers = moved.bearer(sub[5:])
    first = await sse_polled(moved, headers)
    position = first[-1]["id"]
    assert not events_of(first)
    ids = await moved.publish({"scope": sub}, {"scope": unique("user:hidden")}, {"scope": sub})
    second = await sse_polled(moved, {**headers, "Last-Event-ID": position})
    assert [block["id"] for block in events_of(second)] == [ids[0], ids[2]]
    assert events_of(second)[0].envelope["id"] == ids[0]
    third = await sse_polled(moved, {**headers, "Last-Event-ID": second[-1]["id"]})
    assert not events_of(third)
    assert third[-1]["id"]


async def test_sse_polling_takes_a_cursor_too(moved: Gateway) -> None:
    sub = unique("user:moved")
    ids = await moved.publish({"scope": sub}, {"scope": sub})
    headers = moved.bearer(sub[5:])
    assert [one["id"] for one in events_of(await sse_polled(moved, headers, cursor=ids[0]))] == ids[1:]
    assert [one["id"] for one in events_of(await sse_polled(moved, headers, cursor="earliest"))][-2:] == ids


async def test_sse_polling_says_what_cannot_be_resumed(moved: Gateway) -> None:
    headers = moved.bearer()
    found = await sse_polled(moved, {**headers, "Last-Event-ID": "what"})
    (truncated,) = events_of(found)
    assert truncated["event"] == "history.truncated"
    assert truncated["id"] == truncated.envelope["data"]["cursor"] == found[-1]["id"]
    assert truncated.envelope["data"]["requested"] == "what"


async def test_sse_polling_never_passes_what_was_not_sent(moved: Gateway) -> None:
    sub = unique("user:far")
    ids = await moved.publish(*({"scope": sub} for _ in range(700)))
    headers, seen, position = moved.bearer(sub[5:]), [], ids[0]
    while True:
        found = await sse_polled(moved, {**headers, "Last-Event-ID": position})
        seen += [block["id"] for block in events_of(found)]
        position = found[-1]["id"]
        if not events_of(found):
            break
        assert position == seen[-1] or len(seen) == 699
    assert seen == ids[1:]


ACCEPTS = {
    "text/event-stream": True,
    "Text/Event-Stream": True,
    "text/event-stream;q=0.9, text/html": True,
    "text/event-stream, application/json": True,
    "text/event-stream, application/problem+json": False,
    "application/problem+json, text/event-stream": False,
    "*/*": False,
    "application/json": False,
    "text/*": False,
    "": False,
}


@pytest.mark.parametrize("accept", ACCEPTS)
async def test_who_accepts_event_streams_and_no_problems_is_an_eventsource(moved: Gateway, accept: str) -> None:
    answer = await moved.http.get(STREAM, headers={**moved.bearer(), "Accept": accept})
    if ACCEPTS[accept]:
        check_head(answer)
    else:
        check_not_offered(answer)


async def test_without_an_accept_it_gets_problems(moved: Gateway) -> None:
    headers = moved.bearer()
    del moved.http.headers["accept"]
    try:
        check_not_offered(await moved.http.get(STREAM, headers=headers))
    finally:
        moved.http.headers["accept"] = "*/*"


def check_not_offered(answer: httpx2.Response) -> None:
    decision = check_problem(answer, 409, "transport-not-offered")["decision"]
    assert decision["transports"], "says what to use instead"
    assert "sse" not in [offer["name"] for offer in decision["transports"]]
    assert {"revision", "arms", "transports"} == decision.keys()


async def test_what_needs_no_stream_is_offered_as_ever(moved: Gateway) -> None:
    assert (await moved.http.get(POLL, headers=moved.bearer())).status_code == 200


async def test_a_transport_that_is_off_is_409(wire_valkey: RedisServer, tmp_path: Path) -> None:
    settings = {"POLICY__PREFERENCE": '["sse"]'}
    async with gateway(tmp_path, wire_valkey.database(), settings) as running:
        for path in (POLL, STREAM.replace("stream", "long-poll")):
            answer = await running.http.get(path, headers=running.bearer())
            decision = check_problem(answer, 409, "transport-not-offered")["decision"]
            assert [offer["name"] for offer in decision["transports"]] == ["sse"]


# Redis away


@pytest_asyncio.fixture(loop_scope="session")
async def lonely(tmp_path: Path) -> AsyncIterator[tuple[Gateway, RedisServer]]:
    """A gateway with a Redis of its own, whose window holds next to nothing."""
    server = RedisServer(tmp_path / "redis")
    await server.start()
    settings = {"HISTORY__WINDOW_EVENTS": "1", "REDIS__TIMEOUT": "200ms", "LONG_POLL__HOLD": "300ms"}
    try:
        async with gateway(tmp_path / "gateway", server.url, settings) as running:
            yield running, server
            server.resume()
    finally:
        server.stop()


async def test_while_redis_is_away(lonely: tuple[Gateway, RedisServer]) -> None:
    running, server = lonely
    ids = await running.publish(*({"scope": "user:42"} for _ in range(4)))
    server.pause()
    headers = running.bearer()

    async def get(path: str, accept: dict[str, str], **query: str) -> httpx2.Response:
        return await running.http.get(path, params=query, headers={**headers, **accept})

    async def publish() -> httpx2.Response:
        body = {"event": "a.b", "scope": "broadcast", "data": 1, "idempotency_key": "k"}
        return await running.http.post("/api/v1/events", json=body, headers=running.bearer("p", roles=("publisher",)))

    behind, earliest, odd, refused, polled, held, history, published = await asyncio.gather(
        get(STREAM, {**BROWSER, "Last-Event-ID": ids[0]}),
        get(STREAM, BROWSER, cursor="earliest"),
        get(STREAM, {**BROWSER, "Last-Event-ID": "odd"}),
        get(STREAM, SDK, cursor=ids[0]),
        get(POLL, {}, cursor=ids[0]),
        get(STREAM.replace("stream", "long-poll"), {}, cursor=ids[0]),
        get(STREAM.replace("stream", "history"), {}, since_id=ids[0]),
        publish(),
    )
    for answer in (refused, polled, held, history, published):
        check_problem(answer, 503, "log-unavailable")
    check_sent_away(behind, ids[0])
    check_sent_away(earliest, "")
    check_sent_away(odd, None)


def check_sent_away(answer: httpx2.Response, position: str | None) -> None:
    """Check that an EventSource comes back after a while, exactly where it was; `None`: at what can't be resumed."""
    check_head(answer)
    found = blocks(answer.text)
    (said,) = found
    assert (said.names, said["event"]) == (("retry", "id", "event", "data"), "connection.deferred")
    assert said.envelope["data"] == {"code": "log-unavailable", "retry_ms": int(said["retry"])}
    last = found[-1]["id"]
    if position is None:
        assert not CURSOR.fullmatch(last) or int(last.split("-")[0]) >= 2**53, "still nothing that can be resumed"
    else:
        assert last == position


async def test_a_stream_that_is_open_waits_for_redis_and_loses_nothing(lonely: tuple[Gateway, RedisServer]) -> None:
    running, server = lonely
    async with running.stream({**running.bearer(), **BROWSER}) as stream:
        await stream.next()
        server.pause()
        await interlude(0.7)
        server.resume()
        ids = await published_at_last(running)
        assert (await stream.next()).last_event_id == ids[0]


async def published_at_last(running: Gateway) -> list[str]:
    body: dict[str, Any] = {"event": "a.b", "scope": "broadcast", "data": 1, "idempotency_key": "once"}
    headers = running.bearer("p", roles=("publisher",))
    found: list[str] = []

    async def is_published() -> bool:
        answer = await running.http.post("/api/v1/events", json=body, headers=headers)
        if answer.status_code != 201:
            check_problem(answer, 503, "log-unavailable")
            return False
        found.extend(one["id"] for one in answer.json()["events"])
        return True

    await until(is_published)
    return found


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_it_takes_get_only(plain: Gateway, method: str) -> None:
    answer = await plain.http.request(method, STREAM, headers={**plain.bearer(), **BROWSER})
    assert answer.headers["allow"].split(", ")[0] == "GET"
    if method == "HEAD":
        assert answer.status_code == 405
        assert answer.content == b""
    else:
        check_problem(answer, 405, "method-not-allowed")
