"""Publishing until it is in the log: each event once, however often it had to be sent (PROTOCOL §4, Publish)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from realtime.cli.console import Failure, note
from realtime.cli.remote import UNAUTHORIZED, Backoff, Refused, Trouble, check, decoded, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx2

_PATH: Final = "/api/v1/events"


class Published(msgspec.Struct, frozen=True):
    """The answer to one event."""

    id: str
    duplicate: bool


class _Answer(msgspec.Struct):
    events: list[Published]


@dataclass(slots=True)
class Outbox:
    """Events on their way to one service."""

    client: httpx2.Client
    token: Callable[[], str]
    retry_for_s: float
    """How long an event is sent again while the service doesn't take it; 0: until it does."""
    _bearer: str = field(init=False, default="")

    def send(self, events: Sequence[bytes]) -> list[Published]:
        """Return once `events`, each JSON with an idempotency key, are in the log: all of them, in this order.

        Raises:
            Refused: the service won't have them; none is in the log.
            Failure: it couldn't be asked in time; they are perhaps in the log.
        """
        body = b'{"events":[' + b",".join(events) + b"]}"
        began, backoff, told = time.monotonic(), Backoff(), False
        while True:
            try:
                return self._send(body)
            except Trouble as trouble:
                if self.retry_for_s and time.monotonic() - began > self.retry_for_s:
                    raise Failure(
                        f"{self.client.base_url}: {trouble}; gave up after {self.retry_for_s:g} s"
                    ) from trouble
                if not told:
                    note(f"{self.client.base_url}: {trouble}; trying again")
                told = True
                time.sleep(max(backoff.next(), trouble.retry_after_s))

    def _send(self, body: bytes) -> list[Published]:
        if self._bearer:
            try:
                return self._post(body)
            except Refused as refused:
                if refused.status != UNAUTHORIZED:
                    raise
        self._bearer = self.token()  # none yet, or the last has expired
        return self._post(body)

    def _post(self, body: bytes) -> list[Published]:
        headers = {"Authorization": f"Bearer {self._bearer}", "Content-Type": "application/json"}
        with translated():
            response = self.client.post(_PATH, content=body, headers=headers)
        check(response)
        return decoded(response.content, _Answer).events
