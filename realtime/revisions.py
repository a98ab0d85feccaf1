"""The policy's revisions: who changed what, when and why; which one is in force here; and back.

A stream of Redis holds them, revision *n* under the id ``n-0``: Redis takes an id only above the last, so of two who
write the same revision one is refused, and a change is never lost between them. The news of it rides on the control
log, in the same transaction. Until the first change, revision 0 is in force: ``[policy]`` of the configuration.

What this process has in force is put back when Redis has lost it (a failover to a replica that lagged, a flush): a
switch that was thrown is not silently undone.

A revision may be of a newer version, in words that this one doesn't know. Then the last one that could be read stays in
force; who starts takes the newest that can, and so has what those have that run. It is told. What can't be read is only
replaced as a whole here, by its number: a smaller change would undo the rest of it unseen. Only where none can be read,
a gateway that starts is not ready.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import structlog

from policies.difference import Change, differences
from policies.document import parse
from policies.policy import compiled
from realtime.channel.event import LARGEST
from realtime.control import key
from realtime.errors import GaplessError, InvalidField, LogUnavailable, NotFound, PreconditionFailed
from realtime.news import News

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

Raw = tuple[bytes, Any]
"""An entry of the stream: its id, its fields."""

_log = structlog.get_logger("gapless.policy")


class Revision(msgspec.Struct, frozen=True):
    """One state of the policy document; `at` in unix milliseconds."""

    number: int
    policy: dict[str, Any]
    by: str
    at: int
    reason: str
    changes: tuple[Change, ...] = ()
    """What became different from the revision before it."""
    request: str = ""
    """Which attempt wrote it: tells a lost reply from somebody else's change."""


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
        await self.news.follow(self._load)

    async def _load(self) -> None:
        raws = await self._raws("+", 1)
        newest = _number(raws[0]) if raws else 0
        if newest < self.current.number:
            _log.warning("policy put back", revision=self.current.number)
            await self._write(self.current)
        elif raws and not self._take(raws[0]):
            if newest != self.unread:
                self.unread = newest
                _log.error("policy not read: this gateway wants an update", revision=newest)
            self.is_loaded = self.is_loaded or await self._fall_back(newest)
            return
        self.is_loaded, self.unread = True, 0

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
        if self.current.number and revision == self.current:
            return
        document = parse(revision.policy)
        policy = compiled(document, self._offers.catalogue, revision.number, tolerant=True)
        self.current, self.document = revision, document.with_transports(self._offers.catalogue)
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
        now_ms = int(time.time() * 1000)
        revision = Revision(expected + 1, document.dump(), by, now_ms, reason, changes, uuid4().hex)
        await self._write(revision)
        written = await self._find(revision.number)
        if written is None:
            raise LogUnavailable(
                "Redis has lost the revision as soon as it was written: read the policy, and try again"
            )
        if written != revision:
            await self._load()
            raise self._changed()
        self._enforce(revision)
        return revision

    async def require(self, expected: int) -> None:
        """Check that a revision is the one in force; the news of it may still be on its way to this gateway.

        Raises:
            PreconditionFailed: it is not.
            LogUnavailable: Redis does not answer.
        """
        if expected != self._newest:
            await self._load()
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

    async def _write(self, revision: Revision) -> None:
        body = msgspec.json.encode(revision)
        add = ("XADD", _STREAM, "MAXLEN", "~", _KEPT, f"{revision.number}-0", "r", body)
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


def _revision(raw: Raw) -> Revision:
    """Read an entry of the stream; its fields come as a mapping, or flat where it was read by a plain command."""
    _, fields = raw
    return msgspec.json.decode(fields[b"r"] if isinstance(fields, dict) else fields[1], type=Revision)
