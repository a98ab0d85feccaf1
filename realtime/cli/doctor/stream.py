"""Does a stream arrive as it is sent: the first event at once, and one that is published right after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx2

from realtime.cli.doctor.findings import Finding, ok, problem, warning
from realtime.cli.remote import FORBIDDEN, Refused, Trouble, check, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "stream"
EVENT: Final = "doctor.pinged"

_WAY: Final = "event"
_FIRST: Final = "connection.established"
_PATIENCE_S: Final = 5.0
"""As long as a client of ours waits for the first byte, before it goes to another transport."""
_PROMPT_MS: Final = 1000
_OK: Final = 200
_NOT_OFFERED: Final = 409
_UNBUFFER: Final = (
    "have it pass the body on as it comes: proxy_buffering off for nginx, no compression or caching of "
    "text/event-stream; clients of ours use long-poll meanwhile (docs/troubleshooting.md)"
)


class Visitor(NamedTuple):
    """Who looks at the service from outside."""

    http: httpx2.Client
    sub: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """The credential, as header fields."""
        return {"Authorization": f"Bearer {self.token}"}

    def publish(self) -> None:
        """Publish an event to its subject alone.

        Raises:
            Trouble: the service can't take it at the moment.
            Refused: the token may not publish.
        """
        body = {"event": EVENT, "scope": f"user:{self.sub}", "data": None}
        with translated():
            response = self.http.post("/api/v1/events", json=body, headers=self.headers)
        check(response)


def examine(visitor: Visitor, path: str) -> Iterator[Finding]:
    """Open a stream, publish, and time both arrivals."""
    asked = time.monotonic()
    timeout = httpx2.Timeout(_PATIENCE_S)
    headers = {**visitor.headers, "Accept": "text/event-stream"}
    status: list[int] = []
    try:
        with visitor.http.stream("GET", path, headers=headers, timeout=timeout) as response:
            status.append(response.status_code)
            if response.status_code != _OK:
                response.read()
                yield _refused(response)
                return
            yield from _arrivals(visitor, response, asked)
    except _Late as late:
        yield _held_back(late.name, late.what)
    except httpx2.ReadTimeout:
        yield _held_back(NAME, "nothing" if not status else "no event after the header")
    except httpx2.TransportError as error:
        do = "look at what stands between: it ends streams, or this connection"
        yield problem(NAME, f"the stream broke off ({type(error).__name__})", do)


class _Late(Exception):
    """An event that should have come didn't."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name = name
        self.what = what


def _arrivals(visitor: Visitor, response: httpx2.Response, asked: float) -> Iterator[Finding]:
    lines = response.iter_lines()
    if not _until(lines, _FIRST, asked):
        yield problem(NAME, "the stream ended before its first event", "look at the log of what stands between")
        return
    yield _timed(NAME, "the first event", (time.monotonic() - asked) * 1000)
    published = time.monotonic()
    try:
        visitor.publish()
    except (Trouble, Refused) as error:
        do = "give a --token with the role publisher"
        if isinstance(error, Trouble) or error.status != FORBIDDEN:
            do = "look at the service's log"
        yield warning(_WAY, f"none could be published, and its way be timed: {error}", do)
        return
    try:
        arrived = _until(lines, EVENT, published)
    except httpx2.ReadTimeout:
        raise _Late(_WAY, "the first event, but not the one published after it,") from None
    if not arrived:
        yield problem(_WAY, "the stream ended before the event came", "look at the log of what stands between")
        return
    yield _timed(_WAY, "an event", (time.monotonic() - published) * 1000)


def _until(lines: Iterator[str], event: str, since: float) -> bool:
    """Read up to an event; return whether it came before the stream ended.

    Raises:
        _Late: it doesn't come, though heartbeats do.
    """
    for line in lines:
        if line.startswith("event:") and line.removeprefix("event:").strip() == event:
            return True
        if time.monotonic() - since > _PATIENCE_S:
            raise _Late(NAME if event == _FIRST else _WAY, f"something, but not {event},")
    return False


def _timed(name: str, what: str, ms: float) -> Finding:
    if ms > _PROMPT_MS:
        return warning(name, f"{what} took {ms:.0f} ms: a slow line, or a proxy that buffers for a while", _UNBUFFER)
    return ok(name, f"{what} arrived after {ms:.0f} ms")


def _held_back(name: str, what: str) -> Finding:
    told = f"{what} arrived within {_PATIENCE_S:g} s: a proxy buffers the stream instead of passing it on"
    return problem(name, told, _UNBUFFER)


def _refused(response: httpx2.Response) -> Finding:
    if response.status_code == _NOT_OFFERED:
        return warning(NAME, "the policy doesn't offer it", "gapless policy explain tells why")
    try:
        check(response)
    except (Trouble, Refused) as error:
        return problem(NAME, str(error), "look at who answers there: the service, or something before it")
    return problem(NAME, f"the answer is {response.status_code}", "look at who answers there")
