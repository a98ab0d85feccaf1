"""Publish: what is taken, what is refused and how it is named, and once only (PROTOCOL §2, §4)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.gateway import gateway
from tests.support.waiting import until
from tests.wire.support import (
    BROWSER,
    EVENTS,
    HISTORY,
    LONG_POLL,
    NEGOTIATE,
    POLL,
    bare,
    check_problem,
    parsed,
    request,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIB = 1024 * 1024


def event(**fields: object) -> dict[str, Any]:
    return {"event": "test.happened", "scope": "broadcast", "data": None, **fields}


def publisher(gateway: Gateway, sub: str = "p", **claims: Any) -> dict[str, str]:  # noqa: ANN401 - as `mint` takes them
    return gateway.bearer(sub, roles=("publisher",), **claims)


async def publish(gateway: Gateway, body: object, sub: str = "p", **claims: Any) -> httpx2.Response:  # noqa: ANN401 - as `mint` takes them
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await gateway.http.post(EVENTS, content=content, headers=publisher(gateway, sub, **claims))


async def accepted(gateway: Gateway, body: object, sub: str = "p") -> list[dict[str, Any]]:
    answer = await publish(gateway, body, sub)
    assert answer.status_code == 201, answer.text
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


async def kept(gateway: Gateway, scope: str) -> list[dict[str, Any]]:
    """Return what the log has of a scope."""
    headers = gateway.bearer("reader", scopes=(scope,))
    answer = await gateway.http.get(HISTORY, params={"scopes": scope, "limit": "1000"}, headers=headers)
    assert answer.status_code == 200, answer.text
    events: list[dict[str, Any]] = answer.json()["events"]
    return events


# What is taken


async def test_one_event_gets_one_id(plain: Gateway) -> None:
    scope = unique("topic:p")
    answer = await publish(plain, event(scope=scope, data={"a": 1}))
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store" or "no-store" in answer.headers["cache-control"]
    assert list(answer.json()) == ["events"]
    (one,) = answer.json()["events"]
    assert list(one) == ["id", "duplicate"]
    assert one["duplicate"] is False
    assert [entry["id"] for entry in await kept(plain, scope)] == [one["id"]]


async def test_a_batch_gets_ids_in_its_order(plain: Gateway) -> None:
    scope = unique("topic:p")
    answers = await accepted(plain, {"events": [event(scope=scope, data=number) for number in range(1000)]})
    ids = [one["id"] for one in answers]
    assert sorted(ids, key=parsed) == ids
    assert len(set(ids)) == 1000
    entries = await kept(plain, scope)
    assert [(one["id"], one["data"]) for one in entries] == [(id_, number) for number, id_ in enumerate(ids)]


async def test_an_empty_batch_is_nothing(plain: Gateway) -> None:
    assert await accepted(plain, {"events": []}) == []


async def test_the_envelope_has_its_keys_in_order_and_no_other(plain: Gateway) -> None:
    scope = unique("topic:p")
    await accepted(plain, event(scope=scope, later=1, origin="not-yours:0:0", id="1-1", time="then"))
    await accepted(plain, event(scope=scope, key="task:7", version=0, idempotency_key=scope))
    plain_one, full = await kept(plain, scope)
    assert list(plain_one) == ["id", "time", "event", "scope", "version", "data"]
    assert plain_one["version"] == 1
    assert list(full) == ["id", "time", "event", "scope", "version", "key", "data"]
    assert (full["version"], full["key"]) == (0, "task:7")
    ms = parsed(full["id"])[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", full["time"])
    assert full["time"].endswith(f".{ms % 1000:03}Z"), "the id's milliseconds"


DATA = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-0.0",
    "1.0",
    "1E400",
    "1e-7",
    "0.1000000000000000055511151231257827",
    "123456789012345678901234567890",
    "9007199254740993",
    '""',
    '"a\\nb\\r\\t\\"\\\\\\/\\b\\f"',
    '"\\u0000"',
    '"\\u2028\\u2029\\u0085"',
    '"\\ud83d\\ude00"',
    '"\U0001f600 é ü 漢"',
    '"</script><!--"',
    '"data: x\\n\\nevent: y"',
    "[]",
    "{}",
    "[[[[1,[2]]]],{}]",
    '{"b":1,"a":{"":2},"b":3}',
    '{"id":"1-1","event":"x.y","scope":"user:1"}',
    '"' + "x" * 60_000 + '"',
    "[" * 128 + "]" * 128,
]


LINE_ENDS = "\u0085\u2028\u2029"
UNSAFE = [*LINE_ENDS, "\ufeff", "\x7f", "\x80", "\x9f"]


@pytest.mark.parametrize("letter", UNSAFE, ids=ascii)
async def test_what_readers_take_for_the_end_of_a_line_leaves_as_an_escape(plain: Gateway, letter: str) -> None:
    scope, text = unique(f"topic:l{letter if letter in LINE_ENDS[1:] else ''}"), f"hi{letter}id: 1-1{letter}event: a.b"
    body = f'{{"event":"test.happened","scope":"{scope}","key":"k\u2028","data":"{text}"}}'.encode()
    (one,) = await accepted(plain, body)
    headers = plain.bearer("reader", scopes=(scope,))
    for path in (HISTORY, LONG_POLL, POLL):
        query = {"scopes": scope, **({} if path == HISTORY else {"cursor": "earliest"})}
        answer = await plain.http.get(path, params=query, headers=headers)
        assert text not in answer.text, path
        assert len(answer.text.splitlines()) == 1
        (event,) = answer.json()["events"]
        assert (event["scope"], event["data"], event["key"]) == (scope, text, "k\u2028")
    async with plain.stream({**headers, **BROWSER}, scopes=scope, cursor="earliest") as stream:
        await stream.next()
        message = await stream.next()
        assert (message.last_event_id, json.loads(message.data)["data"]) == (one["id"], text)
        assert len(message.data.splitlines()) == 1


async def test_an_event_is_measured_with_its_escapes(plain: Gateway) -> None:
    fits, grows = "x" * 30_000, "\u2028" * 15_000
    for text, status in ((fits, 201), (grows, 413)):
        event = {"event": "a.b", "scope": unique("user:size"), "data": text}
        body = json.dumps(event, ensure_ascii=False).encode()
        answer = await plain.http.post(EVENTS, content=body, headers=plain.bearer("p", roles=("publisher",)))
        assert answer.status_code == status, answer.text


async def test_problems_and_other_bodies_have_none_of_them_either(plain: Gateway) -> None:
    admin = plain.bearer("ada", roles=("admin",))
    text = "".join(UNSAFE)
    asked = await plain.http.get(POLL, params={"cursor": f"x{text}"}, headers=plain.bearer())
    revoked = {"sub": "nobody\u2028", "reason": text}
    told = await plain.http.post("/api/v1/admin/revocations", json=revoked, headers=admin)
    listed = await plain.http.get("/api/v1/admin/revocations", headers=admin)
    client = {"client": {"id": text}, "transports": ["sse", text]}
    agreed = await plain.http.post(NEGOTIATE, json=client, headers=plain.bearer())
    async with plain.stream(BROWSER, ticket=agreed.json()["ticket"]) as stream:
        await stream.next()
        seen = await plain.http.get("/api/v1/admin/connections", headers=admin)
    assert any(one["client"].get("client_id") == text for one in seen.json()["connections"])
    assert told.json()["reason"] == text
    for answer in (asked, told, listed, agreed, seen):
        assert not set(answer.text) & set(UNSAFE), answer.text
    await plain.http.delete("/api/v1/admin/revocations/sub/nobody%E2%80%A8", headers=admin)


@pytest.mark.parametrize("data", DATA, ids=lambda data: data[:24])
async def test_data_is_carried_as_it_was_written(plain: Gateway, data: str) -> None:
    scope = unique("topic:p")
    body = f'{{"event":"test.happened","scope":"{scope}","data":{data}}}'.encode()
    (one,) = await accepted(plain, body)
    envelope = '"version":1,"data":' + data + "}"
    headers = plain.bearer("reader", scopes=(scope,))
    for path in (HISTORY, LONG_POLL, POLL):
        query = {"scopes": scope, **({} if path == HISTORY else {"cursor": "earliest"})}
        answer = await plain.http.get(path, params=query, headers=headers)
        assert envelope in answer.content.decode(), path
        assert "\n" not in answer.content.decode()
    async with plain.stream({**headers, **BROWSER}, scopes=scope, cursor="earliest") as stream:
        assert (await stream.next()).event == "connection.established"
        message = await stream.next()
        assert message.last_event_id == one["id"]
        assert message.data.endswith(envelope)


async def test_white_space_between_tokens_goes_and_within_strings_stays(plain: Gateway) -> None:
    scope = unique("topic:p")
    data = '{ "a b" : [ 1 ,\t2 , " c\\" \\\\" ] }'
    await accepted(plain, f' {{\r\n\t"event" : "test.happened",\n"scope":"{scope}","data" : {data}\n}} '.encode())
    headers = plain.bearer("reader", scopes=(scope,))
    answer = await plain.http.get(HISTORY, params={"scopes": scope}, headers=headers)
    assert '"data":{"a b":[1,2," c\\" \\\\"]}}' in answer.text


@pytest.mark.parametrize(
    "type_", ["a.b", "a-1.b-2.c", f"a.{'b' * 126}", "task.progress-updated", "a.b.c.d.e", "a1.b", "a-.b-"]
)
async def test_any_well_formed_type_is_taken(plain: Gateway, type_: str) -> None:
    await accepted(plain, event(event=type_, scope="topic:types"))


@pytest.mark.parametrize(
    "scope",
    [
        "broadcast",
        "user:7",
        "user:a:b",
        "user:ü@example.com",
        "role:x",
        "topic:a",
        "topic:a.b.c",
        "user:" + "x" * 250,
        "user:*",
    ],
)
async def test_any_scope_is_taken(plain: Gateway, scope: str) -> None:
    await accepted(plain, event(scope=scope))


async def test_two_logs_on_one_server_keep_apart(wire_valkey: RedisServer, tmp_path: Path) -> None:
    """Databases of one server: neither takes the other's appends for a sign that it was replaced."""
    one, two = wire_valkey.database(), wire_valkey.database()
    async with gateway(tmp_path / "one", one) as here, gateway(tmp_path / "two", two) as there:
        ids: dict[str, list[str]] = {here.url: [], there.url: []}
        for running in (here, there) * 10:
            ids[running.url] += await running.publish({})
        for running in (here, there):
            own = [parsed(id_) for id_ in ids[running.url]]
            assert own == sorted(own)
            assert len({seq // 2**20 for _, seq in own}) == 1, "one epoch"
            since = {"since_id": ids[running.url][0]}
            answer = await running.http.get(HISTORY, params=since, headers=running.bearer())
            assert [event["id"] for event in answer.json()["events"]] == ids[running.url][1:]


# What is refused


WRONG_FIELDS: list[tuple[dict[str, object], str]] = [
    ({"event": "task"}, "event"),
    ({"event": "Task.done"}, "event"),
    ({"event": "task..done"}, "event"),
    ({"event": "task.done."}, "event"),
    ({"event": ".done"}, "event"),
    ({"event": "task.1done"}, "event"),
    ({"event": "task.do ne"}, "event"),
    ({"event": "task.done\n"}, "event"),
    ({"event": "task.dône"}, "event"),
    ({"event": f"a.{'b' * 127}"}, "event"),
    ({"event": ""}, "event"),
    ({"event": None}, "event"),
    ({"event": ["a.b"]}, "event"),
    ({"scope": ""}, "scope"),
    ({"scope": "everyone"}, "scope"),
    ({"scope": "user:"}, "scope"),
    ({"scope": "user"}, "scope"),
    ({"scope": "group:7"}, "scope"),
    ({"scope": "user:a b"}, "scope"),
    ({"scope": "user:a,b"}, "scope"),
    ({"scope": "user:a\n"}, "scope"),
    ({"scope": "user:a\u0000"}, "scope"),
    ({"scope": "user:a\u0085"}, "scope"),
    ({"scope": "user:" + "x" * 251}, "scope"),
    ({"scope": "topic:*"}, "scope"),
    ({"scope": "topic:a.*"}, "scope"),
    ({"scope": "topic:a..b"}, "scope"),
    ({"scope": "topic:.a"}, "scope"),
    ({"scope": 7}, "scope"),
    ({"scope": None}, "scope"),
    ({"version": "1"}, "version"),
    ({"version": 1.5}, "version"),
    ({"version": -1}, "version"),
    ({"version": True}, "version"),
    ({"version": None}, "version"),
    ({"version": 10**30}, "version"),
    ({"key": 7}, "key"),
    ({"key": ""}, "key"),
    ({"key": "a\nb"}, "key"),
    ({"key": "x" * 256}, "key"),
    ({"idempotency_key": 7}, "idempotency_key"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": "x" * 256}, "idempotency_key"),
    ({"idempotency_key": "a\u0000b"}, "idempotency_key"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG_FIELDS, ids=[str(wrong)[:40] for wrong, _ in WRONG_FIELDS])
async def test_a_wrong_value_is_422_naming_field_and_index(
    plain: Gateway, wrong: dict[str, object], field: str
) -> None:
    problem = check_problem(await publish(plain, event(**wrong)), 422, "invalid-field")
    assert (problem["field"], problem["index"]) == (field, 0)
    batch = {"events": [event(), event(**wrong), event(event="")]}
    problem = check_problem(await publish(plain, batch), 422, "invalid-field")
    assert (problem["field"], problem["index"]) == (field, 1), "the first bad one"


async def test_the_first_bad_event_is_named_whatever_is_wrong_with_it(plain: Gateway) -> None:
    grammar, kind = event(scope="nowhere"), event(version="1")
    for first, second, field in ((grammar, kind, "scope"), (kind, grammar, "version")):
        problem = check_problem(await publish(plain, {"events": [event(), first, second]}), 422, "invalid-field")
        assert (problem["field"], problem["index"]) == (field, 1)


@pytest.mark.parametrize("field", ["event", "scope", "data"])
async def test_what_is_required_must_be_there(plain: Gateway, field: str) -> None:
    without = {name: value for name, value in event().items() if name != field}
    for body in (without, {"events": [without]}):
        problem = check_problem(await publish(plain, body), 422, "invalid-field")
        assert (problem["field"], problem["index"]) == (field, 0)


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"a"', b'{"events":5}', b'{"events":{}}', b'{"events":null}'])
async def test_json_of_another_kind_is_422(plain: Gateway, body: bytes) -> None:
    assert check_problem(await publish(plain, body), 422, "invalid-field")["field"] == "events"


@pytest.mark.parametrize("body", [b"5", b"[]", b"null", b'"a"'])
async def test_an_event_of_another_kind_is_422(plain: Gateway, body: bytes) -> None:
    problem = check_problem(await publish(plain, b'{"events":[' + body + b"]}"), 422, "invalid-field")
    assert problem["index"] == 0
    assert problem["field"] == "events"


NO_JSON = [
    b"",
    b" ",
    b"{",
    b"event=a.b",
    b"\xff",
    b"[1,",
    b"[oops]",
    b"5 5",
    b'{"events":5,',
    b'{"events":[}',
    b'{"event":5,"scope":"broadcast","data":1',
    b'{"events":[{"event":5,]}',
    b'\xef\xbb\xbf{"events":[]}',
    b'{"event":"a.b","scope":"broadcast","data":01}',
    b'{"event":"a.b","scope":"broadcast","data":NaN}',
    b'{"event":"a.b","scope":"broadcast","data":"a\nb"}',
    b'{"event":"a.b","scope":"broadcast","data":"\x00"}',
    b'{"event":"a.b","scope":"broadcast","data":"\\q"}',
    b'{"event":"a.b","scope":"broadcast","data":"\xff"}',
    b'{"event":"a.b","scope":"broadcast","data":"\\ud800"}',
    b'{"event":"a.b","scope":"broadcast","data":1}{}',
    b'{"event":"a.b","scope":"broadcast","data":' + b"[" * 100_000,
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:50]))
async def test_what_is_no_json_is_400(plain: Gateway, body: bytes) -> None:
    check_problem(await publish(plain, body), 400, "malformed-body")


async def test_over_a_thousand_events_are_refused(plain: Gateway) -> None:
    scope = unique("topic:p")
    answer = await publish(plain, {"events": [event(scope=scope)] * 1001})
    assert check_problem(answer, 422, "invalid-field")["field"] == "events"
    assert await kept(plain, scope) == []


@pytest.mark.parametrize(
    ("bad", "status", "code"),
    [
        ({"event": "x"}, 422, "invalid-field"),
        ({"scope": "user:not-allowed"}, 403, "scope-not-held"),
        ({"data": "x" * 65_536}, 413, "event-too-large"),
    ],
)
async def test_all_or_nothing(plain: Gateway, bad: dict[str, object], status: int, code: str) -> None:
    scope = unique("topic:p")
    batch = {"events": [event(scope=scope), event(scope=scope), event(scope=scope) | bad, event(scope="x")]}
    answer = await publish(plain, batch, publish=(scope,))
    assert check_problem(answer, status, code)["index"] == 2
    assert await kept(plain, scope) == []


async def test_an_events_size_is_its_stored_envelopes(wire_valkey: RedisServer, tmp_path: Path) -> None:
    stored = '"event":"test.happened","scope":"topic:size","version":1,"data":""}'
    async with gateway(tmp_path, wire_valkey.database(), {"HISTORY__MAX_EVENT_BYTES": "1KiB"}) as running:
        fits = event(scope="topic:size", data="x" * (1024 - len(stored)))
        await accepted(running, fits)
        too_large = event(scope="topic:size", data="x" * (1025 - len(stored)))
        assert check_problem(await publish(running, too_large), 413, "event-too-large")["index"] == 0
        await accepted(running, json.dumps(fits).replace(": ", " : \t ").encode())


# The body's size


async def test_four_mib_are_taken_and_a_byte_more_is_413(plain: Gateway) -> None:
    body = json.dumps({"events": [event(scope="topic:large", data="x" * 60_000) for _ in range(69)]}).encode()
    await accepted(plain, body + b" " * (4 * MIB - len(body)))
    check_problem(await publish(plain, body + b" " * (4 * MIB - len(body) + 1)), 413, "body-too-large")


async def test_without_a_content_length_too(plain: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    answer = await plain.http.post(EVENTS, content=endless(), headers=publisher(plain))
    check_problem(answer, 413, "body-too-large")
    assert (await plain.http.get("/livez")).status_code == 200


async def test_in_chunks_it_is_the_same_body(plain: Gateway) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in json.dumps(event(scope="topic:chunks")).encode():
            yield bytes([byte])

    answer = await plain.http.post(EVENTS, content=chunks(), headers=publisher(plain))
    assert answer.status_code == 201


async def test_no_content_type_is_needed(plain: Gateway) -> None:
    body = json.dumps(event(scope="topic:typeless")).encode()
    assert (await bare(plain, request("POST", EVENTS, publisher(plain), body))).status == 201
    headers = {**publisher(plain), "Content-Type": "text/plain"}
    assert (await bare(plain, request("POST", EVENTS, headers, body))).status == 201


# Who may


async def test_the_role_is_needed(plain: Gateway) -> None:
    for headers in (plain.bearer(), plain.bearer(roles=("viewer", "admin", "publishers"))):
        answer = await plain.http.post(EVENTS, json=event(), headers=headers)
        check_problem(answer, 403, "role-not-held")


async def test_anonymous_clients_never_publish(public: Gateway, plain: Gateway) -> None:
    answer = await public.http.post(EVENTS, json=event())
    assert answer.status_code in {401, 403}
    check_problem(await plain.http.post(EVENTS, json=event()), 401, "credential-required")


MAY = {
    ("broadcast",): (["broadcast"], ["user:7", "topic:a"]),
    ("user:7", "topic:a.*"): (["user:7", "topic:a.b", "topic:a.b.c"], ["user:8", "topic:a", "topic:ab.c", "broadcast"]),
    ("topic:*",): (["topic:a", "topic:a.b"], ["user:7", "broadcast", "role:x"]),
    (): ([], ["broadcast", "user:p", "topic:a"]),
}


@pytest.mark.parametrize("claim", MAY, ids=str)
async def test_the_publish_claim_says_where(plain: Gateway, claim: tuple[str, ...]) -> None:
    allowed, refused = MAY[claim]
    for scope in allowed:
        assert (await publish(plain, event(scope=scope), publish=claim)).status_code == 201, scope
    for scope in refused:
        problem = check_problem(await publish(plain, event(scope=scope), publish=claim), 403, "scope-not-held")
        assert problem["index"] == 0


async def test_what_one_may_see_says_nothing_of_where_one_may_publish(plain: Gateway) -> None:
    headers = plain.bearer("p", roles=("publisher",), scopes=("topic:*",), publish=("user:1",))
    check_problem(await plain.http.post(EVENTS, json=event(scope="topic:a"), headers=headers), 403, "scope-not-held")
    body = event(scope="user:someone-else")
    assert (await plain.http.post(EVENTS, json=body, headers=publisher(plain))).status_code == 201


# Once only


async def test_the_same_key_gives_the_first_id(plain: Gateway) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key, data={"a": 1})
    (first,) = await accepted(plain, body)
    (again,) = await accepted(plain, {"events": [body]})
    spaced = json.dumps(body, indent=2).encode()
    (spaced_again,) = await accepted(plain, spaced)
    assert first["duplicate"] is False
    assert again == spaced_again == {"id": first["id"], "duplicate": True}
    assert len(await kept(plain, scope)) == 1


@pytest.mark.parametrize(
    "other",
    [{"data": 2}, {"event": "test.other"}, {"version": 2}, {"key": "k"}, {"scope": "topic:elsewhere"}],
)
async def test_with_another_body_it_is_a_conflict(plain: Gateway, other: dict[str, object]) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key, data=1)
    await accepted(plain, body)
    batch = {"events": [event(scope=scope), body | other, event(scope=scope)]}
    assert check_problem(await publish(plain, batch), 409, "idempotency-conflict")["index"] == 1
    assert check_problem(await publish(plain, body | other), 409, "idempotency-conflict")["index"] == 0
    assert len(await kept(plain, scope)) == 1, "all or nothing"


async def test_keys_are_of_a_subject_and_a_channel(plain: Gateway) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key)
    (first,) = await accepted(plain, body, "alice")
    (second,) = await accepted(plain, body, "bob")
    assert (second["duplicate"], second["id"] != first["id"]) == (False, True)
    elsewhere = await publish(plain, body, "alice", channel="acme")
    assert elsewhere.json()["events"][0]["duplicate"] is False
    (third,) = await accepted(plain, body, "alice")
    assert third == {"id": first["id"], "duplicate": True}


