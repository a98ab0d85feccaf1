"""Request ids: W3C Trace Context, in and out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import structlog

from realtime.tracing import Parent, read
from tests.support.gateway import Gateway, gateway

if TYPE_CHECKING:
    from pathlib import Path

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
EVENTS = "/api/v1/events"


def scope(*values: str) -> dict[str, object]:
    return {"headers": [(b"traceparent", value.encode()) for value in values]}


@pytest.mark.parametrize(
    ("value", "sampled"),
    [(GOOD, True), (f"00-{TRACE}-{SPAN}-00", False), (f"cc-{TRACE}-{SPAN}-03-what-comes-later", True)],
)
def test_a_callers_trace_is_read(value: str, sampled: bool) -> None:
    assert read(scope(value)) == Parent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "no trace",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{GOOD}-more",
        f"{GOOD} ",
        f"00-{TRACE[1:]}-{SPAN}-01",
    ],
)
def test_what_is_invalid_is_none(value: str) -> None:
    assert read(scope(value)) is None


def test_two_are_none() -> None:
    assert read(scope(GOOD, GOOD)) is None
    assert read(scope()) is None


@pytest.mark.parametrize("path", [f"{EVENTS}/history", f"{EVENTS}/health", "/livez", "/nothing/there"])
async def test_the_answer_names_the_callers_trace(served: Gateway, path: str) -> None:
    answer = await served.http.get(path, headers={**served.bearer(), "traceparent": GOOD})
    assert answer.headers["x-request-id"] == TRACE


async def test_without_a_good_one_each_request_gets_its_own(served: Gateway) -> None:
    answers = [await served.http.get("/livez", headers={"traceparent": "00-bad"}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


async def test_publishing_has_one_and_the_transports_have_none(served: Gateway) -> None:
    body = {"event": "a.b", "scope": "broadcast", "data": 1}
    headers = {**served.bearer("p", roles=("publisher",)), "traceparent": GOOD}
    assert (await served.http.post(EVENTS, json=body, headers=headers)).headers["x-request-id"] == TRACE
    refused = await served.http.post(EVENTS, json=body, headers={**served.bearer("q"), "traceparent": GOOD})
    assert (refused.status_code, refused.headers["x-request-id"]) == (403, TRACE)
    assert "x-request-id" not in (await served.http.get(f"{EVENTS}/poll", headers=headers)).headers


async def test_what_is_logged_meanwhile_says_whose_it_is(tmp_path: Path, redis_url: str) -> None:
    merged = [structlog.contextvars.merge_contextvars]
    async with gateway(tmp_path, redis_url) as running:
        with structlog.testing.capture_logs(processors=merged) as lines:
            for sub in ("one", "two"):
                headers = {**running.bearer(sub, roles=("viewer",)), "traceparent": GOOD}
                await running.http.patch("/api/v1/admin/transports/sse", json={"enabled": False}, headers=headers)
            await running.http.get(f"{EVENTS}/history", headers={"Authorization": "Bearer no"})
    refused = [line for line in lines if line["event"] in {"access refused", "credential refused"}]
    assert [line.get("sub") for line in refused] == ["one", "two", None]
    assert [line["trace_id"] == TRACE for line in refused] == [True, True, False]
