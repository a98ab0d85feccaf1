"""Publishing over HTTP, until it is in the log.

Rule: a `503` or a lost connection means "perhaps in the log" (PROTOCOL §4, Publish). So the very
same events are sent again, with the same idempotency keys, until the answer is `201`: whatever
happens in between, each is in the log once, and in order.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final, Self

import httpx2
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.demo.producer import Event

PATH: Final = "/api/v1/events"
FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 5.0

_TIMEOUT_S: Final = 10.0
_CREATED: Final = 201
_UNAUTHORIZED: Final = 401
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_SERVER_ERROR: Final = 500

_log = structlog.get_logger(__name__)


class PublishRefused(Exception):
    """The service will not take these events, now or later: the answer's status says why."""

    def __init__(self, status: int, detail: str) -> None:
        """Keep the status, and what the service said."""
        super().__init__(f"the service refused the events with {status}: {detail}")
        self.status = status


class Outbox:
    """Events on their way to one service; used as an asynchronous context."""

    def __init__(self, base_url: str, token: Callable[[], str]) -> None:
        """`token` gives a JWT of role `publisher`, a new one when the last was refused."""
        self._token = token
        self._bearer = token()
        self._renewed = False
        # Proxies from the environment are for the world outside, not for the service next door.
        self._client = httpx2.AsyncClient(base_url=base_url, timeout=_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        """Open nothing yet: the first request does."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def publish(self, events: list[Event]) -> None:
        """Return once `events` are in the log.

        Raises:
            PublishRefused: an answer that trying again can't change.
        """
        attempt = 0
        while (wait := await self._attempt(events, attempt)) is not None:
            attempt += 1
            await asyncio.sleep(wait)
        if attempt:
            _log.info("publish-resumed", attempts=attempt + 1)

    async def _attempt(self, events: list[Event], attempt: int) -> float | None:
        """Send once; return None when done, or the seconds to wait before the next time."""
        try:
            response = await self._send(events)
        except httpx2.TransportError as error:
            return _wait(attempt, type(error).__name__)
        if response.status_code == _CREATED:
            self._renewed = False
            return None
        if response.status_code == _UNAUTHORIZED and not self._renewed:
            self._bearer, self._renewed = self._token(), True
            return 0.0
        if response.status_code in _TRY_AGAIN or response.status_code >= _SERVER_ERROR:
            return max(_wait(attempt, response.status_code), _retry_after(response))
        raise PublishRefused(response.status_code, response.text[:500])

    async def _send(self, events: list[Event]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self._bearer}"}
        return await self._client.post(PATH, json={"events": events}, headers=headers)


def _wait(attempt: int, reason: object) -> float:
    """Return the jittered wait, in seconds, after the `attempt`th failure in a row."""
    if attempt == 0:  # one line for an outage, not one for every try
        _log.warning("publish-interrupted", reason=reason)
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempt, 10))
    return longest * random.uniform(0.5, 1.0)


def _retry_after(response: httpx2.Response) -> float:
    """Return `Retry-After` in seconds, within reason; 0 when absent or a date (RFC 9110 §10.2.3)."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), LONGEST_WAIT_S) if value.isdecimal() else 0.0
