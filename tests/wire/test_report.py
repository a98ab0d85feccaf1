"""Client reports: `POST /api/v1/events/report` (PROTOCOL §4, Client reports)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.support.gateway import gateway
from tests.support.metrics import scrape
from tests.wire.conftest import forgetful
from tests.wire.support import APP, EVENTS, NEGOTIATE, TICKET, check_problem, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx2

    from tests.support.gateway import Gateway
    from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

REPORT = f"{EVENTS}/report"
ARMS = {
    "control": {"weight": 0, "preference": ["polling"]},
    "sse": {"weight": 100, "preference": ["sse", "polling"]},
}
ROLLOUTS = [{"name": "streams", "arms": ARMS}, {"name": "other", "when": {"platform": "toaster"}, "arms": ARMS}]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def reporting(wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with two rollouts, that lets anonymous clients see the news."""
    settings = {
        "AUTH__ANONYMOUS_SCOPES": '["topic:news.*"]',
        "CORS__ORIGINS": json.dumps([APP]),
        "POLICY__ROLLOUTS": json.dumps(ROLLOUTS),
    }
    async with gateway(tmp_path_factory.mktemp("reporting"), wire_valkey.database(), settings) as running:
        yield forgetful(running)


def body(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return {"session": unique("session-"), "transport": "sse", "outcome": "connected", **fields}


async def report(
    on: Gateway, value: object, headers: Mapping[str, str] | None = None, query: str = ""
) -> httpx2.Response:
    return await on.http.post(f"{REPORT}{query}", json=value, headers=on.bearer() if headers is None else headers)


async def count(on: Gateway, **labels: str) -> float:
    return (await scrape(on.http)).sum("client_reports_total", **labels)


async def test_it_is_accepted_without_a_body_and_counted(reporting: Gateway) -> None:
    before = await count(reporting)
    given = body(outcome="failed", reason="buffered", connect_ms=80, first_event_ms=1200.5, latency_ms=[20, 35.5, 900])
    answer = await report(reporting, given)
    assert answer.status_code == 202
    assert answer.content == b""
    assert answer.headers["cache-control"] == "no-store"
    assert "content-type" not in answer.headers
    assert await count(reporting) == before + 1
    told = await scrape(reporting.http)
    assert told.sum("client_reports_total", transport="sse", outcome="failed", reason="buffered", arm="") == 1
    assert told.sum("client_connect_seconds_sum") == pytest.approx(0.08)
    assert told.sum("client_first_event_seconds_sum") == pytest.approx(1.2005)
    assert told.sum("client_latency_seconds_count", transport="sse") == 3


async def test_only_who_it_is_and_how_it_went_are_required(reporting: Gateway) -> None:
    assert (await report(reporting, body(newer="field", reason=None, connect_ms=None))).status_code == 202


@pytest.mark.parametrize("by", ["token", "ticket", "cookie"])
async def test_it_takes_a_token_a_ticket_and_the_cookie(reporting: Gateway, by: str) -> None:
    before, sub = await count(reporting), unique("sub-")
    headers, query = reporting.bearer(sub), ""
    if by == "ticket":
        query, headers = f"?ticket={(await reporting.negotiate(sub))['ticket']}", {}
    if by == "cookie":
        given = await reporting.http.post(TICKET, json={"cookie": True}, headers=headers)
        headers = {"Cookie": given.headers["set-cookie"].split(";")[0], "Origin": APP}
    assert (await report(reporting, body(), headers, query)).status_code == 202
    assert await count(reporting) == before + 1


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null"])
async def test_the_cookie_of_another_sites_page_does_not_count(reporting: Gateway, origin: str) -> None:
    given = await reporting.http.post(TICKET, json={"cookie": True}, headers=reporting.bearer())
    headers = {"Cookie": given.headers["set-cookie"].split(";")[0], "Origin": origin}
    check_problem(await report(reporting, body(), headers), 401, "credential-required")


async def test_who_shows_nothing_is_refused_and_who_shows_a_bad_one(reporting: Gateway) -> None:
    check_problem(await report(reporting, body(), {}), 401, "credential-required")
    check_problem(await report(reporting, body(), {"Authorization": "Bearer no"}), 401, "bad-credential")
    check_problem(await report(reporting, body(), {}, "?ticket=no.no"), 401, "bad-credential")


async def test_an_anonymous_client_reports_with_its_ticket(reporting: Gateway) -> None:
    given = (await reporting.http.post(NEGOTIATE, json={})).json()
    before = await count(reporting)
    assert (await report(reporting, body(), {}, f"?ticket={given['ticket']}")).status_code == 202
    assert await count(reporting) == before + 1


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("session", None),
        ("session", ""),
        ("session", "s" * 256),
        ("session", 7),
        ("transport", "carrier-pigeon"),
        ("transport", None),
        ("outcome", "perhaps"),
        ("outcome", None),
        ("reason", "because"),
        ("reason", "http-999"),
        ("reason", "http-"),
        ("reason", 504),
        ("connect_ms", -1),
        ("connect_ms", 3_600_001),
        ("connect_ms", "80"),
        ("connect_ms", True),
        ("first_event_ms", [1]),
        ("latency_ms", 7),
        ("latency_ms", [1] * 101),
        ("latency_ms", [1, -1]),
        ("latency_ms", [1, None]),
    ],
)
async def test_a_wrong_value_names_its_field(reporting: Gateway, field: str, wrong: object) -> None:
    before = await count(reporting)
    problem = check_problem(await report(reporting, body(**{field: wrong})), 422, "invalid-field")
    assert problem["field"].split(".")[0] == field
    assert problem["detail"].startswith(field)
    assert await count(reporting) == before


