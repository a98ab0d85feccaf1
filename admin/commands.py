"""The acts on clients and gateways: disconnect, revoke, and lift; drain."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from admin.acts import Question, counted, field, total
from realtime.channel.event import check_name
from realtime.errors import InvalidField, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin.acts import Form, Reading
    from admin.desk import Desk, Operator

_HOUR_MS: Final = 3_600_000
TERMS: Final[Mapping[str, int | None]] = {"an hour": _HOUR_MS, "a day": 24 * _HOUR_MS, "good": None}
"""For how long somebody can be refused."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Send a gateway's clients elsewhere, and take nobody new."""

    gateway: str

    @classmethod
    def read(cls, form: Form) -> Drain:
        """Read it from a form."""
        return cls(field(form, "gateway"))

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "drain", "gateway": self.gateway}

    async def ask(self, desk: Desk, expected: int | None) -> Question:  # noqa: ARG002 - every act takes these
        """Tell whom it sends away."""
        gateways = {one.id: one for one in desk.gateways()}
        if self.gateway not in gateways:
            raise NotFound(f"there is no gateway {self.gateway!r} any more")
        leaving = counted(total(gateways[self.gateway].connections), "connection")
        others = sum(1 for one in gateways.values() if one.is_ready and one.id != self.gateway)
        left = f"{counted(others, 'other gateway')} can take them." if others else ""
        warning = "" if others else "No other gateway is ready: they will have nowhere to go until one is."
        summary = f"Sends away {leaving}. {left} It takes nobody again until it is started anew."
        return Question(f"Drain {self.gateway}", "Drain", summary, warning=warning, wants_reason=False, is_grave=True)

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:  # noqa: ARG002 - every act takes these
        """Drain it."""
        await desk.drain(self.gateway, operator)
        return f"{self.gateway} drains"


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Disconnect a session."""

    session: str

    @classmethod
    def read(cls, form: Form) -> Dismiss:
        """Read it from a form."""
        return cls(field(form, "session"))

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "dismiss", "session": self.session}

    async def ask(self, desk: Desk, expected: int | None) -> Question:  # noqa: ARG002 - every act takes these
        """Tell whose session it is."""
        found = await desk.connections(session=self.session)
        if not found:
            raise NotFound("this client is not connected any more")
        who = found[0]["sub"] or "an anonymous client"
        summary = f"Ends what {who} has open on {found[0]['transport']}, and tells it not to come back by itself."
        return Question("Disconnect this client", "Disconnect", summary, wants_reason=False, is_grave=True)

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:  # noqa: ARG002 - every act takes these
        """End it."""
        return f"Disconnected: {counted(await desk.dismiss(self.session, operator), 'connection')}"


@dataclass(frozen=True, slots=True)
class Revoke:
    """Refuse a subject from now on."""

    sub: str
    term: str = "good"

    @classmethod
    def read(cls, form: Form) -> Revoke:
        """Read it from a form."""
        sub, term = field(form, "sub"), form.get("term", "good")
        try:
            check_name(sub)
        except ValueError as error:
            raise InvalidField(f"sub: {error}", field="sub") from error
        if term not in TERMS:
            raise InvalidField(f"term: one of {', '.join(TERMS)} is expected", field="term")
        return cls(sub, term)

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "revoke", "sub": self.sub, "term": self.term}

    async def ask(self, desk: Desk, expected: int | None) -> Question:  # noqa: ARG002 - every act takes these
        """Tell what ends."""
        found = len(await desk.connections(sub=self.sub))
        summary = f"Refuses {self.sub} for {self.term}, and ends {counted(found, 'connection')} now."
        return Question(f"Revoke {self.sub}", "Revoke", summary, is_grave=True)

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:  # noqa: ARG002 - every act takes these
        """Refuse them."""
        lasts_ms = TERMS[self.term]
        until = None if lasts_ms is None else time.time_ns() // 1_000_000 + lasts_ms
        await desk.revoke("sub", self.sub, operator, reason, until)
        return f"{self.sub} is refused for {self.term}"


@dataclass(frozen=True, slots=True)
class Lift:
    """Refuse somebody no longer."""

    of: Literal["sub", "jti"]
    name: str

    @classmethod
    def read(cls, form: Form) -> Lift:
        """Read it from a form."""
        return cls("jti" if form.get("of") == "jti" else "sub", field(form, "name"))

    @property
    def fields(self) -> Mapping[str, str]:
        """What the form of the dialog repeats."""
        return {"act": "lift", "of": self.of, "name": self.name}

    async def ask(self, desk: Desk, expected: int | None) -> Question:  # noqa: ARG002 - every act takes these
        """Tell what it is."""
        what = "The subject" if self.of == "sub" else "The token"
        return Question(f"Lift the revocation of {self.name}", "Lift", f"{what} may come back.", wants_reason=False)

    async def do(self, desk: Desk, operator: Operator, reason: str, expected: int | None) -> str:  # noqa: ARG002 - every act takes these
        """Lift it."""
        await desk.lift(self.of, self.name, operator)
        return f"{self.name} may come back"


COMMANDS: Final[Reading] = {
    "drain": Drain.read,
    "dismiss": Dismiss.read,
    "revoke": Revoke.read,
    "lift": Lift.read,
}
