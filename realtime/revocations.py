"""Who is refused though the credential is good: subjects and token ids, until a time; on every gateway.

Kept in one hash of Redis beside the control log, which carries the news; each process holds all of them in memory, for
every request asks. While Redis is away the last ones known count on. The hash counts its changes: when it has had fewer
than we know of, Redis has lost some (a flush, a failover to a replica that lagged), and they are put back. What was
lifted shortly before may then be refused again, never the other way round.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import structlog

from realtime.control import key
from realtime.news import News

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.auth import Identity
    from realtime.control import Control

REVOKED: Final = "credential.revoked"

_HASH: Final = key("revoked")
_CHANGED: Final = ("HINCRBY", _HASH, "", 1)
"""Counts in the field without a name."""

_log = structlog.get_logger("gapless.security")

Kind = Literal["sub", "jti"]


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One refusal: of a subject (`sub`) or of a token (`jti`). Times in unix milliseconds; no `until`: for good."""

    kind: Kind
    name: str
    by: str
    at: int
    until: int | None = None
    reason: str = ""

    @property
    def field(self) -> str:
        """Its place in the hash."""
        return f"{self.kind}:{self.name}"

    def counts(self, now_ms: int) -> bool:
        """Tell whether it still holds."""
        return self.until is None or self.until > now_ms


class Revocations:
    """All of them, as far as this process knows."""

    def __init__(self, control: Control, ended: Callable[[], None]) -> None:
        """Begin with none; `ended` is called when there are new ones, so that attachments are looked at."""
        self._control = control
        self._ended = ended
        self._known: dict[str, Revocation] = {}
        self._changes = 0
        self.news = News(control, REVOKED)

    def __call__(self, identity: Identity) -> bool:
        """Tell whether an identity is refused."""
        return bool(self._known) and self.refuses(identity.sub, identity.jti)

    def refuses(self, sub: str | None, jti: str | None) -> bool:
        """Tell whether a subject, or a token by its id, is refused."""
        now_ms = time.time_ns() // 1_000_000
        found = (self._known.get(f"sub:{sub}"), self._known.get(f"jti:{jti}"))
        return any(one is not None and one.counts(now_ms) for one in found)

    def list(self) -> list[Revocation]:
        """Return those that hold, the latest first."""
        now_ms = time.time_ns() // 1_000_000
        return sorted((one for one in self._known.values() if one.counts(now_ms)), key=lambda one: -one.at)

    async def revoke(self, revocation: Revocation) -> None:
        """Refuse somebody from now on, and end what they have open, everywhere.

        Raises:
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        keep = ("HSET", _HASH, revocation.field, msgspec.json.encode(revocation))
        await self._control.say(REVOKED, {"by": revocation.by}, beside=[keep, _CHANGED])
        self._known[revocation.field] = revocation
        self._ended()

    async def lift(self, kind: Kind, name: str, by: str) -> bool:
        """Refuse somebody no longer; tell whether they were refused.

        Raises:
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        field = f"{kind}:{name}"
        was_known = field in self._known
        await self._control.say(REVOKED, {"by": by}, beside=[("HDEL", _HASH, field), _CHANGED])
        self._known.pop(field, None)
        return was_known

    async def run(self) -> None:
        """Read them whenever there is news, until cancelled."""
        await self.news.follow(self._load)

    async def _load(self) -> None:
        raws = await self._control.log.execute("HGETALL", _HASH)
        fields = raws if isinstance(raws, dict) else dict(zip(raws[::2], raws[1::2], strict=True))
        changes = int(fields.pop(b"", 0))
        found = {one.field: one for one in (msgspec.json.decode(text, type=Revocation) for text in fields.values())}
        if changes < self._changes:
            await self._put_back([one for field, one in self._known.items() if field not in found])
            found = {**self._known, **found}
        now_ms = time.time_ns() // 1_000_000
        over = [field for field, one in found.items() if not one.counts(now_ms)]
        if over:
            await self._control.log.execute("HDEL", _HASH, *over)
        self._changes = max(changes, self._changes)
        self._known = {field: one for field, one in found.items() if one.counts(now_ms)}
        self._ended()

    async def _put_back(self, lost: Sequence[Revocation]) -> None:
        _log.warning("revocations put back", count=len(lost))
        keep = [("HSET", _HASH, one.field, msgspec.json.encode(one)) for one in lost]
        await self._control.say(REVOKED, {"by": "gapless"}, beside=[*keep, ("HSET", _HASH, "", self._changes)])
