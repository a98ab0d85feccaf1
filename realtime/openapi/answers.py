"""What the service answers, as models: nothing is made with them, the tests hold every answer against them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field, RootModel

from realtime.channel import event
from realtime.openapi.schemas import Told

CURSOR: Final = f"^{event.CURSOR}$"
POSITION: Final = f"^(earliest|{event.CURSOR})$"

Cursor = Annotated[str, Field(pattern=CURSOR)]
Position = Annotated[str, Field(pattern=POSITION)]
EventType = Annotated[str, Field(pattern=f"^{event.TYPE}$", max_length=event.TYPE_LENGTH)]
Count = Annotated[int, Field(ge=0)]
Ms = Annotated[int, Field(ge=0)]


class Envelope(Told):
    """One event, the same on every transport."""

    id: Cursor
    time: AwareDatetime
    event: EventType
    scope: str
    version: Count
    key: str = ""
    origin: str = ""
    data: Any


class Control(Told):
    """A control event: what the service says to this client."""

    time: AwareDatetime
    event: EventType
    data: Annotated[dict[str, Any], Field(default={})]


class Events(Told):
    """What a long-poll brings."""

    events: list[Envelope]
    control: list[Control]
    cursor: Cursor
    """Where to go on."""
    more: bool
    """Whether the next call will not wait."""
    ticket: str = ""
    """A new ticket, when the old one is about to run out."""


class Polled(Events):
    """What a poll brings."""

    next_poll_ms: Ms
    """When to come again."""


class Page(Told):
    """A page of history."""

    events: list[Envelope]
    cursor: Cursor
    """With `more` the next `since_id`; without, where a client may attach."""
    more: bool


class Offer(Told):
    """A transport that is offered, with its parameters."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]

    name: str
    url: str
    heartbeat_ms: Ms = 0
    first_byte_timeout_ms: Ms = 0
    hold_ms: Ms = 0
    interval_ms: Ms = 0
    min_interval_ms: Ms = 0


class Decision(Told):
    """What the policy says for one client."""

    revision: Count
    arms: dict[str, str]
    """The arm of each rollout that the client is in."""
    transports: list[Offer]
    """In order: the first one that works is to be used."""


class Fallback(Told):
    """After how long a transport that failed may be tried again."""

    retry_after_ms: Ms


class Retry(Told):
    """How long to wait after a failure: at first, and at most."""

    base_ms: Ms
    max_ms: Ms


class Negotiated(Told):
    """A session, a position, and the transports to use."""

    session: str
    ticket: str
    ticket_expires_in_ms: Ms
    cursor: Position
    server_time: AwareDatetime
    decision: Decision
    fallback: Fallback
    retry: Retry


class TicketGiven(Told):
    """A ticket; when it was asked for as a cookie, only how long it lasts."""

    ticket: str = ""
    expires_in_ms: Ms


class Published(Told):
    """One event that is in the log."""

    id: Cursor
    duplicate: bool
    """Whether it was there before, under the same idempotency key."""


class PublishedEvents(Told):
    """The ids, in the order of what was sent."""

    events: list[Published]


class Status(Told):
    """That all is well."""

    status: str


class Description(Told):
    """An OpenAPI document."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]


class RedisHealth(Told):
    """How the log's home answers."""

    reachable: bool
    round_trip_ms: float = 0
    version: str = ""
    reason: str = ""


class Connected(Told):
    """How many clients are connected, by transport."""

    gateway: dict[str, Count]
    fleet: dict[str, Count]


class FollowerHealth(Told):
    """How far the log is followed."""

    lag_ms: Ms
    position: Cursor
    away: bool
    eviction: str


class WindowHealth(Told):
    """What is held in memory."""

    events: Count
    bytes: Count
    base: Cursor


class PolicyHealth(Told):
    """Which policy is in force."""

    revision: Count
    stale: bool
    unread: Count


class TaskHealth(Told):
    """The long-lived tasks of the worker that answers: which keep ending, and how often each was started again."""

    failing: list[str]
    restarts: dict[str, Count]


class HealthDetails(Told):
    """What viewers and admins are told beside the word."""

    status: Literal["ok", "degraded"]
    gateway: str
    worker: Count
    ready: bool
    draining: bool
    connections: Connected
    workers: dict[str, dict[str, Count]]
    tasks: TaskHealth
    lost_log_lines: Count
    gateways: Count
    follower: FollowerHealth
    window: WindowHealth
    policy: PolicyHealth
    redis: RedisHealth


class HealthWord(Told):
    """What everybody is told."""

    status: Literal["ok", "degraded"]


class Health(RootModel[HealthDetails | HealthWord]):
    """How this gateway is: for everybody in a word, for viewers and admins in full."""
