"""The policy's revisions: who changed what, when and why; which one is in force here; and back.

A stream of Redis holds them, revision *n* under the id ``n-0``. One is written onto exactly the revision that it was
made from (`_APPEND`), or not at all: of two who change the same revision one is refused, and a change is never lost
between them. The news of it rides on the control log, in the same transaction. Until the first change, revision 0 is in
force: ``[policy]`` of the configuration.

Redis may lose revisions: in a failover to a replica that lagged, or in a flush. What this process has in force is put
back then, if it descends from the newest one that is left. If it doesn't, another change was made and acknowledged on
the server that stayed, and counts. Then this process yields, and writes a revision that tells which changes were
dropped, and by whom they were made (`realtime.revision`).

A revision may be of a newer version, in words that this one doesn't know. Then the last one that could be read stays in
force; who starts takes the newest that can, and so has what those have that run. It is told. What can't be read is only
replaced as a whole here, by its number: a smaller change would undo the rest of it unseen. Only where none can be read,
a gateway that starts is not ready.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import structlog

from policies.difference import differences
from policies.document import parse
from policies.policy import compiled
from realtime.channel.event import LARGEST
from realtime.control import key
from realtime.errors import GaplessError, InvalidField, LogUnavailable, NotFound, PreconditionFailed
from realtime.news import News
from realtime.revision import Revision, dropping, told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies.document import Document
    from realtime.control import Control
    from realtime.offers import Offers

REVISED: Final = "policy.revised"

_STREAM: Final = key("policy")
_KEPT: Final = 1_000
_TRIES: Final = 5
_PAGE: Final = 50
_APPEND: Final = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if (newest and newest[2][2] or '') == ARGV[1] then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[3], 'r', ARGV[4])
end
"""
"""Appends an entry, if the newest one is still the one that it was made from."""

Raw = tuple[bytes, Any]
"""An entry of the stream: its id, its fields."""

_log = structlog.get_logger("gapless.policy")


