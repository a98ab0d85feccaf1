"""The service's own log: whoever writes a line, it comes out in one format and without credentials."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import pty
import re
import socket
import subprocess
import sys
import warnings
from os import close, fdopen
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart

from realtime import logs
from realtime.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3IiwiZXhwIjo5fQ.c2lnbmF0dXJlLW9mLWl0"
TICKET = "hV5t0-xY_9zQ"


class Lines:
    """A stream of JSON lines, read back."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def last(self) -> dict[str, Any]:
        return self.all()[-1]


def settings(level: str = "info", form: str = "json") -> Settings:
    return Settings.model_validate({"log": {"level": level, "format": form}})


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    for name in ("uvicorn", "uvicorn.access"):
        logging.getLogger(name).propagate = True


@pytest.fixture
def lines() -> Lines:
    lines = Lines()
    logs.configure(settings(), lines.stream)
    return lines


# --- one place, one format -------------------------------------------------------------------------------------------


def test_our_own_loggers_write_json_lines(lines: Lines) -> None:
    structlog.get_logger("gapless.test").info("it began", attachments=3)
    line = lines.last()
    assert (line["event"], line["attachments"], line["level"], line["logger"]) == (
        "it began",
        3,
        "info",
        "gapless.test",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])


def test_a_logger_that_was_used_before_follows(lines: Lines) -> None:
    log = structlog.get_logger("gapless.test")
    log.info("first")
    again = Lines()
    logs.configure(settings(), again.stream)
    log.info("second")
    assert [line["event"] for line in lines.all()] == ["first"]
    assert [line["event"] for line in again.all()] == ["second"]


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "quart.app", "quart.serving", "asyncio", "any.library"])
def test_loggers_of_libraries_write_the_same_lines(lines: Lines, name: str) -> None:
    logging.getLogger(name).warning("%d of %s", 3, "them")
    line = lines.last()
    assert (line["event"], line["level"], line["logger"]) == ("3 of them", "warning", name)


def test_warnings_of_python_are_lines(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("this will go away", stacklevel=1)
    assert "this will go away" in lines.last()["event"]
    assert lines.last()["logger"] == "py.warnings"


def test_what_is_below_the_level_is_not_written() -> None:
    lines = Lines()
    logs.configure(settings("warning"), lines.stream)
    structlog.get_logger("gapless.test").info("ours")
    logging.getLogger("uvicorn.error").info("theirs")
    assert lines.text == ""


def test_a_traceback_is_part_of_its_line(lines: Lines) -> None:
    for log in (structlog.get_logger("gapless.test"), logging.getLogger("any.library")):
        try:
            int("it broke")
        except ValueError:
            log.exception("while trying")
        assert "ValueError: invalid literal for int() with base 10: 'it broke'" in lines.last()["exception"]
    assert len(lines.all()) == 2


def test_context_of_a_task_is_in_its_lines(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(gateway="g1"):
        logging.getLogger("any.library").info("x")
    assert lines.last()["gateway"] == "g1"


def test_auto_is_pretty_on_a_terminal_and_json_elsewhere(lines: Lines) -> None:
    ours, theirs = pty.openpty()
    with fdopen(theirs, "w") as terminal:
        logs.configure(settings(form="auto"), terminal)
        structlog.get_logger("gapless.test").info("hello", n=1)
        with open(ours, "rb", buffering=0, closefd=False) as screen:
            assert b"\x1b[" in screen.read(4096)
    close(ours)
    logs.configure(settings(form="auto"), lines.stream)
    structlog.get_logger("gapless.test").info("hello")
    assert lines.last()["event"] == "hello"


def test_pretty_is_for_people() -> None:
    lines = Lines()
    logs.configure(settings(form="pretty"), lines.stream)
    structlog.get_logger("gapless.test").info("hello", url=f"/x?ticket={TICKET}")
    assert "[info     ] hello" in lines.text
    assert TICKET not in lines.text


# --- no credentials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"GET /api/v1/events/stream?ticket={TICKET}",
        f"GET /x?a=1&ticket={TICKET}&b=2",
        f"Referer: https://a.b/?next=%2Fx%3Fticket%3D{TICKET}",
        f"{{'query_string': b'a=1&ticket={TICKET}', 'type': 'http'}}",
        f"Cookie: a=b; gapless_ticket={TICKET}; c=d",
        f"Set-Cookie: gapless_ticket={TICKET}; HttpOnly",
        f"cookie={TICKET}",
        f"(b'cookie', b'x={TICKET}'), (b'host', b'h')",
        f'{{"cookie": "x={TICKET}"}}',
        f"Authorization: Basic {TICKET}",
        f"authorization: Bearer {TICKET}",
        f"(b'authorization', b'Bearer {TICKET}')",
        f"Bearer {TICKET}{TICKET}",
        f"redis://me:{TICKET}@host:6379/0 is gone",
        f"redis://:{TICKET}@host",
        f"access_token={TICKET}",
    ],
    ids=range(16),
)
def test_credentials_in_a_text_are_removed(lines: Lines, text: str) -> None:
    logging.getLogger("any.library").error("before %s", text)
    assert TICKET not in lines.text
    assert logs.REDACTED in lines.last()["event"]
    assert lines.last()["event"].startswith("before ")


