"""Who is refused though the credential is good: subjects and token ids, until a time; on every gateway.

Kept in two hashes of Redis beside the control log, which carries the news: the revocations, and the lifts. Each process
holds all of them in memory, for every request asks. While Redis is away the last ones known count on.

Redis may lose some: in a flush, in a failover to a replica that lagged, in a split. What a process knows and what Redis
holds are united (`realtime.revocation`), and what Redis lacks is put back. So no revocation is lost as long as one
gateway that knows it runs. A lift may be: then the subject is refused again.

An earlier version lifts without a record of it. This one takes that for a loss, and puts the revocation back: while
gateways are updated, lift at one that is.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

import msgspec
import structlog

from realtime.control import key
from realtime.news import News
from realtime.revocation import NOBODY, Revocation, refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from realtime.auth import Identity
    from realtime.channel.library import Command
    from realtime.control import Control
    from realtime.revocation import Kind

REVOKED: Final = "credential.revoked"

_HELD: Final = key("revoked")
_LIFTED: Final = key("lifted")
_CHANGED: Final = ("HINCRBY", _HELD, "", 1)
"""Counts in the field without a name, from which an earlier version tells that Redis has lost something."""
_READ: Final = "return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}"
_WRITE: Final = """
for at = 1, #ARGV, 4 do
  local key, field, seen, new = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if (redis.call('HGET', key, field) or '') == seen then
    if new == '' then
      redis.call('HDEL', key, field)
    else
      redis.call('HSET', key, field, new)
    end
  end
end
"""
"""Writes or deletes fields that are still as they were seen: what somebody else has written since stays."""

_log = structlog.get_logger("gapless.security")


class _Edit(NamedTuple):
    """One field to be written, or, with an empty value, to be deleted."""

    hash: int
    """1: the revocations, 2: the lifts."""
    field: str
    seen: bytes
    new: bytes


class Revocations:
    """All of them, as far as this process knows."""

    def __init__(self, control: Control, ended: Callable[[], None]) -> None:
        """Begin with none; `ended` is called when there are new ones, so that attachments are looked at."""
        self._control = control
        self._ended = ended
        self._known = NOBODY
        self.news = News(control, REVOKED)

    def __call__(self, identity: Identity) -> bool:
        """Tell whether an identity is refused."""
        return bool(self._known.held) and self.refuses(identity.sub, identity.jti)

    def refuses(self, sub: str | None, jti: str | None) -> bool:
        """Tell whether a subject, or a token by its id, is refused; `None`: there is none."""
        return (sub is not None and self._holds(f"sub:{sub}")) or (jti is not None and self._holds(f"jti:{jti}"))

    def _holds(self, field: str) -> bool:
        ones = self._known.held.get(field)
        return ones is not None and ones[0].counts(_now_ms())

    def list(self) -> list[Revocation]:
        """Return those that hold, the latest first."""
        return sorted(self._known.at(_now_ms()).foremost().values(), key=lambda one: -one.at)

    async def revoke(self, revocation: Revocation) -> None:
        """Refuse somebody from now on, and end what they have open, everywhere.

        It takes the place of one that is known of the same name, also of one that lasts longer.

        Raises:
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        revocation = msgspec.structs.replace(revocation, id=uuid4().hex)
        replaced = map(_lifting, self._known.held.get(revocation.field, ()))
        keep = ("HSET", _HELD, revocation.field, msgspec.json.encode(revocation))
        await self._control.say(REVOKED, {"by": revocation.by}, beside=[keep, *replaced, _CHANGED])
        self._known = self._known.revoked(revocation, _now_ms())
        self._ended()

    async def lift(self, kind: Kind, name: str, by: str) -> bool:
        """Refuse somebody no longer; tell whether they were refused.

        Raises:
            LogUnavailable: Redis does not answer: perhaps it is done.
        """
        field = f"{kind}:{name}"
        if field not in self._known.held:
            await self.load()
        revocations = self._known.held.get(field, ())
        if not revocations:
            return False
        await self._control.say(REVOKED, {"by": by}, beside=[*map(_lifting, revocations), _CHANGED])
        self._known = self._known.lift(revocations, _now_ms())
        return True

    async def run(self) -> None:
        """Read them whenever there is news, until cancelled."""
        await self.news.follow(self.load)

    async def load(self) -> None:
        """Look at what Redis holds, once, and unite it with what is known; put back what it lacks, delete what is over.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        held, lifted = map(_fields, await self._control.log.execute("EVAL", _READ, 2, _HELD, _LIFTED))
        held.pop("", None)
        found = {field: one for field, one in ((field, _read(text)) for field, text in held.items()) if one}
        lifts = {mark: int(until) for mark, until in lifted.items()}
        self._known = self._known.merged(refusals(found.values(), lifts)).at(_now_ms())
        self._ended()
        edits = [*self._held_edits(held, found), *self._lifted_edits(lifted)]
        if edits:
            await self._write(edits)

    def _held_edits(self, stored: Mapping[str, bytes], found: Mapping[str, Revocation]) -> Iterator[_Edit]:
        """Yield what makes the hash of revocations be as it is known here; what can't be read there stays."""
        known = self._known.foremost()
        for field, one in known.items():
            if found.get(field) != one and (field in found or field not in stored):
                yield _Edit(1, field, stored.get(field, b""), msgspec.json.encode(one))
        for field in found:
            if field not in known:
                yield _Edit(1, field, stored[field], b"")

    def _lifted_edits(self, stored: Mapping[str, bytes]) -> Iterator[_Edit]:
        for mark, until in self._known.lifted.items():
            if mark not in stored:
                yield _Edit(2, mark, b"", b"%d" % until)
        for mark in stored:
            if mark not in self._known.lifted:
                yield _Edit(2, mark, stored[mark], b"")

    async def _write(self, edits: Sequence[_Edit]) -> None:
        write = ("EVAL", _WRITE, 2, _HELD, _LIFTED, *(part for edit in edits for part in edit))
        lost = [edit for edit in edits if edit.new]
        if lost:
            _log.warning("revocations put back", count=sum(edit.hash == 1 for edit in lost))
            await self._control.say(REVOKED, {"by": "gapless"}, beside=[write, _CHANGED])
        else:
            await self._control.log.execute(*write)


def _lifting(revocation: Revocation) -> Command:
    """Return what writes that a revocation is lifted; what that leaves, `load` tidies up."""
    return ("HSET", _LIFTED, revocation.mark, revocation.remembered_until(_now_ms()))


def _fields(raws: list[bytes]) -> dict[str, bytes]:
    return {field.decode(): text for field, text in zip(raws[::2], raws[1::2], strict=True)}


def _read(text: bytes) -> Revocation | None:
    """Read one; `None`: it is of a later version, in words that this one doesn't know."""
    try:
        return msgspec.json.decode(text, type=Revocation)
    except msgspec.MsgspecError as error:
        _log.warning("revocation not read: this gateway wants an update", why=str(error))
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
