"""The hub: the follower's ticks, to the attachments that an event concerns.

An attachment at its tail has no cursor of its own: its cursor is the hub's position, so a tick costs nothing for those
whom it does not concern. What many see alike is encoded once and joined once: attachments of one transport, filter and
pattern list form a group with a common buffer of what its members share (broadcasts, and what their patterns match).
Who sees more than that is found from the events, through an index of scopes, never by asking each attachment.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from realtime.channel.event import ORIGIN, Cursor
from realtime.delivery.answers import Answers
from realtime.delivery.group import Group, Key, share
from realtime.delivery.meter import Meter
from realtime.delivery.owed import CATCH_UP_MS, Owed
from realtime.delivery.state import State
from realtime.delivery.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from realtime.channel.event import Entry
    from realtime.delivery.attachment import Attachment
    from realtime.delivery.sweep import Own
    from realtime.delivery.wheel import Wheel


PATIENCE_MS: Final = 60_000


class Hub:
    """Who is attached, and who of them is at the tail."""

    def __init__(self, wheel: Wheel, meter: Meter | None = None, patience_ms: int = PATIENCE_MS) -> None:
        """Begin with nobody; what is delivered is counted by `meter`. Who takes nothing for `patience_ms` is closed."""
        self.wheel = wheel
        self.patience_ms = patience_ms
        self.meter = meter or Meter()
        self.position: Cursor = ORIGIN
        """Up to where everyone at the tail has been served, but for those whom a sweep has left to serve."""
        self.size = 0
        """How many are attached: served now, and not away."""
        self._held: set[Attachment] = set()
        self._groups: dict[Key, Group] = {}
        self._owed = Owed(self.meter)
        self._scopes: dict[tuple[str, str], set[Attachment]] = {}
        self._waiting: dict[str, Attachment] = {}
        self._sweep: Sweep | None = None
        self._slices: Iterator[None] = iter(())
        self._seconds = 0.0
        self._settled: asyncio.Future[None] | None = None
        self.answers = Answers()
        self.is_closed = False

    @property
    def attachments(self) -> set[Attachment]:
        """Who is attached: served now, and not away."""
        return {one for one in self._held if one.state is not State.AWAY}

    # The follower calls these.

    def extended(self, entries: Sequence[Entry]) -> None:
        """Begin to deliver the entries of one tick; a small one is delivered at once, the rest of a large one later."""
        while self._sweep is not None:
            self._advance()
        own, groups = self._own(entries), self._groups.values()
        for group in groups:
            if group.crowd is not None:
                concerned = group.here() if any(map(group.common.sees, entries)) else own.get(group, ())
                self._owed.owe(concerned, self.position)
        even = [group for group in groups if group.crowd is None]
        self._sweep = Sweep(entries, self.position, even, own, self.meter, self.wheel.now_ms())
        self._slices = self._sweep.slices()
        self._seconds = 0.0
        self.position = entries[-1].id
        self._go_on()
        self._owed.pay()

    async def settled(self) -> None:
        """Wait until a tick is delivered to everyone whom it concerns."""
        if self._sweep is not None:
            self._settled = asyncio.get_running_loop().create_future()
            await self._settled

    def restarted(self, base: Cursor) -> None:
        """Let everyone at the tail read on by themselves: the window began anew at `base`."""
        live = [attachment for group in self._groups.values() for attachment in group.here()]
        for attachment in live:
            attachment.restart()
        self._end_sweep()
        self.position = base

    def _go_on(self) -> None:
        self._advance()
        if self._sweep is not None:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _advance(self) -> None:
        """Deliver one slice."""
        if self._sweep is None:
            return
        begun = time.perf_counter()
        goes_on = next(self._slices, _DONE) is not _DONE
        self._seconds += time.perf_counter() - begun
        if not goes_on:
            self.meter.ticked(self._seconds)
            self._end_sweep()

    def _end_sweep(self) -> None:
        self._sweep = None
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
        self._settled = None

    def _own(self, entries: Iterable[Entry]) -> dict[Group | None, Own]:
        """Find who sees entries of a tick by an exact scope."""
        found: dict[Group | None, Own] = {}
        for entry in entries:
            for attachment in self._scopes.get((entry.channel, entry.scope), ()):
                if attachment.state is State.LIVE and attachment.reader.interest.passes(entry):
                    found.setdefault(attachment.group, {}).setdefault(attachment, []).append(entry)
        return found

    # Attachments call these.

    def began(self, attachment: Attachment) -> None:
        """Know an attachment."""
        self._held.add(attachment)
        self.size += 1

    def position_of(self, attachment: Attachment) -> Cursor:
        """Return where an attachment at the tail stands."""
        owed, sweep = self._owed.cursor_of(attachment), self._sweep
        if owed is not None:
            return owed
        return sweep.since if sweep is not None and attachment in sweep.left else self.position

    def adopt(self, attachment: Attachment) -> None:
        """Take over an attachment that is at the tail."""
        common, own = share(attachment.reader.interest)
        key = Key(attachment.transport.name, common, attachment.is_even, attachment.crowd)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(attachment.transport, key)
        group.members[attachment] = attachment.exchange
        attachment.join(group)
        for scope in own:
            self._scopes.setdefault(scope, set()).add(attachment)

    def waits(self, attachment: Attachment) -> None:
        """Let a session's second waiting request end its first (PROTOCOL §4): from its first wait until its end."""
        if not attachment.plan.replaceable:
            return
        session = attachment.plan.session
        earlier = self._waiting.get(session)
        if earlier is not attachment:
            self._waiting[session] = attachment
            if earlier is not None:
                earlier.close("superseded")

    def ended(self, attachment: Attachment, *, was_away: bool = False) -> None:
        """Forget an attachment."""
        if attachment in self._held:
            self._held.discard(attachment)
            self.size -= not was_away
        self.wheel.disarm(attachment)
        if self._waiting.get(attachment.plan.session) is attachment:
            del self._waiting[attachment.plan.session]

    def release(self, attachment: Attachment) -> None:
        """Give an attachment back to itself."""
        group = attachment.leave_group()
        del group.members[attachment]
        self._owed.drop(attachment)
        if self._sweep is not None:
            self._sweep.withdraw(attachment, group)
        if not group.members:
            del self._groups[group.key]
        _, own = share(attachment.reader.interest)
        for scope in own:
            held = self._scopes[scope]
            held.discard(attachment)
            if not held:
                del self._scopes[scope]

    def owe(self, attachment: Attachment, since: Cursor) -> None:
        """Let one at the tail stand at an earlier cursor, until the next tick; or for so long, if there is none."""
        self._owed.owe((attachment,), since)
        self._owed.pay_within(CATCH_UP_MS)

    def close(self) -> None:
        """End every answer, and begin none any more; the clients come back with their cursors."""
        self.is_closed = True
        for attachment in self.attachments:
            attachment.close("gateway-closed")


_DONE = object()
