"""What must not pass: each takes one rule away, from the kernel's text or from one of the parts in Python.

A text that the kernel does not have, once, is an error: a mutation that changes nothing proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from realtime.channel.follower import Follower
from realtime.channel.log import Log
from realtime.channel.reader import Reader
from realtime.channel.window import Batch, Window
from realtime.revisions import Revisions
from realtime.witnesses import Witnesses
from tests.promise.scheduler.gateway import Parts
from tests.promise.scheduler.steps import Theme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from redis.asyncio import Redis

    from realtime.channel.event import Cursor, Interest
    from realtime.channel.log import Link
    from realtime.channel.reader import Part
    from realtime.revision import Revision


@dataclass(frozen=True)
class Mutation:
    """One rule taken away: what it breaks, and how."""

    name: str
    breaks: str
    kernel: tuple[tuple[str, str], ...] = ()
    parts: Parts = field(default_factory=Parts)
    theme: Theme = field(default_factory=Theme)
    """Where it shows soonest."""


class _BlindLog(Log):
    def witness(self, id_: Cursor) -> None:
        """Remember nothing."""


class _ForgetfulWitnesses(Witnesses):
    def _files(self) -> list[Path]:
        """Find nothing."""
        return []


class _ChainlessFollower(Follower):
    def _take(self, links: Sequence[Link]) -> None:
        self._extend([link.entry for link in links])


class _LateFollower(Follower):
    async def read_on(self, connection: Redis, block_ms: int | None) -> bool:
        """Take what comes, whatever epoch begins."""
        if self._refill:
            await self._fill()
        links = await self.log.follow(connection, self.window.position, block_ms, 1_000)
        if links:
            self._take(links)
        return bool(links)


class _DeafFollower(Follower):
    def _listen(self, links: Sequence[Link], awaited: Cursor) -> None:
        """Notice nothing."""


class _HoldingWindow(Window):
    def holds(self, cursor: Cursor) -> bool:
        """Take any position within the window's for one of its own."""
        return self.base <= cursor <= self.position


class _HastyWindow(Window):
    def read(self, interest: Interest, after: Cursor, limit: int) -> Batch:
        """Go to the end, whatever the limit left out."""
        batch = super().read(interest, after, limit)
        return Batch(batch.entries, self.position, more=False)


class _HastyReader(Reader):
    __slots__ = ()

    async def fetch(self, limit: int, *, wait: bool) -> Part:
        """Go to where the window takes over, whatever the limit left out."""
        part = await super().fetch(limit, wait=wait)
        if part.entries:
            self.cursor = max(self.cursor, self._follower.window.position)
        return part


class _DeafReader(Reader):
    __slots__ = ()

    def _truncate(self, replay: Any) -> Part:  # noqa: ANN401 - a replay
        part = super()._truncate(replay)
        return part._replace(truncation=None)


class _StubbornRevisions(Revisions):
    def _is_lost_after(self, newest: Revision) -> bool:
        return newest.number < self.current.number