@pytest.mark.parametrize("field", ["session", "transport", "outcome"])
async def test_a_missing_field_is_named(reporting: Gateway, field: str) -> None:
    given = body()
    del given[field]
    assert check_problem(await report(reporting, given), 422, "invalid-field")["field"] == field


REASONS = ["timeout", "buffered", "refused", "http-502", "closed-early", "idle", "network-changed"]


@pytest.mark.parametrize("reason", REASONS)
async def test_every_reason_counts_a_status_by_its_class(reporting: Gateway, reason: str) -> None:
    label = "http-5xx" if reason.startswith("http-") else reason
    before = await count(reporting, outcome="closed", reason=label)
    assert (await report(reporting, body(outcome="closed", reason=reason))).status_code == 202
    assert await count(reporting, outcome="closed", reason=label) == before + 1


async def test_malformed_bodies_and_methods_are_as_everywhere(reporting: Gateway) -> None:
    async def post(content: bytes) -> httpx2.Response:
        return await reporting.http.post(REPORT, content=content, headers=reporting.bearer())

    for content in (b"{", b"\xff", b'{"connect_ms":NaN}'):
        check_problem(await post(content), 400, "malformed-body")
    check_problem(await post(b"[]"), 422, "invalid-field")
    check_problem(await post(b'{"x":"' + b"a" * (4 * 1024 * 1024) + b'"}'), 413, "body-too-large")
    got = await reporting.http.get(REPORT, headers=reporting.bearer())
    check_problem(got, 405, "method-not-allowed")
    assert "POST" in got.headers["allow"]


async def test_one_of_a_session_and_transport_counts_in_ten_seconds(reporting: Gateway) -> None:
    before, given = await count(reporting), body()
    for _ in range(3):
        assert (await report(reporting, given)).status_code == 202
    assert await count(reporting) == before + 1
    assert (await report(reporting, given | {"outcome": "failed"})).status_code == 202
    assert await count(reporting) == before + 1
    await report(reporting, given | {"transport": "polling"})
    await report(reporting, body())
    await report(reporting, given, reporting.bearer("another-subject"))
    assert await count(reporting) == before + 4


async def test_with_a_ticket_its_own_session_counts_whatever_the_body_says(reporting: Gateway) -> None:
    query = f"?ticket={(await reporting.negotiate(unique('sub-')))['ticket']}"
    before = await count(reporting)
    for _ in range(3):
        assert (await report(reporting, body(), {}, query)).status_code == 202
    assert await count(reporting) == before + 1


async def test_it_counts_for_the_arms_that_the_ticket_seals(reporting: Gateway) -> None:
    in_one = await reporting.negotiate(unique("sub-"))
    in_both = await reporting.negotiate(unique("sub-"), {"client": {"platform": "toaster"}})
    assert in_both["decision"]["arms"] == {"streams": "sse", "other": "sse"}
    before = {arm: await count(reporting, arm=arm) for arm in ("streams/sse", "other/sse", "")}
    for given in (in_one, in_both):
        await report(reporting, body(connect_ms=5), {}, f"?ticket={given['ticket']}")
    assert await count(reporting, arm="streams/sse") == before["streams/sse"] + 2
    assert await count(reporting, arm="other/sse") == before["other/sse"] + 1
    assert await count(reporting, arm="") == before[""]
    assert (await scrape(reporting.http)).sum("client_connect_seconds_count", arm="other/sse") >= 1


async def test_an_arm_that_the_policy_has_no_longer_is_no_label(
    wire_valkey: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {"POLICY__ROLLOUTS": json.dumps(ROLLOUTS)}
    async with gateway(tmp_path_factory.mktemp("rolled"), wire_valkey.database(), settings) as running:
        ticket = (await running.negotiate())["ticket"]
        headers = running.bearer("root", roles=("admin",))
        policy = (await running.http.get("/api/v1/admin/policy", headers=headers)).json()["policy"]
        change = {"policy": policy | {"rollouts": []}, "reason": "it is over"}
        put = await running.http.put("/api/v1/admin/policy", json=change, headers=headers | {"If-Match": '"0"'})
        assert put.status_code == 200, put.text
        assert (await report(running, body(), {}, f"?ticket={ticket}")).status_code == 202
        assert (await scrape(running.http)).labels("client_reports_total", "arm") == {""}
