"""A client of the channel: follows it on any of the three transports, at one cursor, through whatever happens.

Rules: an event is handed on, then the cursor moves behind it; every request starts at the cursor; whatever fails is
tried again, there. What ends it is a refusal that the service would repeat, or its word to stop.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from realtime.cli.carriers import CARRIERS, Envelope
from realtime.cli.console import Failure
from realtime.cli.interrupts import held_back
from realtime.cli.remote import UNAUTHORIZED, Backoff, Refused, Trouble, decoded
from realtime.cli.session import Session, negotiate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx2

TRANSPORTS: Final = tuple(CARRIERS)
EARLIEST: Final = "earliest"

_NOT_OFFERED: Final = 409


class Notice(msgspec.Struct):
    """The data of a control event, as far as it is heeded."""

    cursor: str | None = None
    requested: str | None = None
    floor: str | None = None
    within_ms: int = 0
    code: str = ""


@dataclass(slots=True)
class Follow:
    """A position in the channel, and what moves it."""

    http: httpx2.Client
    token: Callable[[], str]
    deliver: Callable[[bytes], None]
    """Takes each event: its envelope, one line of JSON."""
    tell: Callable[[str], None]
    """Takes what a person should know."""
    transports: Sequence[str] = TRANSPORTS
    narrowing: dict[str, str] = field(default_factory=dict)
    """The parameters `events` and `scopes`, where they are given."""
    cursor: str | None = None
    """Where the next request starts; ``earliest`` for all history, `None` for the end of the log."""
    _session: Session | None = field(init=False, default=None)
    _backoff: Backoff = field(init=False, default_factory=Backoff)
    _pause_s: float = field(init=False, default=0)
    _is_away: bool = field(init=False, default=False)
    _carrier: str = field(init=False, default="")

    def run(self) -> NoReturn:
        """Follow until interrupted.

        Raises:
            Refused: the service won't have this client, or what it asks for.
            Failure: the service told it to stop.
        """
        while True:
            try:
                session = self._ready()
                wait_s = CARRIERS[session.offer.name](self, session)
            except Trouble as trouble:
                wait_s = self._lost(trouble)
            except Refused as refused:
                wait_s = self._renegotiate(refused)
            time.sleep(max(wait_s, self._pause_s))
            self._pause_s = 0

    def _ready(self) -> Session:
        if self._session is None or not self._session.is_fresh:
            known = None if self.cursor == EARLIEST else self.cursor
            self._session = None
            self._session = negotiate(self.http, self.token(), self.transports, known)
            self.cursor = self.cursor or self._session.cursor
            if self._carrier != self._session.offer.name:
                self._carrier = self._session.offer.name
                self.tell(f"following on {self._carrier} from {self.cursor}")
        return self._session

    def _lost(self, trouble: Trouble) -> float:
        if not self._is_away:
            self.tell(f"{self.http.base_url}: {trouble}; trying again at {self.cursor or 'the end of the log'}")
        self._is_away = True
        return max(self._backoff.next(), trouble.retry_after_s)

    def _renegotiate(self, refused: Refused) -> float:
        """Fetch another ticket or decision when it is that that was refused."""
        if self._session is None or refused.status not in {UNAUTHORIZED, _NOT_OFFERED}:
            raise refused
        self._session = None
        return self._backoff.next()

    # What carriers call

    def parameters(self, session: Session) -> dict[str, str]:
        """Return the query of a request that attaches here and now."""
        position = {} if self.cursor is None else {"cursor": self.cursor}
        return {**self.narrowing, **position, "ticket": session.ticket}

    def heard(self) -> None:
        """Know that the line works."""
        if self._is_away:
            self.tell("connected again")
        self._is_away = False
        self._backoff.reset()

    def take(self, raw: bytes) -> None:
        """Hand an event on and move behind it, or obey a control event."""
        envelope = decoded(raw, Envelope)
        if envelope.id is None:
            self.obey(envelope)
        else:
            with held_back():  # between the two, the cursor told at the end would repeat the event
                self.deliver(raw)
                self.cursor = envelope.id

    def leaves(self, session: Session) -> bool:
        """Tell whether a control event ended a session."""
        return self._session is not session

    def truncated(self, control: Envelope) -> bool:
        """Obey a control event that tells of lost history; tell whether it was one."""
        if control.event != "history.truncated":
            return False
        self.obey(control)
        return True

    def obey(self, control: Envelope) -> None:
        """Do what a control event asks of a client (PROTOCOL §2)."""
        notice = decoded(control.data, Notice)
        match control.event:
            case "connection.established" | "heartbeat.sent":
                self.cursor = notice.cursor or self.cursor
            case "history.truncated":
                self._truncate(notice)
            case "transport.changed" | "gateway.drain-started" | "ticket.expired":
                self._leave(notice)
            case "connection.replaced" | "connection.closed":
                raise Failure(f"the service ended this connection: {notice.code or 'without a reason'}")

    # What they ask for

    def _truncate(self, notice: Notice) -> None:
        self.tell(
            f"history.truncated: what followed {notice.requested} is partly gone (history begins at {notice.floor}); "
            f"going on from {notice.cursor}"
        )
        self.cursor = notice.cursor

    def _leave(self, notice: Notice) -> None:
        """Come back within the time that is given, at a random moment: others do so too."""
        self._session = None
        self._pause_s = random.uniform(0, notice.within_ms / 1000)
