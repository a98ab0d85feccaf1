"""Every error Gapless answers with, in one tree, each knowing its own status and code.

An error is a *problem* in the sense of RFC 9457: it is raised anywhere, and turned into an
`application/problem+json` answer in one place. Nothing here knows of HTTP frameworks.

    GaplessError
    ├── StartError                   500 start-failed             (never an answer: nothing starts)
    │   ├── ConfigError                  config-invalid
    │   └── EmbeddedError                embedded-failed
    ├── InternalError                500 internal-error
    ├── Malformed                    400
    │   ├── MalformedRequest             malformed-request
    │   ├── MalformedParameter           malformed-parameter
    │   └── MalformedBody                malformed-body
    ├── Unauthenticated              401                          WWW-Authenticate
    │   ├── BadCredential                bad-credential
    │   └── CredentialRequired           credential-required
    ├── Forbidden                    403
    │   ├── RoleNotHeld                  role-not-held
    │   └── ScopeNotHeld                 scope-not-held
    ├── NotFound                     404 not-found
    ├── MethodNotAllowed             405 method-not-allowed       Allow (given by the raiser)
    ├── NoCommonTransport            406 no-common-transport      transports
    ├── RequestTimeout               408 request-timeout          Connection: close
    ├── Conflict                     409
    │   ├── TransportNotOffered          transport-not-offered    decision
    │   └── IdempotencyConflict          idempotency-conflict     index
    ├── HistoryTruncated             410 history-truncated        floor
    ├── PreconditionFailed           412 precondition-failed      revision
    ├── TooLarge                     413
    │   ├── BodyTooLarge                 body-too-large
    │   └── EventTooLarge                event-too-large          index
    ├── TargetTooLong                414 target-too-long
    ├── InvalidField                 422 invalid-field            field, index
    ├── PreconditionRequired         428 precondition-required
    ├── HeadTooLarge                 431 head-too-large           Connection: close
    ├── TooMany                      429                          Retry-After
    │   ├── ConnectionLimit              connection-limit
    │   └── RateLimited                  rate-limited
    └── Unavailable                  503                          Retry-After
        ├── LogUnavailable               log-unavailable
        ├── KeysUnavailable              keys-unavailable
        ├── NotReady                     not-ready
        ├── NoTransport                  no-transport
        ├── AtCapacity                   at-capacity
        └── Draining                     draining

Rules: `title` is fixed per class, `detail` says what was wrong and what to do, and neither ever
holds a token, a ticket, or an event's data. A code, once published, keeps its meaning.
"""

from __future__ import annotations

import json
from random import randint
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from realtime.escapes import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_TYPE_PREFIX: Final = "urn:gapless:problem:"

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_CHALLENGE: Final[Mapping[str, str]] = MappingProxyType({"WWW-Authenticate": "Bearer"})
_RETRY_SOON: Final[Mapping[str, str]] = MappingProxyType({"Retry-After": "1"})

_RETRY_WITHIN: Final = (1, 5)
"""Seconds: the least and the most that a client is asked to stay away while we can't serve."""

_OWN_MEMBERS: Final = frozenset({"type", "title", "status", "detail", "code"})


