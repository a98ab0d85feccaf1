"""What the admin API answers, as models: for its description, and for the tests that hold every answer against them."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime

from policies.document import Document
from realtime.openapi.answers import Count, Cursor, Decision, Ms
from realtime.openapi.schemas import Told


class _Made(Told):
    revision: Count
    updated_by: str
    updated_at: AwareDatetime
    reason: str


class _Head(_Made):
    policy: Document


class PolicyInForce(_Head):
    """The policy in force."""

    stale: bool
    """Whether there may be a newer one, for Redis doesn't answer."""


class Difference(Told):
    """One value that a change made different."""

    path: str
    before: Any
    after: Any


class ChangeDropped(_Made):
    """A change that was dropped: the server it was made on was lost, and another was made on the one that stayed."""

    changes: list[Difference]


class RevisionMade(_Head):
    """One change of the policy."""

    changes: list[Difference]
    dropped: list[ChangeDropped]
    """Changes that this revision tells to be dropped."""


class RevisionList(Told):
    """The changes, newest first."""

    revisions: list[RevisionMade]


class Previewed(Told):
    """Whom a policy would move."""

    connections: Count
    moved: Count
    moves: dict[str, dict[str, Count]]
    """How many, by the transport that they are on, and the one that they would be on."""
    unanswered: Count
    """Workers that didn't answer in time, whose clients are not counted."""


class Step(Told):
    """One step of a decision."""

    step: str
    reason: str


class Explained(Told):
    """A decision, and each step that led to it."""

    decision: Decision
    steps: list[Step]


class ClientTold(Told):
    """What a client said of itself."""

    client_id: str = ""
    platform: str = ""
    app_version: str = ""
    network: str = ""
    state: str = ""
    sdk: str = ""


class Connection(Told):
    """A client that is connected, or polls."""

    session: str
    sub: str | None
    channel: str
    roles: list[str]
    transport: str
    first: str
    """The transport that it is to use first."""
    cursor: Cursor | None
    client: ClientTold
    supported: list[str]
    failed: list[str]
    gateway: str
    worker: Count
    state: str
    behind_ms: Ms
    connected_ms: Ms = 0
    """Of one whose answer is open."""
    seen_ms: Ms = 0
    """Of one that polls: how long ago it came."""


class ConnectionList(Told):
    """Who is connected, 500 of each worker at most."""

    connections: list[Connection]


class Dismissed(Told):
    """A session that was disconnected."""

    session: str
    closed: Count
    """How many connections it had."""


class RevocationMade(Told):
    """Who is refused: a subject, or a token by its id."""

    sub: str = ""
    jti: str = ""
    until: AwareDatetime | None
    reason: str
    revoked_by: str
    revoked_at: AwareDatetime


class RevocationList(Told):
    """Who is refused, the latest first."""

    revocations: list[RevocationMade]


class Latency(Told):
    """From the append to the write, of the last second, in milliseconds."""

    p50: Ms
    p95: Ms
    max: Ms


class Worker(Told):
    """One process of a gateway."""

    worker: Count
    revision: Count
    ready: bool
    draining: bool
    connections: dict[str, Count]
    deliveries: dict[str, Count]
    latency_ms: dict[str, Latency]
    lag_ms: Ms


class GatewayTold(Told):
    """One gateway: its workers together."""

    id: str
    version: str
    started_at: AwareDatetime
    ready: bool
    draining: bool
    connections: dict[str, Count]
    workers: list[Worker]


class GatewayList(Told):
    """The fleet."""

    gateways: list[GatewayTold]


class DrainBegun(Told):
    """A gateway that was told to drain."""

    id: str
    draining: bool
