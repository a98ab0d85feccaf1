"""Traces and errors sent elsewhere: only when it is asked for, and with nothing secret in them."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import sentry_sdk
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from realtime import logs
from realtime.errors import ConfigError
from realtime.telemetry import report_errors, spans
from tests.support.gateway import gateway, settings
from tests.support.waiting import patience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
GOOD = f"00-{TRACE}-00f067aa0ba902b7-01"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXBheWxvYWQtb2YtYS1iYWQtdG9rZW4.c2lnbmF0dXJlLW9m"


class Collector:
    """Takes what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(fields["content-length"]))
            unpacked = gzip.decompress(body) if fields.get("content-encoding") == "gzip" else body
            self.bodies.append((lines[0].split(" ")[1], unpacked))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            return


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    one = Collector()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    async with server:
        yield one, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_span_for_each_request_goes_to_the_collector(tmp_path: Path, redis_url: str) -> None:
    async with collector() as (one, address):
        given = {"TELEMETRY__OTLP_ENDPOINT": f"http://{address}/"}
        async with gateway(tmp_path, redis_url, given) as running:
            headers = {**running.bearer(), "traceparent": GOOD}
            answer = await running.http.get(f"/api/v1/events/history?ticket={TOKEN}", headers=headers)
            assert answer.headers["x-request-id"] == TRACE
            await running.http.get("/api/v1/events/poll", headers=headers)
    assert {path for path, _ in one.bodies} == {"/v1/traces"}
    sent = [ExportTraceServiceRequest.FromString(body) for _, body in one.bodies]
    found = [
        span for part in sent for kind in part.resource_spans for scope in kind.scope_spans for span in scope.spans
    ]
    (span,) = [span for span in found if span.trace_id.hex() == TRACE]
    assert span.name == "GET /api/v1/events/history"
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    values = {one.key: one.value for one in span.attributes}
    assert values["http.response.status_code"].int_value == 200
    assert not any(TOKEN[:30].encode() in body or b"ticket" in body for _, body in one.bodies)


async def test_a_collector_that_is_away_holds_nobody_up(tmp_path: Path, redis_url: str) -> None:
    given = {"TELEMETRY__OTLP_ENDPOINT": "http://127.0.0.1:1"}
    async with patience(), gateway(tmp_path, redis_url, given) as running:
        assert (await running.http.get("/livez")).status_code == 200


async def test_a_line_of_an_error_goes_to_sentry_as_it_stands_in_the_log(tmp_path: Path, redis_url: str) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    async with collector() as (one, address):
        configuration = settings(tmp_path, redis_url, {"TELEMETRY__SENTRY_DSN": f"http://key@{address}/7"})
        try:
            logs.configure(configuration)
            report_errors(configuration)
            report_errors(configuration)
            assert len(root.handlers) == len(handlers) + 2, "one for the lines, and one for Sentry"
            log = structlog.get_logger("gapless.http")
            log.warning("not sent")
            log.error("request failed", exc_info=RuntimeError(f"failed for ?ticket={TOKEN}"), authorization=TOKEN)
            await asyncio.to_thread(sentry_sdk.flush, 5)
        finally:
            await asyncio.to_thread(sentry_sdk.get_client().close)
            for handler in [handler for handler in root.handlers if handler not in handlers]:
                root.removeHandler(handler)
            root.setLevel(level)
            structlog.reset_defaults()
    text = b"".join(body for _, body in one.bodies).decode()
    assert "request failed" in text
    assert "RuntimeError" in text
    assert "not sent" not in text
    assert not [part for part in TOKEN.split(".")[1:] if part in text]
    event = next(json.loads(line) for line in text.splitlines() if '"message"' in line)
    assert event["fingerprint"] == ["gapless.http", "request failed"]
    assert event["level"] == "error"


def test_without_being_asked_for_nothing_of_theirs_is_imported() -> None:
    code = (
        "import sys; from realtime.config import load; from realtime.telemetry import report_errors, spans;"
        "import realtime.app; s = load(environ={}); assert spans(s) is None; report_errors(s);"
        "theirs = ('opentelemetry.exporter', 'opentelemetry.sdk.trace', 'sentry_sdk');"
        "print([name for name in sys.modules if name.startswith(theirs)])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("setting", "extra", "module"),
    [
        ("TELEMETRY__OTLP_ENDPOINT", "otel", "opentelemetry.sdk.trace"),
        ("TELEMETRY__SENTRY_DSN", "sentry", "sentry_sdk"),
    ],
)
def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, extra: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as an import finds it that finds nothing
    configuration = settings(tmp_path, "redis://127.0.0.1", {setting: "http://key@127.0.0.1:1/7"})
    with pytest.raises(ConfigError, match=rf"gapless\[{extra}\]"):
        (spans if extra == "otel" else report_errors)(configuration)


def test_asked_for_by_the_environment_and_not_installed_is_only_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("opentelemetry.sdk.trace", "sentry_sdk"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("SENTRY_DSN", "http://key@127.0.0.1:1/7")
    configuration = settings(tmp_path, "redis://127.0.0.1")
    with structlog.testing.capture_logs() as lines:
        assert spans(configuration) is None
        report_errors(configuration)
    assert [line["install"] for line in lines] == ["gapless[otel]", "gapless[sentry]"]