class GaplessError(Exception):
    """The root: a problem with a status, a stable code, a fixed title and a detail."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong inside the service."
    default_headers: ClassVar[Mapping[str, str]] = _NO_HEADERS

    def __init__(self, detail: str, *, headers: Mapping[str, str] = _NO_HEADERS, **fields: object) -> None:
        """Describe one occurrence.

        `headers` are added to the class's own and replace those of the same name, whatever their
        case. `fields` become extension members of the problem (RFC 9457 §3.2); one that is `None`
        is left out.

        Raises:
            TypeError: a field would overwrite a member that the class itself fixes.
        """
        taken = _OWN_MEMBERS & fields.keys()
        if taken:
            message = f"a problem's own members can't be fields: {', '.join(sorted(taken))}"
            raise TypeError(message)
        super().__init__(detail)
        self.detail = detail
        self.headers: Mapping[str, str] = _merged(self.default_headers, headers)
        self.fields: Mapping[str, object] = {k: v for k, v in fields.items() if v is not None}

    def problem(self) -> dict[str, object]:
        """Return the problem object of RFC 9457 §3, with `code` and the fields as extensions."""
        return {
            "type": PROBLEM_TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.fields,
        }

    def body(self) -> bytes:
        """Return the problem as compact JSON.

        A detail may quote what a client sent: a lone surrogate in it stays an escape, and does not turn a 400 into a
        500 while it is being encoded.
        """
        text = json.dumps(self.problem(), ensure_ascii=False, separators=(",", ":"))
        return escaped(text.encode("utf-8", "backslashreplace"))


def _merged(defaults: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in given}
    kept = {name: value for name, value in defaults.items() if name.lower() not in replaced}
    return {**kept, **given}


class StartError(GaplessError):
    """The service can't start; the detail is for the operator who started it."""

    code = "start-failed"
    title = "The service can't start."


class ConfigError(StartError):
    """The configuration can't be used."""

    code = "config-invalid"
    title = "The configuration can't be used."


class EmbeddedError(StartError):
    """The private Valkey can't be started."""

    code = "embedded-failed"
    title = "The private Valkey can't be started."


class InternalError(GaplessError):
    """A fault of ours, of which the client learns nothing more."""


class Malformed(GaplessError):
    """The request can't be read."""

    status = 400


class MalformedRequest(Malformed):
    """It is not HTTP/1.1 (RFC 9112 §2.2)."""

    code = "malformed-request"
    title = "The request can't be read."


class MalformedParameter(Malformed):
    """A known query parameter or header doesn't follow its grammar."""

    code = "malformed-parameter"
    title = "A parameter of the request is malformed."


class MalformedBody(Malformed):
    """The body isn't JSON, or isn't the kind of JSON value that was asked for."""

    code = "malformed-body"
    title = "The body of the request can't be read."


class Unauthenticated(GaplessError):
    """We don't know who asks; RFC 9110 §15.5.2 wants a challenge."""

    status = 401
    default_headers = _CHALLENGE


class BadCredential(Unauthenticated):
    """A credential is present and isn't good; never taken for an anonymous client."""

    code = "bad-credential"
    title = "The credential isn't valid."


class CredentialRequired(Unauthenticated):
    """No credential came, and anonymous clients may not do this."""

    code = "credential-required"
    title = "A credential is required."


class Forbidden(GaplessError):
    """We know who asks, and they may not."""

    status = 403


class RoleNotHeld(Forbidden):
    """The credential doesn't carry the role that this call needs."""

    code = "role-not-held"
    title = "The credential doesn't hold the role that this needs."


class ScopeNotHeld(Forbidden):
    """A scope was asked for that no scope held covers."""

    code = "scope-not-held"
    title = "The credential doesn't hold a scope that was asked for."


class NotFound(GaplessError):
    """Nothing is at this address."""

    status = 404
    code = "not-found"
    title = "There is nothing at this address."


class MethodNotAllowed(GaplessError):
    """The address exists, the method doesn't; the raiser gives `Allow` (RFC 9110 §15.5.6)."""

    status = 405
    code = "method-not-allowed"
    title = "This address doesn't take that method."


class NoCommonTransport(GaplessError):
    """The client supports none of the installed transports, which `transports` names."""

    status = 406
    code = "no-common-transport"
    title = "The client and the service have no transport in common."


class RequestTimeout(GaplessError):
    """A head or a body did not come whole within its time (RFC 9110 §15.5.9)."""

    status = 408
    code = "request-timeout"
    title = "The request did not come in time."


class Conflict(GaplessError):
    """The request is sound, but not as things stand."""

    status = 409


class TransportNotOffered(Conflict):
    """The policy doesn't offer this transport to this client; `decision` says what it offers."""

    code = "transport-not-offered"
    title = "This transport isn't offered to this client."


