"""The kernel by itself: the ten rules over random incarnations of the log, against two real servers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pytest

from realtime.errors import GaplessError
from tests.channel.model import CAPPED, ENDLESS, HEAVY, INTERESTS, PLACES, RETENTION_MS, ROOMY, World
from tests.channel.simulated import SimulatedServer
from tests.support.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from realtime.channel.log import Limits

Numbers = tuple[int, int, int]
Operation = Callable[[World, Numbers], Awaitable[None]]
Step = tuple[str, Numbers]

_PAUSES_MS = (1, 1, 10, 100, RETENTION_MS // 10, RETENTION_MS // 3)
_JUMPS_MS = (-3 * RETENTION_MS, -2_000, -5, 5, 2_000, 3 * RETENTION_MS)
_EARLIER_COPIES = 3
_LENGTH = 60
RUNS = {"valkey": 30, "redis": 6}
"""How many programs of each world; 14,000 of 80 steps were run once, on the kernel as it is."""


async def publish(world: World, numbers: Numbers) -> None:
    at, place, more = numbers
    places = [(place + n * n) % len(PLACES) for n in range(1 + more % 4)]
    keys = [f"key-{world.step}-{n}" if more % 3 == 0 else "" for n in range(len(places))]
    drafts = [world.draft(place, key) for place, key in zip(places, keys, strict=True)]
    await world.publish(world.gateway(at), drafts)


async def publish_again(world: World, numbers: Numbers) -> None:
    at, which, _ = numbers
    drafts = list(world.drafts.values())
    if drafts:
        await world.publish(world.gateway(at), [drafts[which % len(drafts)]])


async def publish_unheard(world: World, numbers: Numbers) -> None:
    at, place, _ = numbers
    await world.publish_unheard(world.history(at), [world.draft(place % len(PLACES))])


async def tick(world: World, numbers: Numbers) -> None:
    await world.gateway(numbers[0]).tick()


async def touch(world: World, numbers: Numbers) -> None:
    await world.gateway(numbers[0]).touch()


async def touch_all(world: World, _: Numbers) -> None:
    for gateway in world.gateways:
        await gateway.touch()
        await gateway.tick()


async def visit(world: World, numbers: Numbers) -> None:
    which, at, parts = numbers
    await world.visit(world.clients[which % len(world.clients)], world.gateway(at), parts=1 + parts % 4)


async def visit_all(world: World, numbers: Numbers) -> None:
    for number, client in enumerate(world.clients):
        await world.visit(client, world.gateway(number + numbers[0]))


async def join(world: World, numbers: Numbers) -> None:
    which, at, earliest = numbers
    client = world.join(INTERESTS[which % len(INTERESTS)], earliest=earliest % 2 == 1)
    await world.visit(client, world.gateway(at), parts=1)


async def pass_time(world: World, numbers: Numbers) -> None:
    world.pass_time(_PAUSES_MS[numbers[0] % len(_PAUSES_MS)])


async def live_on(world: World, numbers: Numbers) -> None:
    await world.live_on(_PAUSES_MS[numbers[0] % len(_PAUSES_MS)])


async def outlive(world: World, _: Numbers) -> None:
    await world.live_on(RETENTION_MS + 1)


async def restart(world: World, numbers: Numbers) -> None:
    if world.restarts < 1:
        await world.restart(world.history(numbers[0]))


async def move(world: World, numbers: Numbers) -> None:
    at, to, _ = numbers
    world.gateway(at).move(world.history(to))


async def move_all(world: World, numbers: Numbers) -> None:
    for gateway in world.gateways:
        gateway.move(world.history(numbers[0]))


async def take_copy(world: World, numbers: Numbers) -> None:
    world.take_copy(world.history(numbers[0]))


async def lay_copy(world: World, numbers: Numbers) -> None:
    which, at, _ = numbers
    if world.snapshots:
        recent = world.snapshots[-_EARLIER_COPIES:]
        world.lay(recent[which % len(recent)], world.history(at))


async def replicate(world: World, numbers: Numbers) -> None:
    world.take_copy(world.history(numbers[0]))
    world.lay(world.snapshots.pop(), world.history(numbers[0] + 1))


async def flush(world: World, numbers: Numbers) -> None:
    world.flush(world.history(numbers[0]))


async def set_clock(world: World, numbers: Numbers) -> None:
    at, jump, _ = numbers
    history = world.history(at)
    history.server.set_clock(history.server.now_ms + _JUMPS_MS[jump % len(_JUMPS_MS)])
    await world.touch(history)


async def replace_gateway(world: World, numbers: Numbers) -> None:
    world.replace_gateway(numbers[0] % len(world.gateways))


async def reconfigure(world: World, numbers: Numbers) -> None:
    """Roll out another retention: for a while some gateways have the one, some the other."""
    at, retention, _ = numbers
    world.replace_gateway(at % len(world.gateways), (RETENTION_MS // 5, RETENTION_MS)[retention % 2])


PLAIN: dict[Operation, int] = {
    publish: 30,
    publish_again: 3,
    publish_unheard: 3,
    tick: 15,
    touch: 5,
    touch_all: 4,
    visit: 40,
    visit_all: 5,
    join: 2,
    pass_time: 10,
}
FORGETFUL: dict[Operation, int] = {**PLAIN, pass_time: 20, replace_gateway: 1, reconfigure: 4}
CLOCKED: dict[Operation, int] = {**PLAIN, pass_time: 0, live_on: 15}
LAGGING: dict[Operation, int] = {**CLOCKED, move_all: 4, replicate: 4, set_clock: 4}
PERILOUS: dict[Operation, int] = {
    **CLOCKED,
    move: 4,
    move_all: 4,
    take_copy: 3,
    lay_copy: 2,
    replicate: 3,
    flush: 1,
    outlive: 1,
    set_clock: 2,
    replace_gateway: 1,
    reconfigure: 1,
}
OPERATIONS = {operation.__name__: operation for operation in (*PERILOUS, restart)}
WORLDS = {
    "caps": (FORGETFUL, CAPPED),
    "bytes": (FORGETFUL, HEAVY),
    "lag": (LAGGING, ROOMY),
    "lag and caps": (LAGGING, CAPPED),
    "everything": (PERILOUS, CAPPED),
    "everything but room": (PERILOUS, HEAVY),
    "everything and crashes": ({**PERILOUS, restart: 2}, CAPPED),
}


def program(seed: int, weights: dict[Operation, int], length: int) -> list[Step]:
    """Draw the steps of one run."""
    chance = random.Random(seed)
    names = [operation.__name__ for operation in weights]
    drawn = chance.choices(names, weights=list(weights.values()), k=length)
    return [(name, (chance.randrange(12), chance.randrange(12), chance.randrange(12))) for name in drawn]


def smallest(steps: list[Step], fails: Callable[[list[Step]], object]) -> list[Step]:
    """Take away steps, many at once and then one by one, as long as the rest still fails."""
    size = len(steps)
    while size:
        at = 0
        while at < len(steps):
            fewer = steps[:at] + steps[at + size :]
            if fails(fewer):
                steps = fewer
            else:
                at += size
        size //= 2
    return steps


class Ground:
    """Two servers for many runs, and the loop that their clients live in."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.kind = kind
        self._runner = asyncio.Runner()
        # An append-only file that a crash can't shorten: what is acknowledged is there after a restart.
        self._servers = [RedisServer(directory / name, kind, ("--appendfsync", "no")) for name in ("a", "b")]
        for server in self._servers:
            self._runner.run(server.start())
        self._simulated = [SimulatedServer(server) for server in self._servers]

    def play(self, program: Sequence[Step], limits: Limits, ends: Sequence[int]) -> World:
        """Run a program in a world of its own, and let everybody settle on these servers in turn."""
        world = World(self._simulated, limits)
        self._runner.run(_play(world, program, ends))
        return world

    def close(self) -> None:
        for simulated in self._simulated:
            self._runner.run(simulated.close())
        for server in self._servers:
            server.stop()
        self._runner.close()


