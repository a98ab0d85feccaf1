"""The bodies of the admin API, and how its answers are put (PROTOCOL §4, Admin)."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr

from policies.document import Document
from realtime.channel.event import check_name, timestamp
from realtime.errors import InvalidField
from realtime.negotiate import Proposal
from realtime.openapi.schemas import As

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin.desk import Explanation, Gateway, Preview
    from realtime.revision import Dropped, Revision
    from realtime.revocation import Revocation

_LONGEST_REASON = 500
_LATEST_MS = 253_402_300_799_999
"""The end of the year 9999, after which RFC 3339 can't be written."""
Reason = Annotated[StrictStr, Field(max_length=_LONGEST_REASON)]
Name = Annotated[StrictStr, AfterValidator(check_name)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PolicyBody(_Body):
    """A policy, and why."""

    policy: Annotated[dict[str, Any], As(Document)]
    reason: Reason = ""


class PreviewBody(_Body):
    """A policy that may come."""

    policy: Annotated[dict[str, Any], As(Document)]


class SwitchBody(_Body):
    """A transport's switch."""

    enabled: StrictBool
    reason: Reason = ""


class WeightsBody(_Body):
    """The weights of a rollout's arms, in percent."""

    weights: Annotated[dict[StrictStr, Annotated[float, Field(strict=True)]], Field(min_length=1)]
    reason: Reason = ""


class ReasonBody(_Body):
    """Why."""

    reason: Reason = ""


class ExplainBody(Proposal):
    """A negotiation, and who would be negotiating."""

    sub: Name | None = None
    roles: Annotated[tuple[Name, ...], Field(max_length=64)] = ()
    channel: Name = "main"


class RevocationBody(_Body):
    """Whom to refuse: a subject or a token by its id, until when (RFC 3339, or unix milliseconds; for good without)."""

    sub: Name | None = None
    jti: Annotated[StrictStr, Field(min_length=1, max_length=255)] | None = None
    until: object = None
    reason: Reason = ""


def until_ms(until: object) -> int | None:
    """Read a time that is yet to come as unix milliseconds.

    Raises:
        InvalidField: it is none, or lies where RFC 3339 has no way to write it.
    """
    if until is None:
        return None
    ms = until if type(until) is int else 0
    if isinstance(until, str):
        with suppress(ValueError, OverflowError):
            ms = _unix_ms(datetime.fromisoformat(until))
    if not time.time() * 1000 < ms <= _LATEST_MS:
        expected = "a time to come, such as 2026-12-24T18:00:00Z, or in unix milliseconds"
        raise InvalidField(f"until: expected {expected}", field="until")
    return ms


def _unix_ms(moment: datetime) -> int:
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def time_of(ms: int | None) -> str | None:
    """Write unix milliseconds as RFC 3339."""
    return None if ms is None else timestamp(ms).decode()


def policy_body(revision: Revision, *, stale: bool) -> dict[str, Any]:
    """Put the policy in force. `stale`: Redis does not answer, and there may be a newer one."""
    return {**_revision_head(revision), "policy": revision.policy, "stale": stale}


def revision_body(revision: Revision) -> dict[str, Any]:
    """Put one revision: who, when, why, and what became different."""
    return {
        **_revision_head(revision),
        "changes": _changes(revision),
        "dropped": [{**_revision_head(one), "changes": _changes(one)} for one in revision.dropped],
        "policy": revision.policy,
    }


def _changes(revision: Revision | Dropped) -> list[dict[str, Any]]:
    return [change._asdict() for change in revision.changes]


def _revision_head(revision: Revision | Dropped) -> dict[str, Any]:
    return {
        "revision": revision.number,
        "updated_by": revision.by,
        "updated_at": time_of(revision.at),
        "reason": revision.reason,
    }


def preview_body(preview: Preview) -> dict[str, Any]:
    """Put whom a policy would move."""
    return preview._asdict()


def explanation_body(explanation: Explanation) -> dict[str, Any]:
    """Put a decision and its steps."""
    return {"decision": explanation.wire, "steps": explanation.steps}


def revocation_body(revocation: Revocation) -> dict[str, Any]:
    """Put one revocation."""
    return {
        revocation.kind: revocation.name,
        "until": time_of(revocation.until),
        "reason": revocation.reason,
        "revoked_by": revocation.by,
        "revoked_at": time_of(revocation.at),
    }


def gateway_body(gateway: Gateway) -> dict[str, Any]:
    """Put one gateway and its workers."""
    first = gateway.workers[0]
    return {
        "id": gateway.id,
        "version": first.version,
        "started_at": time_of(min(worker.started for worker in gateway.workers)),
        "ready": gateway.is_ready,
        "draining": gateway.is_draining,
        "connections": gateway.connections,
        "workers": [_worker_body(worker) for worker in gateway.workers],
    }


def _worker_body(sample: Any) -> Mapping[str, Any]:  # noqa: ANN401 - a sample, read by its fields
    return {
        "worker": sample.worker,
        "revision": sample.revision,
        "ready": sample.ready,
        "draining": sample.draining,
        "connections": sample.connections,
        "deliveries": sample.deliveries,
        "latency_ms": {
            name: dict(zip(("p50", "p95", "max"), ms, strict=True)) for name, ms in sample.latency_ms.items()
        },
        "lag_ms": sample.lag_ms,
    }
