"""The metrics: named once, documented, counted where things happen, and telling nothing of anybody."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realtime.delivery.meter import Meter
from realtime.metrics import Metrics
from tests.support.gateway import gateway
from tests.support.metrics import Scrape, scrape
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.gateway import Gateway

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "metrics.md"
RULES = ROOT / "deploy" / "prometheus-rules.yml"
EVENTS = "/api/v1/events"
SDK = {"Accept": "text/event-stream, application/problem+json"}


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    rows = re.findall(r"^\| `(gapless_\w+)` \| (\w+) \| ([^|]*)\|", DOCS.read_text(), re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


# Names


def test_every_metric_is_documented_as_it_is() -> None:
    assert documented() == {name: (kind, labels) for name, kind, labels in Metrics().described}


def test_names_follow_the_conventions() -> None:
    for name, kind, _ in Metrics().described:
        assert name.startswith("gapless_")
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|kib|kilobytes|percent)\b", name), name


def test_every_metric_has_a_help_text() -> None:
    families = list(text_string_to_metric_families(Metrics().text().decode()))
    assert len(families) == len(Metrics().described)
    assert all(family.documentation for family in families)


def test_alerts_are_on_metrics_and_labels_that_there_are() -> None:
    text = RULES.read_text()
    there = {name: labels for name, _, labels in Metrics().described}
    histograms = {f"{name}_bucket" for name, kind, _ in Metrics().described if kind == "histogram"}
    asked = re.findall(r"(gapless_\w+)(?:\{([^}]*)\})?", text)
    assert {name for name, _ in asked} <= there.keys() | histograms
    for name, selectors in asked:
        labels = there[name.removesuffix("_bucket")]
        assert set(re.findall(r"(\w+)=", selectors)) <= set(labels), name
    assert len(re.findall(r"- alert: Gapless\w+\n\s+expr: ", text)) == text.count("- alert:") >= 5


# Counting


def test_one_length_is_noted_for_many_at_once() -> None:
    metrics = Metrics()
    metrics.carried("sse").latency.note(0.02, 500)
    metrics.carried("sse").latency.note(100, 2)
    told = Scrape(metrics.text().decode())
    assert told.sum("delivery_latency_seconds_count", transport="sse") == 502
    assert told.sum("delivery_latency_seconds_sum", transport="sse") == pytest.approx(210)
    assert told.sum("delivery_latency_seconds_bucket", le="0.01") == 0
    assert told.sum("delivery_latency_seconds_bucket", le="0.025") == 500
    assert told.sum("delivery_latency_seconds_bucket", le="+Inf") == 502


def test_a_meter_without_metrics_counts_for_itself() -> None:
    meter = Meter()
    meter.delivered("sse", 3, 300)
    meter.arrived("sse", 0, 3)
    meter.ticked(0.1)
    assert meter.deliveries == {"sse": 3}
    assert meter.take_latencies().keys() == {"sse"}


def test_methods_and_addresses_that_are_not_ours_are_one() -> None:
    metrics = Metrics()
    metrics.answered("BREW", None, 405)
    metrics.answered("GET", "/livez", 200)
    told = Scrape(metrics.text().decode())
    assert told.sum("http_requests_total", method="other", route="other", status="405") == 1
    assert told.labels("http_requests_total", "method") == {"other", "GET"}


def test_limits_are_counted_by_their_kind() -> None:
    metrics = Metrics()
    metrics.limit_hit("streams-per-user")
    assert Scrape(metrics.text().decode()).sum("limit_hits_total", kind="streams-per-user") == 1


async def test_a_stream_is_counted_from_its_begin_to_its_end(served: Gateway) -> None:
    before = (await served.publish({}))[0]
    async with served.stream({**served.bearer(), **SDK}, cursor=before) as stream:
        await stream.envelope("connection.established")
        await served.publish({}, {"scope": "user:42"}, {"scope": "user:somebody-else"})
        for _ in range(2):
            await stream.envelope("test.happened")
        told = await scrape(served.http)
        assert told.sum("connections", transport="sse") == 1
        assert told.sum("deliveries_total", transport="sse") == 2
        assert told.sum("delivery_latency_seconds_count", transport="sse") == 1, "both came in one tick"
        assert told.sum("attaches_total", transport="sse", outcome="accepted") == 1
        assert told.sum("resumes_total", source="window") == 1
        assert told.sum("written_bytes_total", transport="sse") > 500
        assert told.sum("tick_seconds_count") >= 2

    async def nobody_is_connected() -> bool:
        return (await scrape(served.http)).sum("connections", transport="sse") == 0

    await until(nobody_is_connected)


async def test_polls_and_long_polls_count_what_they_carried(served: Gateway) -> None:
    await served.publish({}, {})
    for name, path in (("long-poll", "long-poll"), ("polling", "poll")):
        answer = await served.http.get(f"{EVENTS}/{path}?cursor=earliest", headers=served.bearer())
        told = await scrape(served.http)
        assert told.sum("deliveries_total", transport=name) == len(answer.json()["events"]) == 2
        assert told.sum("written_bytes_total", transport=name) == len(answer.content)
        assert told.sum("attaches_total", transport=name, outcome="accepted") == 1
        assert told.sum("connections", transport=name) == 1, "it may be about to come back"
    told = await scrape(served.http)
    assert told.sum("resumes_total", source="log") == 2, "where history begins is asked of the log"


async def test_refusals_are_counted_by_their_code(served: Gateway) -> None:
    for headers, query in (({"Authorization": "Bearer no"}, ""), ({}, ""), (served.bearer(), "?scopes=user:7")):
        await served.http.get(f"{EVENTS}/poll{query}", headers=headers)
    told = await scrape(served.http)
    for code in ("bad-credential", "credential-required", "scope-not-held"):
        assert told.sum("attaches_total", transport="polling", outcome=code) == 1
    assert told.sum("http_requests_total", method="GET", route=f"{EVENTS}/poll", status="401") == 2
    assert told.sum("http_requests_total", method="GET", route=f"{EVENTS}/poll", status="403") == 1


async def test_truncations_tell_their_cause(served: Gateway) -> None:
    await served.publish({})
    asks = {"expired": "1-1", "unknown": "9007199254740991-1", "malformed": "no cursor at all"}
    for cause, last in asks.items():
        async with served.stream({**served.bearer(), **SDK, "Last-Event-ID": last}) as stream:
            await stream.envelope("history.truncated")
        assert (await scrape(served.http)).sum("truncations_total", cause=cause) == 1, cause
    assert (await scrape(served.http)).labels("truncations_total", "cause") == asks.keys()


async def test_publishing_is_counted_and_timed_and_so_is_redis(served: Gateway) -> None:
    before = await scrape(served.http)
    await served.publish({"idempotency_key": "k"}, {"idempotency_key": "k"}, {})
    told = await scrape(served.http)
    assert told.sum("published_events_total", outcome="appended") == 2
    assert told.sum("published_events_total", outcome="duplicate") == 1
    assert told.sum("publish_latency_seconds_count") == 1
    assert told.sum("publish_latency_seconds_sum") > 0
    trips = told.sum("redis_round_trip_seconds_count") - before.sum("redis_round_trip_seconds_count")
    assert 1 <= trips < 20, "blocked reads are none"
    assert told.sum("redis_up") == 1
    assert told.sum("http_requests_total", method="POST", route=EVENTS, status="201") == 1


async def test_decisions_and_moves_are_counted_by_the_transport_to_use(served: Gateway) -> None:
    decided = await served.negotiate()
    async with served.stream(SDK, ticket=decided["ticket"]) as stream:
        await stream.envelope("connection.established")
        headers = served.bearer("root", roles=("admin",))
        off = {"enabled": False, "reason": "a test"}
        assert (await served.http.patch("/api/v1/admin/transports/sse", json=off, headers=headers)).status_code == 200
        await stream.envelope("transport.changed")
    told = await scrape(served.http)
    assert told.sum("decisions_total", transport="sse") == 1
    assert told.sum("moves_total", transport="long-poll") == 1
    assert told.sum("policy_revision") == 1
    assert told.sum("policy_stale") == 0
    route = "/api/v1/admin/transports/<name>"
    assert told.sum("http_requests_total", method="PATCH", route=route, status="200") == 1


async def test_a_client_for_whom_everything_is_switched_off_is_a_decision_too(tmp_path: Path, redis_url: str) -> None:
    async with gateway(tmp_path, redis_url, {"POLICY__TRANSPORTS": '{"sse":{"enabled":false}}'}) as running:
        answer = await running.http.post(f"{EVENTS}/negotiate", json={"transports": ["sse"]}, headers=running.bearer())
        assert answer.status_code == 503
        assert (await scrape(running.http)).sum("decisions_total", transport="none") == 1


async def test_the_state_of_the_gateway_is_told(served: Gateway) -> None:
    await served.publish({}, {})
    await until(lambda: bool(served.worker.desk.fleet.samples()))
    told = await scrape(served.http)
    assert told.sum("workers") == told.sum("ready") == told.sum("fleet_gateways") == told.sum("fleet_workers") == 1
    assert told.sum("window_events") >= 2
    assert told.sum("window_bytes") > 100
    assert told.sum("follower_lag_seconds") == 0
    assert told.sum("build_info") == 1


# What is not told


async def test_nothing_of_anybody_is_in_them(served: Gateway) -> None:
    secrets = {"sub": "somebody-in-particular", "scope": "topic:merger-talks", "channel": "tenant-of-ours"}
    token = served.bearer(secrets["sub"], scopes=(secrets["scope"],), channel=secrets["channel"])
    decided = await served.negotiate(secrets["sub"], {"client": {"id": "device-4711", "platform": "toaster"}})
    await served.publish({"scope": secrets["scope"], "event": "very.secret-type"}, channel=secrets["channel"])
    body = {"session": "named-by-its-client", "transport": "sse", "outcome": "failed", "reason": "http-418"}
    await served.http.post(f"{EVENTS}/report?ticket={decided['ticket']}", json=body)
    await served.http.get(f"{EVENTS}/poll?cursor=earliest&scopes={secrets['scope']}&x=in-a-query", headers=token)
    await served.http.get("/an/address/nobody-has", headers=token)
    await served.http.request("BREWING", "/livez")
    text = (await scrape(served.http)).text
    words = [
        *secrets.values(),
        decided["session"],
        "named-by",
        "4711",
        "toaster",
        "very.secret",
        "http-418",
        "in-a-query",
    ]
    assert [word for word in [*words, "nobody-has", "BREWING", decided["ticket"][:30]] if word in text] == []


async def test_they_are_text_for_prometheus_and_for_anybody(served: Gateway) -> None:
    answer = await served.http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "_created" not in answer.text


def test_a_file_that_another_worker_has_just_begun_is_looked_at_again(tmp_path: Path) -> None:
    code = """
import sys, threading, time
from pathlib import Path
from realtime.metrics import Metrics, Share
metrics = Metrics(Share(sys.argv[1], 1))
metrics.limit_hit("clients")
begun = Path(sys.argv[1], "counter_2.db")
begun.touch()
threading.Timer(0.01, begun.unlink).start()
sys.stdout.buffer.write(metrics.text())
"""
    told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True)
    assert 'gapless_limit_hits_total{kind="clients"} 1.0' in told.stdout
