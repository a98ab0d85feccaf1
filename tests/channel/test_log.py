"""The log: its ids, its epochs, its signs of life, and one event for one key."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from realtime.channel.event import EPOCH_SPAN, LARGEST, ORIGIN
from realtime.channel.log import Appended, Log
from realtime.errors import IdempotencyConflict
from tests.channel.events import EVERYONE, draft, publish
from tests.channel.model import NOON_MS, RETENTION_MS, ROOMY

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.channel.event import Draft
    from tests.channel.simulated import SimulatedServer

from tests.channel.rules import META, bodies, boundaries, good, links, log_of, replayed
from tests.support.waiting import until


class TestIds:
    """Rule 1."""

    async def test_increase_while_the_clock_stands_still(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        ids = [*await publish(log, "broadcast", "broadcast"), *await publish(log, "broadcast")]
        assert {id_.ms for id_ in ids} == {NOON_MS}
        assert [b.seq - a.seq for a, b in pairwise(ids)] == [1, 1]

    async def test_increase_when_the_clock_goes_back(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (first,) = await publish(log, "broadcast")
        simulated.set_clock(NOON_MS - 5_000)
        (second,) = await publish(log, "broadcast")
        assert first < second
        assert second.ms == NOON_MS

    async def test_tell_the_time_of_the_server(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast")
        simulated.set_clock(NOON_MS + 7)
        (id_,) = await publish(log, "broadcast")
        assert id_.ms == NOON_MS + 7

    async def test_go_on_in_the_next_millisecond_when_one_is_full(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (before,) = await publish(log, "broadcast")
        await simulated.client.hset(META, "n", str(EPOCH_SPAN - 1))
        (id_,) = await publish(log, "broadcast")
        assert id_.ms == before.ms + 1
        assert id_.epoch == before.epoch

    async def test_are_below_two_to_the_53_in_every_epoch(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        for _ in range(20):
            simulated.flush()
            (id_,) = await publish(log, "broadcast")
            assert id_.seq < LARGEST

    async def test_each_entry_names_the_one_before_it(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast", "user:1", "topic:a.b")
        await publish(log, "broadcast", channel="other")
        simulated.set_clock(NOON_MS + RETENTION_MS)
        await log.touch()
        found = await links(log)
        assert [link.previous for link in found] == [ORIGIN, *[link.entry.id for link in found[:-1]]]


class TestEpoch:
    """Rule 2."""

    async def test_a_new_log_begins_with_a_marker(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        pulse = await log.touch()
        ((entry, previous),) = await links(log)
        assert (entry.id, entry.stored, previous) == (pulse.tail, b"epoch", ORIGIN)
        assert entry.is_marker
        assert not entry.is_fence

    async def test_a_new_process_begins_another_one_and_keeps_the_old_cursors_good(
        self, simulated: SimulatedServer
    ) -> None:
        log = log_of(simulated)
        ids = await publish(log, "broadcast", "broadcast")
        await simulated.restart()
        (id_,) = await publish(log, "broadcast")
        assert id_.epoch != ids[0].epoch
        assert id_.ms > ids[0].ms
        assert await bodies(log) == [b"epoch", b"epoch"]
        assert [await good(log, cursor) for cursor in ids] == [True, True]
        assert await replayed(log, EVERYONE, ids[0]) == [ids[1], id_]

    async def test_a_flush_begins_another_one_and_no_older_cursor_is_good(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        ids = await publish(log, "broadcast", "broadcast")
        simulated.flush()
        pulse = await log.touch()
        assert pulse.tail.epoch != ids[0].epoch
        assert pulse.tail > ids[1]
        assert [await good(log, cursor) for cursor in ids] == [False, False]

    async def test_data_put_back_begins_another_one_though_the_process_is_the_same(
        self, simulated: SimulatedServer
    ) -> None:
        log = log_of(simulated)
        (kept,) = await publish(log, "broadcast")
        backup = simulated.copy()
        (lost,) = await publish(log, "broadcast")
        simulated.lay(backup)
        log = log_of(simulated)  # one that knows of no loss
        (id_,) = await publish(log, "broadcast")
        assert id_ > lost
        assert id_.epoch != lost.epoch
        assert [await good(log, cursor) for cursor in (kept, lost, id_)] == [True, False, True]

    async def test_two_successors_of_one_log_take_different_ones(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast")
        backup = simulated.copy()
        epochs = set()
        for _ in range(5):
            await publish(log, "broadcast")
            simulated.lay(backup)
            epochs.add((await log.touch()).tail.epoch)
        assert len(epochs) == 5

    async def test_a_successor_whose_clock_is_behind_goes_on_above_the_old_ids(
        self, simulated: SimulatedServer
    ) -> None:
        log = log_of(simulated)
        (before,) = await publish(log, "broadcast")
        simulated.set_clock(NOON_MS - 60_000)
        await simulated.restart()
        (id_,) = await publish(log, "broadcast")
        assert id_.ms > before.ms


class TestTouch:
    """Rule 6."""

    async def test_tells_the_tail_the_floor_and_the_time(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        began = (await log.touch()).tail
        (id_,) = await publish(log, "broadcast")
        assert (await log.touch())[:3] == (id_, began, NOON_MS)

    async def test_marks_a_log_that_was_idle_for_a_tenth_of_the_retention(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        (id_,) = await publish(log, "broadcast")
        simulated.set_clock(NOON_MS + RETENTION_MS // 10 - 1)
        assert (await log.touch()).tail == id_
        simulated.set_clock(NOON_MS + RETENTION_MS // 10)
        assert (await log.touch()).tail > id_
        assert await bodies(log) == [b"epoch", b"idle"]

    async def test_keeps_the_cursor_of_who_only_waits_young(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        cursor = (await log.touch()).tail
        for tenth in range(1, 41):
            simulated.set_clock(NOON_MS + tenth * RETENTION_MS // 10)
            assert await good(log, cursor)
            cursor = (await log.touch()).tail
        assert cursor.ms == NOON_MS + 4 * RETENTION_MS

    async def test_begins_the_log_anew_after_a_flush(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        await publish(log, "broadcast")
        simulated.flush()
        pulse = await log.touch()
        assert pulse.tail == pulse.floor
        assert await bodies(log) == [b"epoch"]

    async def test_forgets_caps_and_streams_that_decide_nothing_any_more(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated, scope_cap=1)
        await publish(log, "broadcast", "broadcast")
        await simulated.restart()
        await publish(log, "user:1", "user:1")
        kinds = {name.partition(":")[0] for name in await boundaries(simulated)}
        assert kinds == {"end", "cap", "held"}
        simulated.set_clock(NOON_MS + RETENTION_MS + 10)
        await log.touch()
        assert {name.partition(":")[0] for name in await boundaries(simulated)} == {"end", "held"}
        simulated.set_clock(NOON_MS + 2 * RETENTION_MS)
        await log.touch()
        assert {name.partition(":")[0] for name in await boundaries(simulated)} == {"end"}


class TestIdempotency:
    async def test_a_repeated_key_gives_the_first_id(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        ((first, _),) = await log.append([draft(key="k")], "ada")
        assert await log.append([draft(key="k")], "ada") == [(first, True)]
        assert await replayed(log, EVERYONE) == [first]

    async def test_twice_in_one_batch_the_second_repeats_the_first(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        first, other, second = await log.append([draft(1, key="k"), draft(2), draft(1, key="k")], "ada")
        assert second == (first.id, True)
        assert not other.duplicate
        assert await replayed(log, EVERYONE) == [first.id, other.id]

    @pytest.mark.parametrize(
        "batch",
        [[draft(2, key="k"), draft(3)], [draft(3), draft(2, key="k")], [draft(3), draft(1, "user:1", key="k")]],
        ids=["first", "last", "another scope"],
    )
    async def test_a_conflict_anywhere_in_a_batch_leaves_nothing_of_it(
        self, simulated: SimulatedServer, batch: list[Draft]
    ) -> None:
        log = log_of(simulated)
        ((first, _),) = await log.append([draft(1, key="k")], "ada")
        with pytest.raises(IdempotencyConflict) as caught:
            await log.append(batch, "ada")
        assert caught.value.problem()["index"] == next(n for n, one in enumerate(batch) if one.idempotency_key)
        assert (await log.touch()).tail == first

    async def test_a_conflict_within_a_batch_leaves_nothing_of_it(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        began = (await log.touch()).tail
        with pytest.raises(IdempotencyConflict) as caught:
            await log.append([draft(1, key="k"), draft(2), draft(3, key="k")], "ada")
        assert caught.value.problem()["index"] == 2
        assert (await log.touch()).tail == began
        assert (await log.append([draft(3, key="k")], "ada"))[0].duplicate is False

    async def test_a_key_belongs_to_its_publisher_and_channel(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        one = [draft(key="k")]
        answers = [await log.append(one, "ada"), await log.append(one, "bob"), await log.append(one)]
        answers.append(await log.append([draft(channel="other", key="k")], "ada"))
        assert [answer.duplicate for (answer,) in answers] == [False] * 4

    async def test_a_key_is_free_again_after_its_time(self, redis: Redis) -> None:
        log = Log(redis, replace(ROOMY, idempotency_ms=60))
        ((first, _),) = await log.append([draft(key="k")], "ada")
        answers: list[Appended] = []

        async def is_free() -> bool:
            answers.extend(await log.append([draft(key="k")], "ada"))
            return not answers[-1].duplicate

        await until(is_free)
        assert {answer.id for answer in answers[:-1]} <= {first}
        assert answers[-1].id.ms >= first.ms + 60

    async def test_events_without_a_key_are_never_the_same(self, simulated: SimulatedServer) -> None:
        log = log_of(simulated)
        ids = [one.id for one in await log.append([draft(1), draft(1)], "ada")]
        assert await replayed(log, EVERYONE) == ids
