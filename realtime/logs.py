"""What the service writes about itself: one line an event of its life, as JSON or for people, to standard error.

Rules: every logger ends up here (our own, uvicorn's, Quart's, anything on the standard library's, Python's warnings),
and every line passes one processor that removes credentials, whoever wrote them. Requests are not logged: their URLs
carry tickets, and at our rates the log would be larger than the traffic. The data of events is never given to a logger.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter

from realtime.outlet import Outlet

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from realtime.config import Settings

REDACTED: Final = "[redacted]"

_SECRET_NAME: Final = re.compile(
    r"(?:.*[-_.])?(?:authorization|cookie|jwt|password|secret|ticket|token)", re.IGNORECASE
)
_SECRET_TEXTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        # A header: "Authorization: …", and as dictionaries and ASGI's pairs are printed: (b'cookie', b'…').
        (
            r"((?:authorization|cookie)(?:['\"]\s*[:=,]|\s*[:=])\s*)(?:b?'[^']*'|b?\"[^\"]*\"|[^\r\n]+)",
            rf"\1{REDACTED}",
        ),
        # A parameter of a query, a form or a cookie, also percent-encoded inside another URL.
        (r"((?:ticket|token|secret|password)(?:=|%3D))(?!\[)[^\s&;,'\"#)]+", rf"\1{REDACTED}"),
        # A token (RFC 7519), whatever its signature and wherever it stands: "eyJ" is '{"' in base64url.
        (r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)*", REDACTED),
        (r"(bearer )[\w.~+/=-]{16,}", rf"\1{REDACTED}"),
        # The name and password in an address: redis://user:password@host.
        (r"(\w://)[^\s/@'\"]+@", rf"\1{REDACTED}@"),
    )
)

# Uvicorn and Quart come with handlers of their own, which would write each line a second time, and unredacted.
_FOREIGN_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.asgi", "quart", "quart.app", "quart.serving")
# They tell of each request, and of each change of a file, which our own log may be.
_TALKATIVE_LOGGERS: Final = ("httpx2", "watchfiles")
_ACCESS_LOGGERS: Final = ("uvicorn.access", "hypercorn.access")


class _Handler(logging.Handler):
    """Writes to one stream; known by its type, so that a second `configure` replaces it."""

    def __init__(self, stream: TextIO | None, lost: int) -> None:
        """Write to `stream`, after so many lines that were lost."""
        super().__init__()
        self.outlet = Outlet(stream, lost)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. One that can't be put together is told of without its arguments, which may be secrets."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a line of the log is no reason to fail
            self.outlet.lost += 1
            line = f"a line of the logger {record.name} was lost: {type(error).__name__}"
        self.outlet.write(f"{line}\n")


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all logging to `stream` (standard error unless given), in the format and from the level of `[log]`.

    To be called first thing in each process, before uvicorn and Quart are set up, and uvicorn with `log_config=None`,
    or it puts its own handlers back. Calling it again replaces what the first call did.
    """
    stream = stream or sys.stderr  # None, when it was closed before the process began
    level = logging.getLevelNamesMapping()[settings.log.level.upper()]
    handler = _Handler(stream, lost_lines())
    is_terminal = stream is not None and stream.isatty()
    handler.setFormatter(_formatter(pretty=_is_pretty(settings.log.format, is_terminal), colors=is_terminal))
    root = logging.getLogger()
    for old in _handlers():
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    _take_over_foreign_loggers()
    for name in _TALKATIVE_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_common_processors(), ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a module's logger may have been used before this call
    )


def lost_lines() -> int:
    """Return how many lines of the log this process could not write."""
    return sum(handler.outlet.lost for handler in _handlers())


def _handlers() -> list[_Handler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Handler)]


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove credentials from a log line, by the names of its fields and by what stands in their texts."""
    return {name: _cleaned_field(name, value) for name, value in event.items()}


def _cleaned_field(name: object, value: object) -> object:
    return REDACTED if _SECRET_NAME.fullmatch(_text(name)) else _cleaned(value)


def _cleaned(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(name): _cleaned_field(name, inner) for name, inner in value.items()}
        case (str() | bytes() as name, inner):  # a header, as ASGI has it
            return [_cleaned(name), _cleaned_field(name, inner)]
        case list() | tuple() | set() | frozenset():
            return [_cleaned(inner) for inner in value]
    return _cleaned_text(_text(value))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else repr(value)


def _cleaned_text(text: str) -> str:
    for pattern, replacement in _SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text


def _common_processors() -> list[Processor]:
    """Name what every line says, whichever logger it comes from."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def line_formatter() -> logging.Formatter:
    """Return what writes a line as JSON, its credentials taken out: for who sends lines elsewhere too."""
    return _formatter(pretty=False, colors=False)


def _formatter(*, pretty: bool, colors: bool) -> ProcessorFormatter:
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=colors) if pretty else structlog.processors.JSONRenderer()
    )
    return ProcessorFormatter(
        foreign_pre_chain=_common_processors(),
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # before the redaction: an exception's message may quote a URL
            redact,
            renderer,
        ],
    )


def _is_pretty(form: str, is_terminal: bool) -> bool:  # noqa: FBT001 - a predicate of two facts
    return form == "pretty" or (form == "auto" and is_terminal)


def _take_over_foreign_loggers() -> None:
    for name in _FOREIGN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)  # uvicorn sets one for the whole process; `[log] level` is the only one
    for name in _ACCESS_LOGGERS:  # without a handler anywhere above, uvicorn doesn't even build the lines
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = False