class IdempotencyConflict(Conflict):
    """An idempotency key came back with another body; `index` is the event's place."""

    code = "idempotency-conflict"
    title = "The idempotency key was used before, for something else."

    @classmethod
    def of(cls, index: int) -> IdempotencyConflict:
        """Make the conflict of one event of a batch."""
        message = f"the idempotency key of event {index} was used for another event: use a new key"
        return cls(message, index=index)

    @property
    def index(self) -> int:
        """The event's place in its batch."""
        return int(str(self.fields["index"]))


class HistoryTruncated(GaplessError):
    """The history asked for is no longer there; it begins at `floor`."""

    status = 410
    code = "history-truncated"
    title = "The history no longer reaches back that far."


class PreconditionFailed(GaplessError):
    """Somebody else changed it first (RFC 9110 §15.5.13); `revision` is the one in force."""

    status = 412
    code = "precondition-failed"
    title = "It was changed meanwhile."


class TooLarge(GaplessError):
    """More bytes than are taken."""

    status = 413


class BodyTooLarge(TooLarge):
    """The body as a whole is over the limit."""

    code = "body-too-large"
    title = "The body of the request is too large."


class EventTooLarge(TooLarge):
    """One event's envelope is over the limit; `index` is its place."""

    code = "event-too-large"
    title = "An event is too large."


class TargetTooLong(GaplessError):
    """The request's target has more bytes than a head may have (RFC 9110 §15.5.15)."""

    status = 414
    code = "target-too-long"
    title = "The address is too long."


class InvalidField(GaplessError):
    """A field has a wrong value: `field` names it, `index` its event in a batch."""

    status = 422
    code = "invalid-field"
    title = "A field of the request has a wrong value."


class PreconditionRequired(GaplessError):
    """A change must say which state it is based on (RFC 6585 §3): `If-Match` with the ETag that was read."""

    status = 428
    code = "precondition-required"
    title = "The request must say which state it changes."


class TooMany(GaplessError):
    """More than is granted; come back after `Retry-After` (RFC 6585 §4; whole seconds, 1 unless given)."""

    status = 429
    default_headers = _RETRY_SOON


class HeadTooLarge(GaplessError):
    """The head has more bytes or more fields than are taken (RFC 6585 §5)."""

    status = 431
    code = "head-too-large"
    title = "The head of the request is too large."


class ConnectionLimit(TooMany):
    """As many streams are open as this user or address may have."""

    code = "connection-limit"
    title = "Too many streams are open."


class RateLimited(TooMany):
    """Requests of this kind come faster than is granted."""

    code = "rate-limited"
    title = "Too many requests of this kind."


class Unavailable(GaplessError):
    """Not now; come back after `Retry-After` (whole seconds, RFC 9110 §10.2.3).

    Unless given it is drawn, so that those who are refused at once don't come back at once.
    """

    status = 503

    def __init__(self, detail: str, *, headers: Mapping[str, str] = _NO_HEADERS, **fields: object) -> None:
        """Describe one occurrence."""
        super().__init__(detail, headers=_merged({"Retry-After": str(randint(*_RETRY_WITHIN))}, headers), **fields)


class LogUnavailable(Unavailable):
    """Redis can't be reached, or didn't answer in time: what was sent is perhaps in the log."""

    code = "log-unavailable"
    title = "The event log can't be reached at the moment."


class KeysUnavailable(Unavailable):
    """The keys that verify tokens could not be fetched, so nothing can be said of a token that needs them."""

    code = "keys-unavailable"
    title = "The keys that verify tokens can't be reached at the moment."


class NotReady(Unavailable):
    """A part of this worker keeps failing: send clients elsewhere."""

    code = "not-ready"
    title = "This gateway is not ready."


class NoTransport(Unavailable):
    """Every transport is switched off."""

    code = "no-transport"
    title = "No transport is offered at the moment."


class AtCapacity(Unavailable):
    """This gateway serves as many clients as it may."""

    code = "at-capacity"
    title = "This gateway takes no more clients at the moment."


class Draining(Unavailable):
    """This gateway is shutting down; another one answers."""

    code = "draining"
    title = "This gateway is shutting down."