async def _play(world: World, program: Sequence[Step], ends: Sequence[int]) -> None:
    await touch_all(world, (0, 0, 0))
    for which in range(len(INTERESTS)):
        await join(world, (which, 0, 0))
    for name, numbers in program:
        world.step += 1
        await OPERATIONS[name](world, numbers)
    for end in ends:
        await world.settle(world.history(end))


@pytest.fixture(scope="module", params=["valkey", "redis"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    ground = Ground(tmp_path_factory.mktemp("ground"), request.param)
    yield ground
    ground.close()


def check_runs(ground: Ground, weights: dict[Operation, int], limits: Limits, *, lossless: bool) -> None:
    """Play programs; when one fails, cut it down and show it."""

    def failure(steps: Sequence[Step], last: int) -> str:
        try:
            world = ground.play(steps, limits, [0] if lossless else [last, 1 - last])
        except (AssertionError, GaplessError) as error:
            return str(error)
        return f"told {world.truncations} times" if lossless and world.truncations else ""

    for seed in range(RUNS[ground.kind]):
        steps, last = program(seed, weights, _LENGTH), seed % 2
        if failure(steps, last):
            least = smallest(steps, partial(failure, last=last))
            shown = "\n".join(f"    {step}" for step in least)
            pytest.fail(f"seed {seed}: {failure(least, last)}\n{shown}", pytrace=False)


@pytest.mark.parametrize("world", WORLDS)
def test_whatever_becomes_of_the_servers_no_event_is_missed_in_silence(ground: Ground, world: str) -> None:
    weights, limits = WORLDS[world]
    check_runs(ground, weights, limits, lossless=False)


def test_while_nothing_is_lost_nobody_is_told_so(ground: Ground) -> None:
    check_runs(ground, {**PLAIN, restart: 1}, ENDLESS, lossless=True)
