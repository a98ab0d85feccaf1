"""Steps that break something: connections, answers, clocks, gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.promise.scheduler.line import Line
    from tests.promise.scheduler.steps import Step
    from tests.promise.scheduler.world import World

_PASSES_MS: Final = (0, 1, 50, 700, 1_000, 3_000, 12_000)
_STEPS_MS: Final = (1, 30, 800, 2_500, 15_000)


async def lose_reply(world: World, step: Step) -> str:
    """Lose one of a gateway's next replies: what was asked for is done."""
    _line(world, step).lose_reply(1 + step.c % 3)
    return ""


async def lose_request(world: World, step: Step) -> str:
    """Lose one of a gateway's next requests: what was asked for is not done."""
    _line(world, step).lose_request(1 + step.c % 3)
    return ""


async def cut(world: World, step: Step) -> str:
    """Cut a gateway's connections."""
    gateway = world.gateway(step.a)
    await gateway.cut()
    return gateway.name


async def fill(world: World, step: Step) -> str:
    """Let a server be out of memory: it answers with errors."""
    server = world.server(step.a)
    server.fill()
    return server.name


async def demote(world: World, _: Step) -> str:
    """Make the server that is not the primary a replica: it answers writes with errors."""
    server = world.other(world.primary)
    server.demote()
    return server.name


async def evict(world: World, step: Step) -> str:
    """Restart a server as one that evicts when its memory is full: it has enough, and never does."""
    server = world.server(step.a)
    server.evict()
    await world.cut_off(server)
    return server.name


async def recover(world: World, _: Step) -> str:
    """Let servers answer without errors again."""
    for server in world.servers:
        server.heal()
    return ""


async def restart(world: World, step: Step) -> str:
    """Restart a gateway."""
    return await world.renew(step.a % len(world.gateways), is_killed=step.b % 3 == 0)


async def restart_all(world: World, step: Step) -> str:
    """Restart all gateways."""
    places = range(len(world.gateways))
    return ", ".join([await world.renew(at, is_killed=(step.b + at) % 3 == 0) for at in places])


async def pass_time(world: World, step: Step) -> str:
    """Let time pass on all clocks."""
    ms = _PASSES_MS[step.a % len(_PASSES_MS)]
    for server in world.servers:
        world.set_clock(server, server.now_ms + ms)
    return f"{ms} ms"


async def clock_back(world: World, step: Step) -> str:
    """Step a server's clock back."""
    return _shift(world, step, -1)


async def clock_ahead(world: World, step: Step) -> str:
    """Step a server's clock ahead."""
    return _shift(world, step, 1)


def _shift(world: World, step: Step, sign: int) -> str:
    server, ms = world.server(step.a), sign * _STEPS_MS[step.b % len(_STEPS_MS)]
    world.set_clock(server, server.now_ms + ms)
    return f"{server.name} by {ms} ms"


def _line(world: World, step: Step) -> Line:
    gateway = world.gateway(step.a)
    return gateway.following if step.b % 3 == 0 else gateway.pool
