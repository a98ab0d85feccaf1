"""Traces to OpenTelemetry and errors to Sentry, for who asks for it: otherwise nothing of theirs is even imported.

Asked for in ``[telemetry]``, or by the variables that their users know (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``SENTRY_DSN``). What leaves the house has no query, no header and no body: of a request its method, route and status;
of an error the line that stands in the logs, with its credentials taken out.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import structlog

from realtime.errors import ConfigError
from realtime.logs import line_formatter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

    from realtime.config import Settings
    from realtime.tracing import Parent

_OTLP_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FAULT: Final = 500
_PATIENCE_S: Final = 2
"""How long a collector may take: no gateway waits longer for one when it ends."""

_log = structlog.get_logger("gapless.telemetry")


class Spans:
    """Sends a span for each request to a collector, over OTLP and HTTP."""

    def __init__(self, provider: TracerProvider) -> None:
        """Send by a provider."""
        self._provider = provider
        self._tracer = provider.get_tracer("gapless", version("gapless"))

    def start(self, parent: Parent | None) -> RequestSpan:
        """Begin a span, in the caller's trace if there is one."""
        from opentelemetry import trace  # noqa: PLC0415 - only where it is asked for

        context = None
        if parent is not None:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
            caller = trace.SpanContext(
                int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags
            )
            context = trace.set_span_in_context(trace.NonRecordingSpan(caller))
        return RequestSpan(self._tracer.start_span("request", context, trace.SpanKind.SERVER))

    def stop(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class RequestSpan:
    """One request, as a collector sees it."""

    def __init__(self, span: OtelSpan) -> None:
        """Fill in a span that has begun."""
        self._span = span
        self.trace_id = f"{span.get_span_context().trace_id:032x}"

    def end(self, method: str, route: str, status: int) -> None:
        """Name the span as OpenTelemetry's conventions for HTTP have it, and end it."""
        from opentelemetry import trace  # noqa: PLC0415 - only where it is asked for

        self._span.update_name(f"{method} {route}".rstrip())
        self._span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        if status >= _FAULT or not status:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


def spans(settings: Settings) -> Spans | None:
    """Return what sends traces, if it is asked for.

    Raises:
        ConfigError: it is asked for in ``[telemetry]``, and not installed.
    """
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None and not any(os.environ.get(name) for name in _OTLP_VARIABLES):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        _absent("otel", "telemetry.otlp_endpoint", is_set=endpoint is not None)
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "gapless"}))
    address = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    exporter = OTLPSpanExporter(address, timeout=_PATIENCE_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Spans(provider)


def report_errors(settings: Settings) -> None:
    """Have what is logged as an error sent to Sentry, if it is asked for; once in a process.

    Raises:
        ConfigError: it is asked for in ``[telemetry]``, and not installed.
    """
    given = settings.telemetry.sentry_dsn
    dsn = given.get_secret_value() if given is not None else os.environ.get("SENTRY_DSN")
    root = logging.getLogger()
    if not dsn or any(isinstance(handler, _Sentry) for handler in root.handlers):
        return
    try:
        import sentry_sdk  # noqa: PLC0415 - an extra
    except ImportError:
        _absent("sentry", "telemetry.sentry_dsn", is_set=given is not None)
        return
    # No integration: they would send queries, headers, and the values of variables, and so tickets and data.
    sentry_sdk.init(
        dsn,
        release=f"gapless@{version('gapless')}",
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_request_body_size="never",
    )
    root.addHandler(_Sentry())


class _Sentry(logging.Handler):
    """Sends a line of the logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(line_formatter())

    def emit(self, record: logging.LogRecord) -> None:
        import sentry_sdk  # noqa: PLC0415 - only where it is asked for

        event = record.msg.get("event", record.name) if isinstance(record.msg, dict) else record.name
        sentry_sdk.capture_event(
            {
                "level": "fatal" if record.levelno >= logging.CRITICAL else "error",
                "logger": record.name,
                "message": self.format(record),
                "fingerprint": [record.name, str(event)],
            }
        )


def _absent(extra: str, setting: str, *, is_set: bool) -> None:
    if is_set:
        raise ConfigError(f"{setting} is set, and what it needs is not installed: pip install 'gapless[{extra}]'")
    _log.warning("telemetry is asked for by the environment and not installed", install=f"gapless[{extra}]")
