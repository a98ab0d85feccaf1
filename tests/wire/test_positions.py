"""Where a client begins: the names of its position in the URL, and in the header field (PROTOCOL §4, in common)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import patience
from tests.wire.support import BROWSER, LONG_POLL, POLL, SDK, STREAM, bare, check_problem, request, unique

if TYPE_CHECKING:
    from tests.support.gateway import Gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALIASES = ["lastEventId", "last-event-id", "last_event_id"]
NAMES = ["cursor", *ALIASES]
ANSWERS = [POLL, LONG_POLL]


async def streamed(gateway: Gateway, headers: dict[str, str], count: int, **query: str) -> list[str]:
    """Open a stream; return the ids of its first messages, the first of which establishes it."""
    async with gateway.stream(headers, **query) as stream:
        return [(await stream.next()).last_event_id for _ in range(count)]


async def polled(gateway: Gateway, path: str, headers: dict[str, str], **query: str) -> dict[str, Any]:
    answer = await gateway.http.get(path, params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


@pytest.mark.parametrize("accept", [BROWSER, SDK, {"Accept": "*/*"}], ids=["browser", "sdk", "any"])
@pytest.mark.parametrize("name", ALIASES)
async def test_a_stream_begins_at_a_position_by_any_name(plain: Gateway, name: str, accept: dict[str, str]) -> None:
    sub = unique("user:named")
    ids = await plain.publish(*({"scope": sub} for _ in range(3)))
    headers = {**plain.bearer(sub[5:]), **accept}
    assert await streamed(plain, headers, 3, **{name: ids[0]}) == ids
    assert (await streamed(plain, headers, 4, **{name: "earliest"}, scopes=sub))[1:] == ids


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("name", ALIASES)
async def test_an_answer_begins_at_a_position_by_any_name(plain: Gateway, name: str, path: str) -> None:
    sub = unique("user:named")
    ids = await plain.publish(*({"scope": sub} for _ in range(3)))
    headers = plain.bearer(sub[5:])
    for after in (0, 1, 0):  # the same head, but for the position: a client that is known
        value = await polled(plain, path, headers, **{name: ids[after]})
        assert [event["id"] for event in value["events"]] == ids[after + 1 :]


async def test_a_long_poll_waits_at_a_position_by_any_name(quick: Gateway) -> None:
    for name in NAMES:
        tail = (await polled(quick, LONG_POLL, quick.bearer()))["cursor"]
        request_ = quick.http.build_request("GET", LONG_POLL, params={name: tail}, headers=quick.bearer())
        answer = await quick.http.send(request_)
        assert answer.elapsed.total_seconds() >= 0.29, f"{name}: held"


@pytest.mark.parametrize("path", [*ANSWERS, STREAM])
@pytest.mark.parametrize("name", ALIASES)
async def test_an_empty_one_is_none_and_a_malformed_one_400(plain: Gateway, path: str, name: str) -> None:
    for accept in (BROWSER, SDK):
        answer = await plain.http.get(path, params={name: "x"}, headers={**plain.bearer(), **accept})
        check_problem(answer, 400, "malformed-parameter")
    query = {name: "", "hold_ms": "0"}
    async with plain.http.stream("GET", path, params=query, headers={**plain.bearer(), **SDK}) as answer:
        assert answer.status_code == 200


@pytest.mark.parametrize("path", [*ANSWERS, STREAM])
@pytest.mark.parametrize(("one", "other"), [("cursor", "lastEventId"), ("last-event-id", "last_event_id")])
async def test_two_in_a_url_are_the_same_or_400(plain: Gateway, path: str, one: str, other: str) -> None:
    ids = await plain.publish({"scope": unique("user:two")}, {"scope": unique("user:two")})
    headers = {**plain.bearer(), **SDK}
    async with plain.http.stream("GET", path, params={one: ids[0], other: ids[0]}, headers=headers) as answer:
        assert answer.status_code == 200, "they say the same"
    for first, second in (ids, reversed(ids)):
        answer = await plain.http.get(path, params={one: first, other: second}, headers=headers)
        assert one in check_problem(answer, 400, "malformed-parameter")["detail"]


async def test_two_in_a_url_are_compared_however_they_are_written(plain: Gateway) -> None:
    """A known client's request is looked up by its bytes: a second position must not be overlooked there."""
    ids = await plain.publish({"scope": unique("user:two")}, {"scope": unique("user:two")})
    headers = plain.bearer()
    for other in ("lastEventId", "last%45vent%49d"):
        await plain.http.get(f"{POLL}?cursor={ids[0]}&{other}={ids[0]}", headers=headers)
        answer = await plain.http.get(f"{POLL}?cursor={ids[1]}&{other}={ids[0]}", headers=headers)
        check_problem(answer, 400, "malformed-parameter")


