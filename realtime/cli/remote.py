"""The service as its clients see it: what is worth trying again, and what isn't."""

from __future__ import annotations

import logging
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from realtime.cli.console import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = TypeVar("Kind")

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
PRECONDITION_FAILED: Final = 412
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500
_FIRST_ERROR: Final = 400
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_S: Final = 5.0
_LONGEST_DETAIL: Final = 500


class Problem(msgspec.Struct):
    """An answer that is no success, as ``application/problem+json`` tells it (RFC 9457)."""

    detail: str = ""
    code: str = ""
    index: int | None = None


class Trouble(Exception):
    """It didn't work, and may the next time, after `retry_after_s` seconds at the earliest."""

    def __init__(self, reason: str, retry_after_s: float = 0) -> None:
        """Give the reason in words."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """The service said no, and would say it again."""

    def __init__(self, status: int, problem: Problem) -> None:
        """Keep what it said."""
        super().__init__(problem.detail)
        self.status = status
        self.problem = problem


@dataclass(slots=True)
class Backoff:
    """Jittered waits that double up to a longest one."""

    first_s: float = 0.25
    longest_s: float = 10.0
    _tries: int = field(init=False, default=0)

    def next(self) -> float:
        """Return the next wait, in seconds."""
        longest = min(self.longest_s, self.first_s * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return longest * random.uniform(0.5, 1)

    def reset(self) -> None:
        """Begin again with the first."""
        self._tries = 0


def client(url: str) -> httpx2.Client:
    """Make a client of the service at `url`; proxies from the environment are for other machines than this."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of each request, and URLs carry tickets
    trust_env = urlsplit(url).hostname not in _LOOPBACK
    return httpx2.Client(base_url=url, timeout=httpx2.Timeout(10.0, connect=_CONNECT_S), trust_env=trust_env)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what goes wrong on the way into `Trouble`."""
    try:
        yield
    except httpx2.TransportError as error:
        raise Trouble(str(error) or type(error).__name__) from error


def check(response: httpx2.Response) -> None:
    """Return when an answer is a success.

    Raises:
        Trouble: it isn't, and may be the next time.
        Refused: it isn't, and won't be.
    """
    if response.status_code < _FIRST_ERROR:
        return
    problem = _problem(response)
    if response.status_code in _TRY_AGAIN or response.status_code >= _SERVER_ERROR:
        raise Trouble(problem.detail, _retry_after_s(response))
    raise Refused(response.status_code, problem)


def decoded(raw: bytes, kind: type[Kind]) -> Kind:
    """Read what a success brought.

    Raises:
        Trouble: it isn't of this kind: something else answers there, or in between.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Trouble(f"what answers there doesn't seem to be Gapless ({error})") from error


def _problem(response: httpx2.Response) -> Problem:
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = Problem()
    if not problem.detail:
        problem.detail = f"{response.status_code} {response.reason_phrase}: {response.text[:_LONGEST_DETAIL]}"
    return problem


def _retry_after_s(response: httpx2.Response) -> float:
    """Read ``Retry-After``: seconds, or 0 when it is absent or a date (RFC 9110 §10.2.3)."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


@contextmanager
def explained(*, given_token: bool) -> Iterator[None]:
    """Put a refusal in words that tell what to do.

    Raises:
        Failure: instead of `Refused`.
    """
    try:
        yield
    except Refused as refused:
        text = refused.problem.detail
        if refused.status == UNAUTHORIZED and not given_token:
            text += (
                "\nThe token was made with the secret of this configuration: is it the service's own? Run this where "
                "the service was started, give it the same --config, or a --token that the service knows."
            )
        raise Failure(text) from refused