MUTATIONS: Final = (
    Mutation(
        "rule 1: the id comes from the clock",
        "a clock that goes back makes an id that is not above the last",
        (("if log.now > log.ms then", "if log.now ~= log.ms then"),),
    ),
    Mutation(
        "rule 2: a process goes on in another's epoch",
        "two logs have the same ids for different events",
        (
            (
                """return log.run ~= process or not ms or log.ms < ms
    or (log.ms == ms and log.epoch * SPAN + log.n < newest_seq[log.born])""",
                "return false",
            ),
        ),
    ),
    Mutation(
        "rule 2: an epoch's number is not random",
        "two successors of one log draw the same number",
        (("redis.sha1hex(process .. ' ' .. time[1] .. ' ' .. time[2] .. ' ' .. previous", "redis.sha1hex(previous"),),
    ),
    Mutation(
        "rule 3: an ended epoch has no end",
        "a cursor after the loss is good",
        (("return stop and not below(stop, id)", "return stop"),),
    ),
    Mutation(
        "rule 3: there is no floor",
        "a cursor below a fence or a cut is good",
        (("(is_here(log, cursor) and not below(cursor, floor))", "is_here(log, cursor)"),),
    ),
    Mutation(
        "rule 3: a cap is no boundary",
        "a cursor below what a cap has cut is good",
        (("if boundary and below(floor, boundary) then", "if false then"),),
        theme=Theme(bound="caps"),
    ),
    Mutation(
        "rule 5: no fence",
        "nobody is told of what was lost",
        (("  if not log.is_new then\n    fence(log)\n  end\n", ""),),
    ),
    Mutation(
        "rule 5, H8: an epoch is fenced once",
        "what was acknowledged after the first fence, on the lost side, is not told",
        (("return not said or below(said, witness)", "return not said"),),
    ),
    Mutation(
        "rule 5: a loss is fenced again and again",
        "clients are told what they were told",
        (("return not said or below(said, witness)", "return true"),),
    ),
    Mutation(
        "rule 9: where a cap has cut is not kept",
        "a cursor below it is good",
        (("redis.call('HSET', log.meta, 'cap:' .. field, last)\n", ""),),
        theme=Theme(bound="caps"),
    ),
    Mutation(
        "rule 9: the bound in bytes does not raise the floor",
        "a cursor below it is good",
        (("    log.floor = last\n", ""),),
        theme=Theme(bound="bytes"),
    ),
    Mutation(
        "a topic's events are not in the channel's topic stream",
        "who reads patterns from the log misses them",
        (("  if is_topic(scope) then\n    local all", "  if false then\n    local all"),),
    ),
    Mutation(
        "a request's reply is not kept",
        "a retry after a lost reply appends again",
        (("  redis.call('SET', request, answer, 'PX', args[7])\n", ""),),
    ),
    Mutation(
        "an idempotency key is not kept",
        "a repeated publish appends again",
        (("redis.call('SET', log.base .. 'once ' .. once, id .. ' ' .. args[at + 4], 'PX', args[8])", "local _"),),
    ),
    Mutation(
        "H5: nobody asks what a server does when its memory is full",
        "one that evicts is vouched for",
        (("policy = string.match(redis.call('INFO', 'memory'), 'maxmemory_policy:(%S+)')", "policy = 'noeviction'"),),
        theme=Theme(("evict", "touch")),
    ),
    Mutation(
        "H6: touch is refused when memory is full",
        "the log can't relieve itself",
        (("callback = touch, flags = { 'allow-oom' }", "callback = touch"),),
    ),
    Mutation(
        "H7: what failed midway is not taken back",
        "a part of a batch is in the log",
        (("    undo(log, before, args, found, ids)\n", ""),),
    ),
    Mutation("rule 5: a gateway witnesses nothing", "nobody is told of what was lost", parts=Parts(log=_BlindLog)),
    Mutation(
        "rule 4: the chain is not checked",
        "a window has a hole, or what was lost",
        parts=Parts(follower=_ChainlessFollower),
    ),
    Mutation(
        "at once: an epoch's first entries are followed untouched",
        "a client is given what comes after a loss, and told of it later",
        parts=Parts(follower=_LateFollower),
    ),
    Mutation(
        "H1: a pool stays with a demoted server",
        "all writes are refused",
        parts=Parts(leaves=False),
    ),
    Mutation(
        "H3: a follower does not notice that it is deaf", "it follows nothing", parts=Parts(follower=_DeafFollower)
    ),
    Mutation(
        "seam: the window holds any position between its ends",
        "a cursor of another log is read on from",
        parts=Parts(window=_HoldingWindow),
        theme=Theme(("split", "heal", "go_back", "failover"), "nothing"),
    ),
    Mutation(
        "H4: a gateway that starts does not read what was written down",
        "nobody remembers what all gateways saw before they restarted",
        parts=Parts(witnesses=_ForgetfulWitnesses),
        theme=Theme(("restart", "restart_all", "failover")),
    ),
    Mutation("seam: the window forgets the limit", "events beyond it are left out", parts=Parts(window=_HastyWindow)),
    Mutation("seam: the reader forgets the limit", "events beyond it are left out", parts=Parts(reader=_HastyReader)),
    Mutation("seam: a truncation is not told", "a client goes on at the tail", parts=Parts(reader=_DeafReader)),
    Mutation(
        "H2: what is in force is put back whatever came instead",
        "an acknowledged change is undone",
        parts=Parts(revisions=_StubbornRevisions),
        theme=Theme(("change", "split", "heal", "hear")),
    ),
)
