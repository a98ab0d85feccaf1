"""What the logs tell of connections, publishing and who was refused; and what they don't."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict

    from tests.support.gateway import Gateway

EVENTS = "/api/v1/events"


@contextmanager
def told(level: int = logging.DEBUG) -> Iterator[list[EventDict]]:
    """Collect what is logged from a level on."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(level)
    try:
        with structlog.testing.capture_logs(processors=[structlog.stdlib.add_logger_name]) as lines:
            yield lines
    finally:
        root.setLevel(before)


@pytest.fixture(autouse=True)
def _standard_loggers() -> Iterator[None]:
    """Have lines name their loggers, as `logs.configure` sees to it in a service."""
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory(), wrapper_class=structlog.stdlib.BoundLogger)
    yield
    structlog.reset_defaults()


def named(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


async def test_a_stream_is_told_from_its_begin_to_its_end(served: Gateway) -> None:
    with told() as lines:
        async with served.stream(served.bearer()) as stream:
            session = (await stream.envelope("connection.established"))["data"]["session"]
            await served.publish({}, {"scope": "user:42"}, {"scope": "user:43"})
            for _ in range(2):
                await stream.envelope("test.happened")
        await until(lambda: bool(named(lines, "connection closed")))
    (opened,), (closed,) = named(lines, "connection opened"), named(lines, "connection closed")
    assert (opened["transport"], opened["session"], opened["log_level"]) == ("sse", session, "debug")
    assert (closed["transport"], closed["session"], closed["reason"]) == ("sse", session, "gone")
    assert (closed["events"], closed["log_level"], closed["logger"]) == (2, "debug", "gapless.delivery")
    assert closed["bytes"] > 300
    assert closed["duration_ms"] >= 0


async def test_an_answer_that_ends_is_told_once(served: Gateway) -> None:
    await served.publish({}, {})
    with told() as lines:
        answer = await served.http.get(f"{EVENTS}/poll?cursor=earliest", headers=served.bearer())
    assert not named(lines, "connection opened")
    (closed,) = named(lines, "connection closed")
    assert (closed["transport"], closed["reason"], closed["events"]) == ("polling", "answered", 2)
    assert closed["bytes"] == len(answer.content)


async def test_publishing_tells_how_many_and_nothing_of_what(served: Gateway) -> None:
    with told() as lines:
        await served.publish({"event": "very.secret", "scope": "user:42", "data": "hidden"}, {})
    (line,) = named(lines, "published")
    assert (line["events"], line["duplicates"], line["logger"]) == (2, 0, "gapless.publish")
    assert not any(word in repr(lines) for word in ("very.secret", "user:42", "hidden"))


async def test_nothing_of_single_clients_is_told_at_the_usual_level(served: Gateway) -> None:
    with told(logging.INFO) as lines:
        async with served.stream(served.bearer()) as stream:
            await stream.envelope("connection.established")
        await served.http.get(f"{EVENTS}/poll", headers=served.bearer())
    assert not named(lines, "connection opened") + named(lines, "connection closed")


async def test_refused_credentials_and_access_are_told_with_their_reason(served: Gateway) -> None:
    secret = "eyJhbGciOiJIUzI1NiJ9.secret-body.secret-end"
    with told(logging.INFO) as lines:
        await served.http.get(f"{EVENTS}/poll", headers={"Authorization": f"Bearer {secret}"})
        await served.http.get(f"{EVENTS}/history?ticket={secret}")
        await served.http.get(f"{EVENTS}/poll?scopes=user:whose-name-is-no-matter", headers=served.bearer())
        await served.http.post(EVENTS, json={}, headers=served.bearer())
        await served.http.get(f"{EVENTS}/poll")
    refused = [line for line in lines if line.get("logger") == "gapless.security"]
    assert [(line["event"], line["route"]) for line in refused] == [
        ("credential refused", "polling"),
        ("credential refused", f"{EVENTS}/history"),
        ("access refused", "polling"),
        ("access refused", EVENTS),
    ]
    assert all(line["reason"] for line in refused[:2])
    assert [line["code"] for line in refused[2:]] == ["scope-not-held", "role-not-held"]
    assert not any(word in repr(lines) for word in ("secret-body", "secret-end", "whose-name"))
