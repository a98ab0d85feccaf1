"""Who is connected to this worker, and the end of it: what operators ask about sessions, answered by each worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from realtime.auth.recent import Recent
from realtime.delivery.controls import control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.channel.event import Control as ControlEvent
    from realtime.channel.event import Cursor
    from realtime.control import Control
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.hub import Hub
    from realtime.delivery.plan import Plan
    from realtime.fleet import Member
    from realtime.presence import Presence, Visit
    from realtime.revocations import Revocations

LISTED: Final = "connection.listed"
DISMISSED: Final = "connection.dismissed"

BY_ADMIN: Final = "closed-by-admin"
REVOKED: Final = "credential-revoked"
SEEN_AT: Final = "seen_at"
"""When a visit was, in unix seconds: for whoever compares those of several workers, which answer at different times."""
_MOST: Final = 500


class Connections:
    """The sessions of one worker."""

    def __init__(self, control_log: Control, member: Member, hub: Hub, presence: Presence) -> None:
        """Answer for what hangs on `hub` and what visited lately."""
        self._member = member
        self._hub = hub
        self._presence = presence
        self._dismissed: Recent[bool] = Recent()
        control_log.on(LISTED, lambda data: self.list(data.get("sub"), data.get("session")))
        control_log.on(DISMISSED, lambda data: self.dismiss(data["session"]))

    def list(self, sub: str | None, session: str | None = None) -> list[dict[str, Any]]:
        """Describe up to `_MOST` connections: of a subject, of a session, or any."""
        found = []
        for one in self._all():
            if (sub is None or one["sub"] == sub) and (session is None or one["session"] == session):
                found.append(one)
                if len(found) >= _MOST:
                    break
        return found

    def _all(self) -> Iterator[dict[str, Any]]:
        attachments, now_ms = self._hub.attachments, self._hub.wheel.now_ms()
        for attachment in attachments:
            yield self._attached(attachment, now_ms)
        for visit in self._presence.visits(attachments):
            yield self._visiting(visit)

    def _attached(self, attachment: Attachment, now_ms: int) -> dict[str, Any]:
        position = attachment.position
        return {
            **self._described(attachment.plan, attachment.transport.name, position),
            "state": attachment.state.name.lower(),
            "connected_ms": now_ms - attachment.since_ms,
            "behind_ms": max(0, self._hub.position.ms - position.ms),
        }

    def _visiting(self, visit: Visit) -> dict[str, Any]:
        seen_s = time.monotonic() - visit.at
        return {
            **self._described(visit.plan, visit.transport, visit.cursor),
            "state": "visiting",
            "seen_ms": int(seen_s * 1000),
            SEEN_AT: time.time() - seen_s,
            "behind_ms": max(0, self._hub.position.ms - visit.cursor.ms) if visit.cursor else 0,
        }

    def _described(self, plan: Plan, transport: str, position: Cursor | None) -> dict[str, Any]:
        context = plan.context
        known = ("client_id", "platform", "app_version", "network", "state", "sdk")
        client = {name: getattr(context, name) for name in known if getattr(context, name) is not None}
        return {
            "session": plan.session,
            "sub": context.sub,
            "channel": context.channel,
            "roles": sorted(context.roles),
            "transport": transport,
            "first": plan.first,
            "cursor": None if position is None else str(position),
            "client": client,
            "supported": list(context.supported or ()),
            "failed": sorted(context.failed),
            "gateway": self._member.gateway,
            "worker": self._member.worker,
        }

    def dismiss(self, session: str) -> int:
        """End a session's answers for good, and tell it to stop when it comes again; return how many were known.

        It may come to any worker next, so each of them remembers it.
        """
        said = control("connection.closed", code=BY_ADMIN)
        self._dismissed.put(session, found=True)
        attachments = self._hub.attachments
        visits = [one for one in self._presence.visits(attachments) if one.plan.session == session]
        found = [one for one in attachments if one.plan.session == session]
        for attachment in found:
            attachment.dismiss(said)
        return len(found) + len(visits)

    def farewell(self, session: str) -> ControlEvent | None:
        """Return what a session that was dismissed must be told, when it comes again."""
        return control("connection.closed", code=BY_ADMIN) if session and self._dismissed.get(session) else None


def end_revoked(hub: Hub, revocations: Revocations) -> None:
    """End what revoked subjects and tokens have open."""
    said = control("connection.closed", code=REVOKED)
    for attachment in hub.attachments:
        if revocations.refuses(attachment.plan.context.sub, attachment.plan.jti):
            attachment.dismiss(said)
