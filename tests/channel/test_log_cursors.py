"""Which cursors can be resumed (rule 3), and who is told what the log has lost (rule 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import ORIGIN, Cursor
from tests.channel.events import EVERYONE, other_epoch, publish
from tests.channel.model import NOON_MS, RETENTION_MS, ROOMY

if TYPE_CHECKING:
    from realtime.channel.log import Log
    from tests.channel.simulated import SimulatedServer

from tests.channel.rules import bodies, good, links, log_of


class TestCursor:
    """Rule 3: when it can be resumed."""

    async def test_of_the_current_epoch_is_good_up_to_the_tail(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        assert await good(log, id_)
        assert not await good(log, id_._replace(seq=id_.seq + 1))
        assert not await good(log, id_._replace(ms=id_.ms + 1))

    async def test_of_an_ended_epoch_is_good_up_to_its_end(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        await simulated.restart()
        await publish(log, "broadcast")
        assert await good(log, id_)
        assert not await good(log, id_._replace(seq=id_.seq + 1))

    async def test_of_an_epoch_that_the_log_never_had_is_not(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        first, _ = await publish(log, "broadcast", "broadcast")
        assert not await good(log, other_epoch(first))

    async def test_before_the_log_began_is_not(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        verdict = await log.check(ORIGIN)
        assert not verdict.good
        assert verdict.floor == verdict.tail

    async def test_younger_than_the_retention_is_good_and_older_is_not(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        old, _ = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + 5_000)
        young, _ = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + RETENTION_MS)
        assert await good(log, old)
        simulated.set_clock(NOON_MS + RETENTION_MS + 1)
        verdict = await log.check(old)
        assert not verdict.good
        assert verdict.floor == young
        assert await good(log, young)

    async def test_that_is_the_tail_is_good_however_old(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        simulated.set_clock(NOON_MS + 10 * RETENTION_MS)
        assert await good(log, id_)

    async def test_is_good_from_the_floor_on_which_is_the_id_of_an_entry(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast")
        floor = (await log.check(ORIGIN)).floor
        ((first, _), *_) = await links(log)
        assert floor == first.id
        assert await good(log, floor)

    async def test_stays_bad_when_the_clock_goes_back(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        old, _ = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + 2 * RETENTION_MS)
        await log.touch()
        simulated.set_clock(NOON_MS)
        assert not await good(log, old)

    async def test_older_than_a_predecessor_kept_is_bad_on_a_successor_whose_clock_is_behind(
        self, simulated: SimulatedServer
    ) -> None:
        log = log_of(simulated)
        old, _ = await publish(log, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + RETENTION_MS + 1)
        await publish(log, "broadcast")
        simulated.set_clock(NOON_MS + RETENTION_MS - 5_000)
        await simulated.restart()
        assert not await good(log, old)

    async def test_older_than_a_shorter_retention_is_bad_after_that_was_raised(
        self, simulated: SimulatedServer
    ) -> None:
        short, long = log_of(simulated, retention_ms=1_000), log_of(simulated)
        old, _ = await publish(short, "broadcast", "user:1")
        simulated.set_clock(NOON_MS + 500)
        assert await good(long, old)
        (young,) = await publish(long, "broadcast")
        await publish(long, "broadcast")
        simulated.set_clock(NOON_MS + 3_000)
        assert not await good(long, old)
        assert await good(long, young)

    async def test_is_judged_by_the_raised_retention_once_that_has_passed(self, simulated: SimulatedServer) -> None:
        short, long = log_of(simulated, retention_ms=1_000), log_of(simulated)
        await publish(short, "broadcast")
        simulated.set_clock(NOON_MS + RETENTION_MS + 2)
        (id_, _) = await publish(long, "broadcast", "broadcast")
        simulated.set_clock(NOON_MS + 2 * RETENTION_MS)
        assert await good(long, id_)
        simulated.set_clock(NOON_MS + 2 * RETENTION_MS + 3)
        assert not await good(long, id_)


class TestFence:
    """Rule 5: what somebody knew, and the log has lost."""

    async def fail_over(self, simulated: SimulatedServer, log: Log) -> tuple[Cursor, Cursor]:
        """Lose the second of two events; return their ids."""
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        (lost,) = await publish(log, "broadcast")
        simulated.lay(backup)
        return kept, lost

    async def test_those_before_what_was_lost_are_told(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        kept, _ = await self.fail_over(simulated, log)
        assert await good(log_of(simulated), kept), "by a gateway that knows of no loss"
        assert (await log.touch()).fenced
        assert not await good(log_of(simulated), kept)
        fence, *_ = await log.backwards(None, 1)
        assert fence.entry.is_fence
        assert (await log.check(fence.entry.id)).floor == fence.entry.id

    async def test_whatever_call_comes_first_tells_them(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        kept, _ = await self.fail_over(simulated, log)
        assert not await good(log, kept), "the judge touches first"
        kept, _ = await self.fail_over(simulated, log)
        (after,) = await publish(log, "broadcast")
        assert not await good(log_of(simulated), kept), "the append said it"
        *_, fence, event = await links(log)
        assert (fence.entry.is_fence, event.entry.id) == (True, after)

    async def test_nothing_is_said_when_nothing_was_lost(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        await simulated.restart()
        assert not (await log.touch()).fenced
        assert await good(log, id_)

    async def test_it_is_said_once_whoever_knew(self, simulated: SimulatedServer) -> None:
        log, other, late = log_of(simulated), log_of(simulated), log_of(simulated)
        _, lost = await self.fail_over(simulated, log)
        other.witness(lost)
        late.witness(lost)
        assert (await log.touch()).fenced
        simulated.set_clock(NOON_MS + 500)
        assert not (await late.touch()).fenced
        assert not (await other.touch()).fenced
        assert not (await log.touch()).fenced
        assert await bodies(log) == [b"epoch", b"epoch", b"fence"]

    @pytest.mark.parametrize("step_ms", [-800, 0, 1_000])
    async def test_what_was_known_after_it_was_said_is_said_again(
        self, simulated: SimulatedServer, step_ms: int
    ) -> None:
        """A split brain: the old server takes events after the new one's fence, and then its gateways move too.

        The clock decides nothing: it stepped back meanwhile, or stands still.
        """
        log, isolated = log_of(simulated), log_of(simulated)
        _, lost = await self.fail_over(simulated, log)
        assert (await log.touch()).fenced
        (told,) = await publish(log, "broadcast")
        simulated.set_clock(NOON_MS + step_ms)
        isolated.witness(lost._replace(seq=lost.seq + 1))
        assert (await isolated.touch()).fenced
        assert not await good(log, told)

    async def test_a_lower_witness_says_nothing_more(self, simulated: SimulatedServer) -> None:
        log, other = log_of(simulated), log_of(simulated)
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        lower, _ = await publish(log, "broadcast", "broadcast")
        other.witness(lower)
        simulated.lay(backup)
        assert (await log.touch()).fenced
        (told,) = await publish(log, "broadcast")
        assert not (await other.touch()).fenced
        assert (await good(log, told), await good(log, kept)) == (True, False)

    async def test_it_is_said_on_a_log_that_a_gateway_comes_back_to(self, simulated: SimulatedServer) -> None:
        """The other server began empty and took events; the first one is still in its first epoch."""
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        log.witness(other_epoch(id_))
        assert (await log.touch()).fenced
        assert not await good(log, id_)

    async def test_nothing_is_said_of_what_was_known_before_a_flush(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast")
        simulated.flush()
        assert not (await log.touch()).fenced
        assert await bodies(log) == [b"epoch"]

    async def test_nothing_is_said_of_what_was_here_however_long_ago(self, simulated: SimulatedServer) -> None:
        log, late = log_of(simulated), log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        late.witness(id_)
        for days in (1, 2):
            simulated.set_clock(NOON_MS + days * 86_400_000)
            await simulated.restart()
            await log.touch()
        assert not (await late.touch()).fenced

    async def test_it_is_said_by_a_server_whose_clock_is_ahead_by_more_than_the_retention(
        self, simulated: SimulatedServer
    ) -> None:
        log, isolated, third = log_of(simulated), log_of(simulated), log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        for witness in (isolated, third):
            witness.witness(other_epoch(id_))
        simulated.set_clock(NOON_MS + 2 * RETENTION_MS)
        (told,) = await publish(log, "broadcast")
        assert (await isolated.touch()).fenced
        assert not await good(log, told)
        await log.touch()
        assert not (await third.touch()).fenced

    async def test_what_was_said_is_said_again_when_it_is_lost_itself(self, simulated: SimulatedServer) -> None:
        """The first successor fails with its fence; the second one has as little as the first one had."""
        log = log_of(simulated)
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        await publish(log, "broadcast")
        for _ in range(2):
            simulated.lay(backup)
            assert (await log.touch()).fenced
            assert not await good(log, kept)

    async def test_what_was_known_is_not_forgotten_when_the_log_does_not_answer(
        self, simulated: SimulatedServer
    ) -> None:
        log = log_of(simulated)
        kept, lost = await self.fail_over(simulated, log)
        # The function is called with a retention that is no number: an error, as a failing server gives.
        broken, log._limits = log._limits, replace(ROOMY, retention_ms="x")  # type: ignore[arg-type]  # noqa: SLF001
        with pytest.raises(Exception, match="log does not answer"):
            await log.touch()
        assert log.witnesses == [lost]
        log._limits = broken  # noqa: SLF001
        assert (await log.touch()).fenced
        assert not await good(log, kept)

    async def test_a_process_that_went_back_with_its_data_is_found_out(self, simulated: SimulatedServer) -> None:
        """A machine's snapshot was restored: the server remembers nothing, and its epoch goes on past what is lost."""
        log, other = log_of(simulated), log_of(simulated)
        kept, lost = await publish(log, "broadcast", "broadcast")
        await simulated.client.xdel(log.key, str(lost))
        (after,) = await publish(other, "broadcast")
        assert await good(other, lost), "its epoch got past it"
        pulse = await log.touch()
        assert pulse.fenced
        assert pulse.tail.epoch != after.epoch
        assert [await good(other, cursor) for cursor in (kept, lost, after)] == [False] * 3

    async def test_of_an_epoch_that_goes_on_a_loss_ends_it(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        beyond = id_._replace(seq=id_.seq + 3)
        log.witness(beyond)
        assert (await log.touch()).fenced
        ids = await publish(log, *["broadcast"] * 5)
        assert {one.epoch for one in ids}.isdisjoint({id_.epoch})
        assert not await good(log, beyond)

    async def test_a_loss_that_nobody_knows_the_extent_of_is_said_each_time(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        for _ in range(2):
            (id_,) = await publish(log, "broadcast")
            assert (await log.mistrust()).fenced
            assert not await good(log, id_)


class TestStrangeCursor:
    """Of a log that shares a part of this one's past."""

    async def test_is_put_at_a_marker_of_its_own(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (shared,) = await publish(log, "broadcast")
        verdict = (await log.replay(EVERYONE, other_epoch(shared), shared, 10)).verdict
        assert not verdict.good
        assert verdict.tail > shared
        assert await good(log, verdict.tail)
        assert await bodies(log) == [b"epoch", b"idle"]

    async def test_of_one_epoch_costs_one_marker(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (shared,) = await publish(log, "broadcast")
        for _ in range(3):
            await log.replay(EVERYONE, other_epoch(shared), shared, 10)
        assert await bodies(log) == [b"epoch", b"idle"]

    async def test_keeps_no_loss_of_its_epoch_from_being_said(self, simulated: SimulatedServer) -> None:
        log, other = log_of(simulated), log_of(simulated)
        (shared,) = await publish(log, "broadcast")
        await log.replay(EVERYONE, other_epoch(shared), shared, 10)
        other.witness(other_epoch(shared))
        assert (await other.touch()).fenced