@pytest.mark.parametrize("name", ["ticket", "gapless_ticket", "Authorization", "set-cookie", "auth.secret", "jwt"])
def test_credentials_in_a_field_are_removed_by_its_name(lines: Lines, name: str) -> None:
    structlog.get_logger("gapless.test").info("x", **{name: TICKET, "inner": {name: TICKET, "n": 1}})
    assert lines.last()[name] == logs.REDACTED
    assert lines.last()["inner"] == {name: logs.REDACTED, "n": 1}


def test_credentials_in_headers_as_asgi_has_them_are_removed(lines: Lines) -> None:
    headers = [(b"host", b"h"), (b"authorization", TICKET.encode()), (b"cookie", b"a=" + TICKET.encode())]
    structlog.get_logger("gapless.test").info("x", headers=headers, query=b"ticket=" + TICKET.encode())
    assert TICKET not in lines.text
    assert ["host", "h"] in lines.last()["headers"]


def test_credentials_in_an_exception_are_removed(lines: Lines) -> None:
    for log in (structlog.get_logger("gapless.test"), logging.getLogger("any.library")):
        try:
            int(f"/x?ticket={TICKET} nor {JWT}")
        except ValueError:
            log.exception("failed")
        assert "/x?ticket=[redacted] nor [redacted]" in lines.last()["exception"]
    structlog.get_logger("gapless.test").error("failed", error=ValueError(f"no {JWT}"))
    assert lines.last()["error"] == "ValueError('no [redacted]')"


@given(before=st.text(), after=st.text())
def test_a_token_is_removed_wherever_it_stands(before: str, after: str) -> None:
    assert JWT not in str(logs.redact(None, "", {"event": f"{before}{JWT}{after}"})["event"])
    assert TICKET not in str(logs.redact(None, "", {"event": f"{before}ticket={TICKET}{after}"})["event"])


@pytest.mark.parametrize(
    "text",
    [
        "the ticket expired; a cookie was set, a token wasn't",
        "Uvicorn running on http://127.0.0.1:8000 (Press CTRL+C to quit)",
        "id 1795317600123-1234567 of topic:news.sport",
        "version 9.1.2, see https://example.com/a@b",
    ],
    ids=range(4),
)
def test_what_is_no_credential_stays(lines: Lines, text: str) -> None:
    logging.getLogger("any.library").info(text)
    assert lines.last()["event"] == text


def ours() -> logging.Handler:
    """Return our handler: a record goes to it alone, for pytest's own handler would raise."""
    return next(handler for handler in logging.getLogger().handlers if hasattr(handler, "outlet"))


def test_a_line_that_cannot_be_put_together_is_told_without_its_arguments(lines: Lines) -> None:
    lost = logs.lost_lines()
    ours().handle(logging.LogRecord("any.library", logging.INFO, __file__, 1, "%d", (f"ticket={TICKET}",), None))
    assert lines.text == "a line of the logger any.library was lost: TypeError\n"
    assert logs.lost_lines() == lost + 1


def test_a_line_that_cannot_be_written_is_dropped_and_counted_also_after_another_configure(lines: Lines) -> None:
    lost = logs.lost_lines()
    lines.stream.close()
    structlog.get_logger("gapless.test").info("lost")
    ours().handle(logging.LogRecord("any.library", logging.INFO, __file__, 1, "lost", (), None))
    assert logs.lost_lines() == lost + 2
    logs.configure(settings(), Lines().stream)
    assert logs.lost_lines() == lost + 2


def test_what_no_json_can_carry_is_written_all_the_same(lines: Lines) -> None:
    structlog.get_logger("gapless.test").info("x \ud800", path=Path("/x"), kinds={int}, raw=b"\xff", odd={1: object})
    assert lines.last()["event"] == "x \ud800"
    assert "/x" in lines.last()["path"]


# --- the server and the framework ------------------------------------------------------------------------------------


async def test_uvicorn_and_quart_log_here_and_no_requests(lines: Lines) -> None:
    app = Quart("gapless-test")

    @app.get("/fails")
    async def fails() -> str:
        raise ValueError(f"no such ticket={TICKET}")

    @app.get("/works")
    async def works() -> str:
        return "ok"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        for path, status in (("works", b"200"), ("fails", b"500")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /{path}?ticket={TICKET} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
            assert status in await reader.readline()
            await reader.read()
            writer.close()
            await writer.wait_closed()
        server.should_exit = True
        await serving
    assert {"uvicorn.error", "gapless-test"} <= {line["logger"] for line in lines.all()}
    assert "no such ticket=[redacted]" in lines.text
    assert "/works" not in lines.text
    assert TICKET not in lines.text


def test_a_process_logs_to_standard_error() -> None:
    code = (
        "from realtime import logs; from realtime.config import Settings; import structlog;"
        "logs.configure(Settings()); structlog.get_logger('x').info('hello'); print('page')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "page\n"
    assert json.loads(done.stderr)["event"] == "hello"