async def test_the_last_of_equal_names_counts_however_they_are_written(plain: Gateway) -> None:
    sub = unique("user:last")
    ids = await plain.publish(*({"scope": sub} for _ in range(3)))
    for _ in range(2):
        answer = await plain.http.get(f"{POLL}?cursor={ids[0]}&%63ursor={ids[1]}", headers=plain.bearer(sub[5:]))
        assert [one["id"] for one in answer.json()["events"]] == ids[2:]


@pytest.mark.parametrize("name", ALIASES)
async def test_who_repeats_its_url_and_adds_its_position_is_where_it_added(plain: Gateway, name: str) -> None:
    """As stand-ins for an EventSource do: their URL's ``cursor`` is where they began."""
    sub = unique("user:stand-in")
    ids = await plain.publish(*({"scope": sub} for _ in range(4)))
    headers = {**plain.bearer(sub[5:]), **BROWSER}
    for began in (ids[0], "earliest"):
        assert await streamed(plain, headers, 3, cursor=began, **{name: ids[1]}) == ids[1:]
    assert await streamed(plain, {**headers, "Last-Event-ID": ids[2]}, 2, cursor=ids[0], **{name: ids[1]}) == ids[2:]
    others = {other: ids[0] for other in ALIASES if other != name}
    answer = await plain.http.get(STREAM, params={name: ids[1], **others}, headers=headers)
    check_problem(answer, 400, "malformed-parameter")


@pytest.mark.parametrize("blank", [" ", "\t", " \t  "], ids=repr)
async def test_white_space_around_a_header_fields_value_is_none_of_it(plain: Gateway, blank: str) -> None:
    sub = unique("user:blank")
    ids = await plain.publish(*({"scope": sub} for _ in range(2)))
    headers = {**plain.bearer(sub[5:]), **BROWSER, "Last-Event-ID": ids[0]}
    padded = {name: f"{blank}{value}{blank}" for name, value in headers.items()}
    lines = [f"GET {STREAM} HTTP/1.1", "Host: x", *(f"{name}:{value}" for name, value in padded.items())]
    seen = await said(plain, lines, 2)
    assert [one["event"] for one in seen] == ["connection.established", "test.happened"]
    assert seen[1]["id"] == ids[1]


async def test_white_space_is_cut_from_every_field_that_is_read(plain: Gateway) -> None:
    (tail,) = await plain.publish({"scope": "user:conditional"})
    headers = plain.bearer("conditional")
    for target, fields, status in (
        (f"{POLL}?cursor={tail}", {"If-None-Match": f'"{tail}"'}, 304),
        (f"{POLL}?cursor={tail}", {"Accept-Encoding": "identity"}, 200),
        ("/api/v1/events/health", {}, 200),
        ("/api/v1/auth/ticket", {}, 200),
    ):
        method = "POST" if target.endswith("ticket") else "GET"
        padded = {name: f"{value} \t" for name, value in {**headers, **fields}.items()}
        assert (await bare(plain, request(method, target, padded))).status == status, target


async def said(gateway: Gateway, lines: list[str], count: int) -> list[dict[str, Any]]:
    """Send a head as it is; return the first envelopes of the stream that answers."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode())
        found: list[dict[str, Any]] = []
        async with patience():
            while len(found) < count:
                line = await reader.readline()
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
        return found
    finally:
        writer.close()
        await writer.wait_closed()
