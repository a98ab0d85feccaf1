"""Negotiate: a session, a position, and transports in order (PROTOCOL §4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.wire.support import APP, EVENTS, LONG_POLL, NEGOTIATE, POLL, STREAM, TICKET, check_problem, parsed, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

OFFERS = [
    {"name": "sse", "url": STREAM, "heartbeat_ms": 15000, "first_byte_timeout_ms": 5000},
    {"name": "long-poll", "url": LONG_POLL, "hold_ms": 25000},
    {"name": "polling", "url": POLL, "interval_ms": 5000},
]


async def negotiated(gateway: Gateway, body: object = None, sub: str = "42") -> dict[str, Any]:
    answer = await gateway.http.post(NEGOTIATE, json={} if body is None else body, headers=gateway.bearer(sub))
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def names(answer: dict[str, Any]) -> list[str]:
    return [offer["name"] for offer in answer["decision"]["transports"]]


async def test_the_answer_has_every_field_of_the_protocol_and_no_other(plain: Gateway) -> None:
    answer = await plain.http.post(NEGOTIATE, json={}, headers=plain.bearer())
    value = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert list(value) == [
        "session", "ticket", "ticket_expires_in_ms", "cursor", "server_time", "decision", "fallback", "retry",
    ]  # fmt: skip
    assert value["ticket_expires_in_ms"] == 60_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value["server_time"])
    assert value["decision"]["transports"] == OFFERS
    assert isinstance(value["decision"]["revision"], int)
    assert value["decision"]["arms"] == {}
    assert value["fallback"] == {"retry_after_ms": 300_000}
    assert value["retry"] == {"base_ms": 1000, "max_ms": 30_000}
    assert parsed(value["cursor"])


@pytest.mark.parametrize("body", [b"", b"{}", b" \n{ } "])
async def test_every_field_is_optional_and_so_is_the_body(plain: Gateway, body: bytes) -> None:
    answer = await plain.http.post(NEGOTIATE, content=body, headers=plain.bearer())
    assert answer.status_code == 200
    assert names(answer.json()) == ["sse", "long-poll", "polling"]


async def test_without_a_cursor_it_is_the_tail(plain: Gateway) -> None:
    (published,) = await plain.publish({"scope": "user:nobody-here"})
    assert parsed((await negotiated(plain))["cursor"]) >= parsed(published)


@pytest.mark.parametrize("cursor", ["1-1", "0-0", "earliest", "9007199254740991-9007199254740991"])
async def test_a_given_cursor_is_echoed_good_or_not(plain: Gateway, cursor: str) -> None:
    assert (await negotiated(plain, {"cursor": cursor}))["cursor"] == cursor


async def test_a_position_taken_before_joins_what_came_after_without_a_gap(plain: Gateway) -> None:
    sub = unique("joiner")
    session = await negotiated(plain, sub=sub)
    ids = await plain.publish({"scope": f"user:{sub}"}, {"scope": f"user:{sub}"})
    query = {"ticket": session["ticket"], "cursor": session["cursor"]}
    answer = await plain.http.get(LONG_POLL, params=query)
    assert [event["id"] for event in answer.json()["events"]] == ids


async def test_sessions_differ(plain: Gateway) -> None:
    first, second = await negotiated(plain), await negotiated(plain)
    assert first["session"] != second["session"]


@pytest.mark.parametrize(
    ("transports", "offered"),
    [
        (["polling"], ["polling"]),
        (["polling", "sse"], ["sse", "polling"]),
        (["websocket", "long-poll"], ["long-poll"]),
        (["sse", "sse"], ["sse"]),
        (None, ["sse", "long-poll", "polling"]),
    ],
)
async def test_what_the_client_supports_is_offered_in_the_policys_order(
    plain: Gateway, transports: list[str] | None, offered: list[str]
) -> None:
    assert names(await negotiated(plain, {"transports": transports})) == offered


@pytest.mark.parametrize("transports", [["websocket"], [], ["SSE"], [""]])
async def test_nothing_in_common_is_406_with_what_is_installed(plain: Gateway, transports: list[str]) -> None:
    answer = await plain.http.post(NEGOTIATE, json={"transports": transports}, headers=plain.bearer())
    assert check_problem(answer, 406, "no-common-transport")["transports"] == ["sse", "long-poll", "polling"]


async def test_what_the_policy_does_not_prefer_is_not_offered(moved: Gateway) -> None:
    answer = await negotiated(moved)
    assert names(answer) == ["long-poll", "polling"]
    assert answer["decision"]["transports"][1]["interval_ms"] == 2000


@pytest.mark.parametrize(
    ("failed", "first"),
    [
        ([{"transport": "sse", "reason": "buffered", "count": 2}], "long-poll"),
        ([{"transport": "sse", "reason": "timeout"}, {"transport": "long-poll", "reason": "http-502"}], "polling"),
        ([{"transport": "long-poll", "reason": "idle", "count": 1}], "sse"),
        ([{"transport": "websocket", "reason": "refused"}], "sse"),
        ([], "sse"),
    ],
)
async def test_what_failed_does_not_come_first(plain: Gateway, failed: list[object], first: str) -> None:
    assert names(await negotiated(plain, {"failed": failed}))[0] == first


async def test_when_everything_failed_something_is_offered_all_the_same(plain: Gateway) -> None:
    failed = [{"transport": name, "reason": "refused"} for name in ("sse", "long-poll", "polling")]
    assert names(await negotiated(plain, {"failed": failed}))


async def test_a_client_may_say_all_that_the_protocol_knows_and_more(plain: Gateway) -> None:
    client = {
        "id": "d-1", "platform": "ios", "app_version": "5.2.0", "network": "cellular", "state": "foreground",
        "sdk": "js/1.0", "battery": 0.3,
    }  # fmt: skip
    assert names(await negotiated(plain, {"client": client, "mood": "good"})) == ["sse", "long-poll", "polling"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cursor": "now"}, "cursor"),
        ({"cursor": 5}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "1-9007199254740992"}, "cursor"),
        ({"transports": "sse"}, "transports"),
        ({"transports": [1]}, "transports"),
        ({"transports": {"sse": True}}, "transports"),
        ({"client": []}, "client"),
        ({"client": {"platform": 7}}, "client"),
        ({"client": {"id": "x" * 256}}, "client"),
        ({"failed": {}}, "failed"),
        ({"failed": ["sse"]}, "failed"),
        ({"failed": [{"reason": "idle"}]}, "failed"),
        ({"failed": [{"transport": "sse", "reason": "bad-luck"}]}, "failed"),
        ({"failed": [{"transport": "sse", "reason": "http-99"}]}, "failed"),
        ({"failed": [{"transport": "sse", "reason": "idle", "count": 0}]}, "failed"),
        ({"failed": [{"transport": "sse", "reason": "idle", "count": "2"}]}, "failed"),
    ],
)
async def test_a_wrong_value_is_422_and_named(plain: Gateway, body: object, field: str) -> None:
    answer = await plain.http.post(NEGOTIATE, json=body, headers=plain.bearer())
    assert check_problem(answer, 422, "invalid-field")["field"].split(".")[0] == field


@pytest.mark.parametrize("body", ["[]", "5", "null", '"{}"'])
async def test_json_of_another_kind_is_422(plain: Gateway, body: str) -> None:
    answer = await plain.http.post(NEGOTIATE, content=body, headers=plain.bearer())
    assert check_problem(answer, 422, "invalid-field")["field"] == "body"


@pytest.mark.parametrize("body", [b"{", b"sse", b'{"cursor":}', b"\xff", b'{"cursor":"\xff"}', b"{}{}", b"[" * 9000])
async def test_what_is_no_json_is_400(plain: Gateway, body: bytes) -> None:
    answer = await plain.http.post(NEGOTIATE, content=body, headers=plain.bearer())
    check_problem(answer, 400, "malformed-body")


async def test_a_body_over_four_mib_is_413(plain: Gateway) -> None:
    answer = await plain.http.post(NEGOTIATE, content=b" " * (4 * 1024 * 1024 + 1), headers=plain.bearer())
    check_problem(answer, 413, "body-too-large")


async def test_in_chunks_too(plain: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    check_problem(await plain.http.post(NEGOTIATE, content=endless(), headers=plain.bearer()), 413, "body-too-large")


async def test_without_a_credential_it_is_401(plain: Gateway) -> None:
    check_problem(await plain.http.post(NEGOTIATE, json={}), 401, "credential-required")


async def test_a_bad_credential_is_401_before_anything_is_read(public: Gateway) -> None:
    answer = await public.http.post(NEGOTIATE, content=b"{", headers={"Authorization": "Bearer no"})
    check_problem(answer, 401, "bad-credential")


async def test_an_anonymous_client_gets_a_session_too(public: Gateway) -> None:
    answer = await public.http.post(NEGOTIATE)
    assert answer.status_code == 200
    value = answer.json()
    (published,) = await public.publish({"scope": "topic:news.now"})
    polled = await public.http.get(POLL, params={"ticket": value["ticket"], "cursor": value["cursor"]})
    assert [event["id"] for event in polled.json()["events"]] == [published]


async def test_the_cookie_is_enough(plain: Gateway) -> None:
    given = await plain.http.post(TICKET, json={"cookie": True}, headers=plain.bearer("baker"))
    cookie = given.headers["set-cookie"].split(";")[0]
    answer = await plain.http.post(NEGOTIATE, json={}, headers={"Cookie": cookie, "Origin": plain.url})
    assert answer.status_code == 200
    answer = await plain.http.post(NEGOTIATE, json={}, headers={"Cookie": cookie, "Origin": APP})
    check_problem(answer, 401, "credential-required")


async def test_the_ticket_seals_session_and_transports(plain: Gateway) -> None:
    value = await negotiated(plain, {"transports": ["long-poll"]})
    ticket = {"ticket": value["ticket"]}
    assert (await plain.http.get(LONG_POLL, params=ticket)).status_code == 200
    decision = check_problem(await plain.http.get(POLL, params=ticket), 409, "transport-not-offered")["decision"]
    assert [offer["name"] for offer in decision["transports"]] == ["long-poll"]
    assert decision.keys() == value["decision"].keys()


async def test_the_session_is_the_streams(plain: Gateway) -> None:
    value = await negotiated(plain)
    async with plain.stream({}, ticket=value["ticket"]) as stream:
        assert (await stream.envelope("connection.established"))["data"]["session"] == value["session"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_it_takes_post_only(plain: Gateway, method: str) -> None:
    answer = await plain.http.request(method, NEGOTIATE, headers=plain.bearer())
    check_problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["allow"].split(", ")
    assert EVENTS in str(answer.url)