async def test_twice_in_one_batch_the_second_is_a_duplicate(plain: Gateway) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key)
    answers = await accepted(plain, {"events": [body, event(scope=scope), body, body]})
    assert [one["duplicate"] for one in answers] == [False, False, True, True]
    assert answers[0]["id"] == answers[2]["id"] == answers[3]["id"]
    assert [one["id"] for one in await kept(plain, scope)] == [answers[0]["id"], answers[1]["id"]]


async def test_twice_in_one_batch_with_another_body_is_a_conflict(plain: Gateway) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key, data=1)
    answer = await publish(plain, {"events": [body, event(scope=scope), body | {"data": 2}]})
    assert check_problem(answer, 409, "idempotency-conflict")["index"] == 2
    assert await kept(plain, scope) == []
    (one,) = await accepted(plain, body | {"data": 2})
    assert one["duplicate"] is False, "a refused batch leaves no key behind"


async def test_a_batch_of_old_and_new(plain: Gateway) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key)
    (first,) = await accepted(plain, body)
    answers = await accepted(plain, {"events": [event(scope=scope), body, event(scope=scope)]})
    assert [one["duplicate"] for one in answers] == [False, True, False]
    assert answers[1]["id"] == first["id"]
    assert len(await kept(plain, scope)) == 3


