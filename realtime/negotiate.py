"""Negotiate: a session, a position, and the transports to use, in order (PROTOCOL §4, Negotiate)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from realtime.auth import Content
from realtime.channel.event import parse_cursor, timestamp
from realtime.context import described
from realtime.errors import InvalidField, LogUnavailable, NoCommonTransport, NoTransport
from realtime.metrics import NONE

if TYPE_CHECKING:
    from policies.decide import Context, Decision
    from realtime.auth import Credential, Credentials
    from realtime.channel.follower import Follower
    from realtime.config import Live
    from realtime.metrics import Metrics
    from realtime.offers import Offers

_Short = Annotated[StrictStr, Field(max_length=255)]


class Client(BaseModel):
    """What a client says of itself. Unknown fields are ignored: a newer client may say more."""

    model_config = ConfigDict(frozen=True)

    id: _Short | None = None
    platform: _Short | None = None
    app_version: _Short | None = None
    network: _Short | None = None
    state: _Short | None = None
    sdk: _Short | None = None


Reason = Annotated[
    StrictStr,
    Field(pattern=r"^(timeout|buffered|refused|http-[1-5][0-9]{2}|closed-early|idle|network-changed)$"),
]
"""Why a transport did not work for a client."""


class Failure(BaseModel):
    """A transport that did not work for this client a moment ago."""

    model_config = ConfigDict(frozen=True)

    transport: _Short
    reason: Reason
    count: Annotated[StrictInt, Field(ge=1)] = 1


class Proposal(BaseModel):
    """The body of a negotiation; every field is optional."""

    model_config = ConfigDict(frozen=True)

    transports: Annotated[list[_Short], Field(max_length=64)] | None = None
    cursor: StrictStr | None = None
    client: Client = Client()
    failed: Annotated[list[Failure], Field(max_length=64)] = []


@dataclass(frozen=True, slots=True)
class Negotiator:
    """Answers negotiations."""

    live: Live
    offers: Offers
    credentials: Credentials
    follower: Follower
    metrics: Metrics

    def negotiate(self, credential: Credential, proposal: Proposal, prefix: str) -> dict[str, Any]:
        """Decide for a client and seal what was decided on into a ticket; URLs are under the path prefix.

        Raises:
            InvalidField: the cursor is none.
            NoCommonTransport: the client supports nothing that is installed.
            NoTransport: it supports nothing that is offered at the moment.
        """
        cursor = self._cursor(proposal.cursor)
        supported = self._supported(proposal)
        client = proposal.client.model_dump(exclude_none=True)
        failed = {failure.transport for failure in proposal.failed}
        decision = self._decide(described(credential.identity, client, supported, failed))
        policy = self.offers.policy
        now_ms = time.time_ns() // 1_000_000
        content = Content(
            session=uuid4().hex,
            client=client,
            transports=supported,
            arms=decision.arms,
            failed=dict.fromkeys(failed, now_ms + policy.fallback_retry_after_ms),
            first=decision.first or "",
            revision=policy.revision,
        )
        ticket = self.credentials.seal(credential.identity, content, self.live.settings.auth.ticket_ttl)
        return {
            "session": ticket.session,
            "ticket": ticket.text,
            "ticket_expires_in_ms": ticket.expires_ms - ticket.issued_ms,
            "cursor": cursor,
            "server_time": timestamp(now_ms).decode(),
            "decision": self.offers.wire(decision, prefix),
            "fallback": {"retry_after_ms": policy.fallback_retry_after_ms},
            "retry": {"base_ms": policy.retry_base_ms, "max_ms": policy.retry_max_ms},
        }

    def _decide(self, context: Context) -> Decision:
        try:
            decision = self.offers.decide(context)
        except NoTransport:
            self.metrics.decisions.labels(NONE).inc()
            raise
        self.metrics.decisions.labels(decision.first).inc()
        return decision

    def _cursor(self, given: str | None) -> str:
        if not self.follower.filled:
            message = "this gateway has not read the log yet: try again"
            raise LogUnavailable(message)
        if given is None:
            return str(self.follower.tail)
        if given != "earliest":
            try:
                parse_cursor(given)
            except ValueError as error:
                raise InvalidField(f"cursor: {error}", field="cursor") from error
        return given

    def _supported(self, proposal: Proposal) -> tuple[str, ...]:
        installed = tuple(self.offers.transports)
        if proposal.transports is None:
            return installed
        supported = tuple(name for name in dict.fromkeys(proposal.transports) if name in installed)
        if not supported:
            message = f"none of the client's transports is installed here: there are {', '.join(installed)}"
            raise NoCommonTransport(message, transports=list(installed))
        return supported
