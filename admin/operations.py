"""The rows of the admin API in the reference (`realtime.openapi`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from admin import bodies, told
from admin.api import ADMIN
from realtime.errors import (
    BodyTooLarge,
    InvalidField,
    LogUnavailable,
    MalformedBody,
    MalformedParameter,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RoleNotHeld,
)
from realtime.openapi.operation import (
    BEARER,
    NO_STORE,
    REFUSED,
    Answer,
    Body,
    Operation,
    Parameter,
    header,
    query,
    segment,
)
from realtime.openapi.samples import DECISION, ID, PROPOSAL, SESSION, TIME

if TYPE_CHECKING:
    from realtime.errors import GaplessError

_ERRORS: Final = (MalformedParameter, *REFUSED, RoleNotHeld)
_SENT: Final = (MalformedBody, BodyTooLarge, InvalidField)
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer", "minimum": 0}
_TAG: Final = {**NO_STORE, "ETag": "The revision, in double quotes"}

_POLICY: Final = {"preference": ["sse", "long-poll", "polling"], "transports": {"sse": {"enabled": True}}}
_REASON: Final = "maintenance of the proxies"
_HEAD: Final = {"revision": 17, "updated_by": "ada", "updated_at": TIME, "reason": _REASON, "policy": _POLICY}
_IN_FORCE: Final = Answer(200, "The policy in force.", told.PolicyInForce, {**_HEAD, "stale": False}, headers=_TAG)
_CHANGE: Final = {"path": "transports.sse.enabled", "before": False, "after": True}
_REVISION: Final = {**_HEAD, "changes": [_CHANGE], "dropped": []}
_REVOCATION: Final = {"sub": "42", "until": None, "reason": "left", "revoked_by": "ada", "revoked_at": TIME}
_CONNECTION: Final = {
    "session": SESSION,
    "sub": "42",
    "channel": "main",
    "roles": [],
    "transport": "sse",
    "first": "sse",
    "cursor": ID,
    "client": {"platform": "ios"},
    "supported": ["sse", "polling"],
    "failed": [],
    "gateway": "web-1-3f9a2c",
    "worker": 1,
    "state": "live",
    "connected_ms": 5120,
    "behind_ms": 0,
}
_WORKER: Final = {
    "worker": 1,
    "revision": 17,
    "ready": True,
    "draining": False,
    "connections": {"sse": 120},
    "deliveries": {"sse": 4711},
    "latency_ms": {"sse": {"p50": 1, "p95": 3, "max": 9}},
    "lag_ms": 0,
}
_GATEWAY: Final = {
    "id": "web-1-3f9a2c",
    "version": "0.1.0",
    "started_at": TIME,
    "ready": True,
    "draining": False,
    "connections": {"sse": 120},
    "workers": [_WORKER],
}

_IF_MATCH: Final = header("If-Match", "The `ETag` of the policy that is changed, or `*`.", _TEXT, '"17"')
_TRANSPORT: Final = segment("name", "The transport's name.", _TEXT, "sse")
_ROLLOUT: Final = segment("name", "The rollout's name.", _TEXT, "sse-on-android")
_REVISION_NUMBER: Final = segment("number", "The revision's number.", _NUMBER, 17)
_SESSION: Final = segment("session", "The session.", _TEXT, SESSION)
_GATEWAY_NAME: Final = segment("name", "The gateway's id.", _TEXT, "web-1-3f9a2c")
_KIND: Final = segment("kind", "What is revoked.", {"type": "string", "enum": ["sub", "jti"]}, "sub")
_REVOKED: Final = segment("name", "The subject, or the token's id.", _TEXT, "42")


def _reads(
    path: str,
    name: str,
    summary: str,
    answer: Answer,
    *parameters: Parameter,
    errors: tuple[type[GaplessError], ...] = (),
) -> Operation:
    """Describe a question; one about something by its name may find nothing."""
    missing = (NotFound,) if "{" in path else ()
    return Operation(
        "GET",
        ADMIN + path,
        name,
        "admin",
        summary,
        (answer,),
        (*_ERRORS, *missing, *errors),
        "For `admin` and `viewer`.",
        BEARER,
        parameters,
    )


def _asks(path: str, name: str, summary: str, answer: Answer, body: Body, *errors: type[GaplessError]) -> Operation:
    """Describe a question that is sent as a body."""
    return Operation(
        "POST",
        ADMIN + path,
        name,
        "admin",
        summary,
        (answer,),
        (*_ERRORS, *_SENT, *errors),
        "For `admin` and `viewer`.",
        BEARER,
        body=body,
    )


def _changes(  # noqa: PLR0913 - a row of the table
    method: Literal["POST", "PUT", "PATCH", "DELETE"],
    path: str,
    name: str,
    summary: str,
    answer: Answer,
    *parameters: Parameter,
    body: Body | None = None,
    errors: tuple[type[GaplessError], ...] = (),
) -> Operation:
    """Describe a change."""
    missing = (NotFound,) if "{" in path else ()
    sent = () if body is None else _SENT
    return Operation(
        method,
        ADMIN + path,
        name,
        "admin",
        summary,
        (answer,),
        (*_ERRORS, *sent, *missing, *errors, LogUnavailable),
        "For `admin`. After a `503` it is perhaps done.",
        BEARER,
        parameters,
        body,
    )


OPERATIONS: Final = (
    _reads("/policy", "policy", "The policy in force", _IN_FORCE),
    _changes(
        "PUT",
        "/policy",
        "put_policy",
        "Replace the policy that was read",
        _IN_FORCE,
        _IF_MATCH,
        body=Body((bodies.PolicyBody,), {"policy": {"policy": _POLICY, "reason": _REASON}}),
        errors=(PreconditionFailed, PreconditionRequired),
    ),
    _changes(
        "PATCH",
        "/transports/{name}",
        "switch",
        "Switch a transport on or off",
        _IN_FORCE,
        _TRANSPORT,
        _IF_MATCH,
        body=Body((bodies.SwitchBody,), {"off": {"enabled": False, "reason": _REASON}}),
        errors=(PreconditionFailed,),
    ),
    _changes(
        "PATCH",
        "/rollouts/{name}",
        "ramp",
        "Give a rollout's arms other weights",
        _IN_FORCE,
        _ROLLOUT,
        _IF_MATCH,
        body=Body((bodies.WeightsBody,), {"a fifth": {"weights": {"sse": 20, "control": 80}, "reason": _REASON}}),
        errors=(PreconditionFailed,),
    ),
    _reads(
        "/policy/revisions",
        "revisions",
        "The changes of the policy, newest first",
        Answer(200, "A page of them.", told.RevisionList, {"revisions": [_REVISION]}, headers=NO_STORE),
        query("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, 50),
        query("before", "Those below this number, to page on.", {**_NUMBER, "maximum": 2**53}, 17),
        errors=(LogUnavailable,),
    ),
    _reads(
        "/policy/revisions/{number}",
        "revision",
        "One change of the policy",
        Answer(200, "The change.", told.RevisionMade, _REVISION, headers=NO_STORE),
        _REVISION_NUMBER,
        errors=(LogUnavailable,),
    ),
    _changes(
        "POST",
        "/policy/revisions/{number}/restore",
        "restore",
        "Put an earlier revision in force again, as a new one",
        _IN_FORCE,
        _REVISION_NUMBER,
        _IF_MATCH,
        body=Body((bodies.ReasonBody,), {"reason": {"reason": _REASON}}, required=False),
        errors=(PreconditionFailed,),
    ),
    _asks(
        "/policy/preview",
        "preview",
        "Whom a policy would move",
        Answer(
            200,
            "How many clients, and from what to what.",
            told.Previewed,
            {"connections": 9120, "moved": 412, "moves": {"sse": {"long-poll": 412}}, "unanswered": 0},
            headers=NO_STORE,
        ),
        Body((bodies.PreviewBody,), {"policy": {"policy": _POLICY}}),
        LogUnavailable,
    ),
    _asks(
        "/explain",
        "explain",
        "What a client gets, and why",
        Answer(
            200,
            "The decision and its steps.",
            told.Explained,
            {"decision": DECISION, "steps": [{"step": "preference", "reason": "the policy's own"}]},
            headers=NO_STORE,
        ),
        Body((bodies.ExplainBody,), {"a client": {**PROPOSAL, "sub": "42"}}, required=False),
    ),
    _reads(
        "/connections",
        "connections",
        "Who is connected",
        Answer(200, "On all gateways.", told.ConnectionList, {"connections": [_CONNECTION]}, headers=NO_STORE),
        query("sub", "Only this subject's.", _TEXT, "42"),
        query("session", "Only this session's.", _TEXT, SESSION),
        errors=(LogUnavailable,),
    ),
    _changes(
        "DELETE",
        "/connections/{session}",
        "dismiss",
        "Disconnect a session for good",
        Answer(200, "It is told to stop.", told.Dismissed, {"session": SESSION, "closed": 1}, headers=NO_STORE),
        _SESSION,
    ),
    _reads(
        "/revocations",
        "revocations",
        "Who is refused",
        Answer(200, "The latest first.", told.RevocationList, {"revocations": [_REVOCATION]}, headers=NO_STORE),
    ),
    _changes(
        "POST",
        "/revocations",
        "revoke",
        "Refuse a subject or a token",
        Answer(201, "It is refused.", told.RevocationMade, _REVOCATION, headers=NO_STORE),
        body=Body(
            (bodies.RevocationBody,), {"a subject": {"sub": "42", "until": "2099-12-31T00:00:00Z", "reason": "left"}}
        ),
    ),
    _changes(
        "DELETE",
        "/revocations/{kind}/{name}",
        "lift",
        "Refuse somebody no longer",
        Answer(204, "It is lifted.", headers=NO_STORE),
        _KIND,
        _REVOKED,
    ),
    _reads(
        "/gateways",
        "gateways",
        "The fleet",
        Answer(200, "Each gateway with its workers.", told.GatewayList, {"gateways": [_GATEWAY]}, headers=NO_STORE),
    ),
    _changes(
        "POST",
        "/gateways/{name}/drain",
        "drain",
        "Drain a gateway",
        Answer(202, "It was told.", told.DrainBegun, {"id": "web-1-3f9a2c", "draining": True}, headers=NO_STORE),
        _GATEWAY_NAME,
    ),
)