async def test_without_a_key_the_same_is_another_event(plain: Gateway) -> None:
    scope = unique("topic:p")
    answers = await accepted(plain, {"events": [event(scope=scope), event(scope=scope)]})
    assert answers[0]["id"] != answers[1]["id"]
    assert (await accepted(plain, event(scope=scope, idempotency_key=None)))[0]["duplicate"] is False


async def test_many_at_once_with_one_key_are_one_event(plain: Gateway, quick: Gateway) -> None:
    scope, key = unique("topic:p"), unique("key")
    body = event(scope=scope, idempotency_key=key)
    answers = await asyncio.gather(*(accepted(one, body) for one in [plain, quick] * 10))
    assert len({one["id"] for (one,) in answers}) == 1
    assert [one["duplicate"] for (one,) in answers].count(False) == 1
    assert len(await kept(plain, scope)) == 1


async def test_a_key_is_remembered_for_its_time(wire_valkey: RedisServer, tmp_path: Path) -> None:
    scope = unique("topic:p")
    url = wire_valkey.database()
    async with gateway(tmp_path, url, {"HISTORY__IDEMPOTENCY": "1s"}) as running:
        body = event(scope=scope, idempotency_key="k")
        (first,) = await accepted(running, body)
        later: dict[str, Any] = {}

        async def is_forgotten() -> bool:
            later.update((await accepted(running, body))[0])
            return later["duplicate"] is False

        await until(is_forgotten)
        assert parsed(later["id"])[0] - parsed(first["id"])[0] >= 1000, "no sooner, by Redis's clock"


