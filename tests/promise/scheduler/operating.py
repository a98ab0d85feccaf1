"""Steps of operators, and of the followers of the control log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.errors import PreconditionFailed

if TYPE_CHECKING:
    from tests.promise.scheduler.steps import Step
    from tests.promise.scheduler.world import World

SUBJECTS: Final = ("ada", "ben", "cyd")
_NONE: Final = "no control plane"


async def hear(world: World, step: Step) -> str:
    """Have a gateway hear what operators did."""
    gateway = world.gateway(step.a)
    if gateway.plane is None:
        return _NONE
    await world.seen(gateway, gateway.plane.hear())
    return f"{gateway.name} has {sorted(gateway.plane.changes)}"


async def touch_control(world: World, step: Step) -> str:
    """Have a gateway touch the control log."""
    gateway = world.gateway(step.a)
    if gateway.plane is None:
        return _NONE
    await world.seen(gateway, gateway.plane.touch())
    return gateway.name


async def change(world: World, step: Step) -> str:
    """Change the policy at a gateway."""
    gateway, number = world.gateway(step.a), world.number()
    if gateway.plane is None:
        return _NONE
    try:
        changes = await gateway.plane.change(number)
    except PreconditionFailed:
        return f"{gateway.name}: somebody was first"
    finally:
        world.observe(gateway)
    world.decrees.change(number, changes)
    return f"{gateway.name} at {gateway.pool.connected.name}: {number} makes {sorted(changes)}"


async def revoke(world: World, step: Step) -> str:
    """Refuse a subject."""
    gateway, name = world.gateway(step.a), SUBJECTS[step.b % len(SUBJECTS)]
    if gateway.plane is None:
        return _NONE
    try:
        await gateway.plane.revoke(name)
    finally:
        world.observe(gateway)
    world.decrees.revoke(gateway.name, (name, gateway.plane.revocations.get(name, "")))
    return f"{gateway.name} at {gateway.pool.connected.name}: {name}"


async def lift(world: World, step: Step) -> str:
    """Refuse a subject no longer."""
    gateway, name = world.gateway(step.a), SUBJECTS[step.b % len(SUBJECTS)]
    if gateway.plane is None:
        return _NONE
    world.decrees.lift(name)
    try:
        await gateway.plane.lift(name)
    finally:
        world.observe(gateway)
        world.decrees.lift(name)
    return f"{gateway.name} at {gateway.pool.connected.name}: {name}"