class Revisions:
    """The policy in force in this process, and its history in Redis."""

    def __init__(self, control: Control, baseline: Document, offers: Offers) -> None:
        """Begin with the configuration's policy; what is in force is put into `offers`."""
        self._control = control
        self._offers = offers
        self.news = News(control, REVISED)
        self.baseline = baseline.with_transports(offers.catalogue)
        self.document = self.baseline
        self._first = Revision(0, self.baseline.dump(), "config", int(time.time() * 1000), "the configuration")
        self.current = self._first
        self.is_loaded = False
        """Whether it is known what Redis holds."""
        self.unread = 0
        """The number of the newest revision, while this version can't read it; 0: it can."""
        self._past: deque[Revision] = deque([self._first], _PAGE)
        """Those that were in force here, each made from the one before it; the last is `current`."""
        self._stored = b""
        """The newest entry, as this process last saw it: what the next one is written onto."""
        self._newest_head = self._first
        """The newest revision, whether or not this version can read its policy."""
        self._untold: list[Revision] = []
        """Dropped ones that no revision is known to tell of yet."""
        offers.adopt(compiled(self.baseline, offers.catalogue), 0)

    @property
    def is_stale(self) -> bool:
        """Whether a newer revision exists that can't be read, or may exist, since Redis does not answer."""
        return self._control.is_away or not self.is_loaded or self.unread > 0

    @property
    def _newest(self) -> int:
        return self.unread or self.current.number

    async def run(self) -> None:
        """Put in force what Redis has, whenever there is news, until cancelled."""
        await self.news.follow(self.load)

    async def load(self) -> None:
        """Look at what Redis holds, once, and put it in force; or put back what it has lost, or tell what is dropped.

        What is written here is news, at which all look again.

        Raises:
            LogUnavailable: Redis does not answer.
        """
        raws = await self._raws("+", 1)
        stored, newest = (_body(raws[0]), _head(raws[0])) if raws else (b"", self._first)
        if self._is_lost_after(newest):
            _log.warning("policy put back", revision=self.current.number, newest=newest.number)
            await self._write(self.current, stored)
            stored, newest = (
                msgspec.json.encode(self.current),
                self.current,
            )  # unless somebody was first: news will tell
            lost = []
        else:
            lost = await self._dropped_for(newest)
        can_read = newest == self.current or not raws or self._take(raws[0])
        self._stored, self._newest_head = stored, newest
        await self._settle(0 if can_read else newest.number, must_change=bool(lost))
        await self._tell(lost)

    def _is_lost_after(self, newest: Revision) -> bool:
        """Tell whether Redis has lost what is in force here, and nothing else was put in force since."""
        if newest.number >= self.current.number:
            return False
        return newest.number == 0 or newest.mark in {*self.current.after, *(one.mark for one in self._past)}

    async def _dropped_for(self, newest: Revision) -> list[Revision]:
        """Return those that were in force here and that the newest one does not descend from; forget them."""
        if self.current.number == 0 or self.current.mark in newest.line:
            return []
        line = {self._first.mark, *newest.after, *(_head(raw).mark for raw in await self._raws("+", _PAGE))}
        lost = list(takewhile(lambda one: one.mark not in line, reversed(self._past)))[::-1]
        for one in lost:
            self._past.remove(one)
        return lost

    async def _settle(self, unread: int, *, must_change: bool) -> None:
        """Note whether the newest revision can be read; where it can't, find one to be in force if there must be."""
        if unread and unread != self.unread:
            _log.error("policy not read: this gateway wants an update", revision=unread)
        self.unread = unread
        if not unread:
            self.is_loaded = True
        elif must_change or not self.is_loaded:
            self.is_loaded |= await self._fall_back(unread)

    async def _tell(self, lost: Sequence[Revision]) -> None:
        """Say that revisions are dropped, and write the one that tells of it, unless there is one already."""
        for one in lost:
            paths = [change.path for change in one.changes]
            told_of = {"revision": one.number, "by": one.by, "reason": one.reason, "paths": paths}
            _log.error("policy change dropped: the server it was made on was lost", kept=self._newest, **told_of)
        self._untold += lost
        if not self._untold or self.unread:
            return
        known = told(map(_head, await self._raws("+", _PAGE)))
        self._untold = [one for one in self._untold if one.mark not in known]
        if self._untold:
            await self._has_written(dropping(self._untold, self.current, uuid4().hex, int(time.time() * 1000)))

    async def _fall_back(self, above: int) -> bool:
        """Put in force the newest revision below that can be read; tell whether there is one."""
        while raws := await self._raws(f"({above}-0", _PAGE):
            if any(self._take(raw) for raw in raws):
                return True
            above = _number(raws[-1])
        return False

    def _take(self, raw: Raw) -> bool:
        """Put a revision in force, if this version can read it."""
        try:
            revision = _revision(raw)
            compiled(parse(revision.policy), self._offers.catalogue, tolerant=True)
        except (InvalidField, msgspec.MsgspecError) as error:
            _log.warning("revision not read", revision=_number(raw), why=str(error))
            return False
        self._enforce(revision)
        return True

    def _enforce(self, revision: Revision) -> None:
        """Put a revision in force, unless it is, or a later one that was made from it."""
        if self.current.number and (revision == self.current or revision.mark in self.current.after):
            return
        document = parse(revision.policy)
        policy = compiled(document, self._offers.catalogue, revision.number, tolerant=True)
        self.current, self.document = revision, document.with_transports(self._offers.catalogue)
        self._past.append(revision)
        self._offers.adopt(policy, revision.at)
        _log.info("policy in force", revision=revision.number, by=revision.by, reason=revision.reason)

    # What admins do

    async def save(self, document: Document, by: str, reason: str, expected: int) -> Revision:
        """Make a document the next revision, and put it in force here; without a difference, nothing happens.

        Raises:
            InvalidField: it names what is not installed.
            PreconditionFailed: the revision in force is not `expected` any more.
            LogUnavailable: Redis does not answer: perhaps it is in force.
        """
        compiled(document, self._offers.catalogue)
        await self.require(expected)
        before = self.document
        document = document.with_transports(self._offers.catalogue)
        changes = differences(before.dump(), document.dump())
        if not changes and self.current.number and not self.unread:
            return self.current
        base, now_ms = self._newest_head, int(time.time() * 1000)
        revision = Revision(expected + 1, document.dump(), by, now_ms, reason, changes, uuid4().hex, base.line)
        for _ in range(_TRIES):
            if await self._has_written(revision):
                return revision
            await self.load()
            if self._newest_head.mark not in {base.mark, revision.mark}:
                raise self._changed()
        raise LogUnavailable("Redis has lost the revision as soon as it was written: read the policy, and try again")

    async def _has_written(self, revision: Revision) -> bool:
        """Write a revision, and put it in force, unless a later one is; tell whether it is there."""
        await self._write(revision, self._stored)
        if await self._find(revision.number) != revision:
            return False
        if revision.mark not in self.current.line:
            self._stored, self._newest_head = msgspec.json.encode(revision), revision
            self._enforce(revision)
        return True

    async def require(self, expected: int) -> None:
        """Check that a revision is the one in force; the news of it may still be on its way to this gateway.

        Raises:
            PreconditionFailed: it is not.
            LogUnavailable: Redis does not answer.
        """
        if expected != self._newest:
            await self.load()
        if expected != self._newest:
            raise self._changed()

    async def edit(
        self, change: Callable[[Document], Document], by: str, reason: str, expected: int | None = None
    ) -> Revision:
        """Save what `change` makes of the document in force, whoever else changes it at the same time.

        Raises:
            PreconditionFailed: revision `expected` is in force no longer; without one, somebody was first every time.
            GaplessError: what `change` and `save` raise.
        """
        if self.unread:
            raise self._changed()
        if expected is not None:
            await self.require(expected)
            return await self.save(change(self.document), by, reason, expected)
        for _ in range(_TRIES - 1):
            with suppress(PreconditionFailed):
                return await self.save(change(self.document), by, reason, self.current.number)
        return await self.save(change(self.document), by, reason, self.current.number)

    async def restore(self, number: int, by: str, reason: str, expected: int | None = None) -> Revision:
        """Make an earlier revision the next one.

        Raises:
            NotFound: there is no such revision.
            GaplessError: what `edit` raises.
        """
        document = await self.earlier(number)
        return await self.edit(lambda _: document, by, reason or f"restored revision {number}", expected)

    async def earlier(self, number: int) -> Document:
        """Return the document of an earlier revision; 0 is the configuration's.

        Raises:
            NotFound: there is no such revision.
        """
        return self.baseline if number == 0 else parse((await self.revision(number)).policy)

    async def list(self, limit: int, before: int | None = None) -> list[Revision]:
        """Return up to `limit` revisions, newest first, those below `before` when it is given."""
        return [_revision(raw) for raw in await self._raws("+" if before is None else f"({before}-0", limit)]

    async def revision(self, number: int) -> Revision:
        """Return one revision; 0 is the configuration that this process began with.

        Raises:
            NotFound: there is none with this number, or none any more.
        """
        if number == 0:
            return self._first
        found = await self._find(number)
        if found is None:
            raise NotFound(f"there is no revision {number}: the last {_KEPT} are kept")
        return found

    async def _find(self, number: int) -> Revision | None:
        if number > LARGEST:  # Redis has no such ids
            return None
        raws = await self._control.log.execute("XRANGE", _STREAM, f"{number}-0", f"{number}-0")
        return _revision(raws[0]) if raws else None

    async def _raws(self, newest: str, limit: int) -> Sequence[Raw]:
        """Read up to so many entries of the stream, newest first."""
        if newest == "(0-0":  # below the lowest id Redis takes no interval for one
            return []
        raws: Sequence[Raw] = await self._control.log.execute("XREVRANGE", _STREAM, newest, "-", "COUNT", limit)
        return raws

    async def _write(self, revision: Revision, onto: bytes) -> None:
        """Append a revision onto the entry that was the newest, or not at all."""
        entry = (f"{revision.number}-0", msgspec.json.encode(revision))
        add = ("EVAL", _APPEND, 1, _STREAM, onto, _KEPT, *entry)
        await self._control.say(REVISED, {"revision": revision.number, "by": revision.by}, beside=[add])

    def _changed(self) -> GaplessError:
        if self.unread:
            return PreconditionFailed(
                f"revision {self.unread} is in force, which this version can't read: change it at a gateway that can, "
                f'or replace it whole, with If-Match: "{self.unread}"',
                revision=self.unread,
            )
        return PreconditionFailed(
            f"the policy was changed meanwhile; revision {self.current.number} is in force: read it, and try again",
            revision=self.current.number,
        )


def _number(raw: Raw) -> int:
    """Read the number of an entry, which needs no understanding of it."""
    return int(raw[0].partition(b"-")[0])


def _body(raw: Raw) -> bytes:
    """Return an entry's content; its fields come as a mapping, or flat where it was read by a plain command."""
    _, fields = raw
    body: bytes = fields[b"r"] if isinstance(fields, dict) else fields[1]
    return body


def _revision(raw: Raw) -> Revision:
    return msgspec.json.decode(_body(raw), type=Revision)


def _head(raw: Raw) -> Revision:
    """Return an entry whose policy, and perhaps more of it, need not be understood."""
    try:
        return _revision(raw)
    except msgspec.MsgspecError:
        return Revision(_number(raw), {}, "", 0)