@pytest.mark.parametrize("key", ["a b", "ü", "{x}", "*", "a" * 255, "1-1", "\u00a0", "👩\u200d🔬"])
async def test_any_printable_key_is_a_key(plain: Gateway, key: str) -> None:
    sub = unique("sub")
    body = event(scope="topic:keys", idempotency_key=key, key=key)
    (first,) = await accepted(plain, body, sub)
    assert await accepted(plain, body, sub) == [{"id": first["id"], "duplicate": True}]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_it_takes_post_only(plain: Gateway, method: str) -> None:
    answer = await plain.http.request(method, EVENTS, headers=publisher(plain))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("depth", [129, 900, 5_000, 100_000])
async def test_data_that_is_nested_too_deep_is_named(plain: Gateway, depth: int) -> None:
    headers = plain.bearer("deep", roles=("publisher",))
    one = b'{"event":"a.b","scope":"user:deep","data":%b}'
    for body in (one % nested(depth), b'{"events":[%b,%b]}' % (one % b"1", one % nested(depth))):
        answer = await plain.http.post(EVENTS, content=body, headers=headers)
        problem = check_problem(answer, 422, "invalid-field")
        assert problem["field"] in {"data", "events"}


async def test_data_may_be_nested_and_strings_are_no_nesting(plain: Gateway) -> None:
    headers = plain.bearer("deep", roles=("publisher",))
    for data in (nested(128), b"[" + nested(1) + b",[]" * 500 + b"]", b'"' + b"[" * 500 + b'\\"' + b"{" * 500 + b'"'):
        body = b'{"event":"a.b","scope":"user:deep","data":%b}' % data
        assert (await plain.http.post(EVENTS, content=body, headers=headers)).status_code == 201


@pytest.mark.parametrize("path", ["negotiate", "report", "../auth/ticket", "../admin/explain"])
async def test_other_bodies_have_the_same_bound(plain: Gateway, path: str) -> None:
    headers = plain.bearer("deep", roles=("admin",))
    for depth in (129, 2_000):
        body = b'{"x":%b}' % nested(depth - 1)
        answer = await plain.http.post(f"{EVENTS}/{path}", content=body, headers=headers)
        check_problem(answer, 422, "invalid-field")


@pytest.mark.parametrize("events", ["[]", '[{"event":"a.b","scope":"broadcast","data":1}]'])
@pytest.mark.parametrize("field", ['"event":"a.b"', '"scope":"broadcast"', '"data":null'])
async def test_one_event_and_a_batch_in_one_body_are_refused(plain: Gateway, field: str, events: str) -> None:
    headers = plain.bearer("both", roles=("publisher",))
    for body in (f'{{{field},"events":{events}}}', f'{{"events":{events},{field}}}'):
        answer = await plain.http.post(EVENTS, content=body, headers=headers)
        assert check_problem(answer, 422, "invalid-field")["field"] == "events"
