"""Steps that change which server has what, and who is led where."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.promise.scheduler.gateway import Gateway
    from tests.promise.scheduler.server import Server
    from tests.promise.scheduler.steps import Step
    from tests.promise.scheduler.world import World


async def snapshot(world: World, step: Step) -> str:
    """Keep what a server has, for a replica or a backup."""
    server = world.server(step.a) if step.b % 4 == 0 else world.primary
    world.snapshots.append(world.copy(server))
    return server.name


async def failover(world: World, step: Step) -> str:
    """Promote a replica that lagged, or did not; the old primary is a replica then, or goes on alone."""
    taken = world.snapshot(step.a) if step.b % 3 else world.copy(world.primary)
    if taken is None:
        return "no replica"
    old, world.primary = world.primary, world.other(world.primary)
    world.lay(world.primary, taken, is_loaded=step.b % 2 == 1)
    if step.b // 2 % 2:
        old.demote()
    await lead(world.gateways, world.primary, step.c)
    return f"to {world.primary.name}, with {len(taken.lineage.entries)} entries"


async def split(world: World, step: Step) -> str:
    """Promote a replica that has everything, for some gateways; the others stay."""
    other = world.other(world.primary)
    world.lay(other, world.copy(world.primary), is_loaded=True)
    there = [gateway for at, gateway in enumerate(world.gateways) if step.a >> at & 1]
    await lead(there, other, step.c)
    return f"{[gateway.name for gateway in there]} to {other.name}"


async def heal(world: World, step: Step) -> str:
    """Bring all gateways to one server; what only the other one has is given up."""
    world.primary = world.server(step.a)
    await lead(world.gateways, world.primary, step.c)
    return f"to {world.primary.name}"


async def go_back(world: World, step: Step) -> str:
    """Return with all gateways to the other server, as it was left."""
    world.primary = world.other(world.primary)
    await lead(world.gateways, world.primary, step.c)
    return f"to {world.primary.name}"


async def apart(world: World, step: Step) -> str:
    """Point a gateway's pool to one server, and its follower to another."""
    gateway, server = world.gateway(step.a), world.server(step.b)
    gateway.lead(server, world.other(server))
    if step.c % 2:
        await gateway.cut()
    return f"{gateway.name}'s pool to {server.name}"


async def crash(world: World, step: Step) -> str:
    """End a server's process, and begin another on its data, or on less."""
    server, taken = world.server(step.a), world.snapshot(step.b) if step.c % 2 else None
    if taken is not None:
        world.lay(server, taken)
    server.begin_process()
    await world.cut_off(server)
    return f"{server.name}{' with less' if taken else ''}"


async def restore(world: World, step: Step) -> str:
    """Put a snapshot under a process that runs."""
    server, taken = world.server(step.a), world.snapshot(step.b)
    if taken is None:
        return "no snapshot"
    world.lay(server, taken)
    return server.name


async def flush(world: World, step: Step) -> str:
    """Let a server lose all data."""
    server = world.server(step.a)
    world.lay(server, None)
    return server.name


async def lead(gateways: Iterable[Gateway], server: Server, how: int) -> None:
    """Point gateways to a server; their connections are cut in one of three cases."""
    for gateway in gateways:
        gateway.lead(server, server)
        if how % 3 == 0:
            await gateway.cut()
