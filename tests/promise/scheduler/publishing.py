"""Steps of publishers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.channel.event import Draft, stored_envelope, stored_type
from realtime.errors import IdempotencyConflict
from tests.promise.scheduler.translation import id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.promise.scheduler.gateway import Gateway
    from tests.promise.scheduler.steps import Step
    from tests.promise.scheduler.world import World

    Numbered = tuple[int, Draft]

CHANNEL: Final = "main"
_SCOPES: Final = ("broadcast", "user:1", "role:a", "topic:a", "topic:a.x", "topic:b.y")
_TYPES: Final = ("task.done", "task.begun", "news.told")
_KEYS: Final = 4


async def publish(world: World, step: Step) -> str:
    """Publish one event."""
    return await append(world, world.gateway(step.a), [_draft(world, step.b)])


async def batch(world: World, step: Step) -> str:
    """Publish some events, all or none."""
    drafts = [_draft(world, step.b + 5 * at) for at in range(2 + step.c % 3)]
    return await append(world, world.gateway(step.a), drafts)


async def key(world: World, step: Step) -> str:
    """Publish under an idempotency key, perhaps once more."""
    name = f"key-{step.b % _KEYS}"
    if name not in world.keyed:
        world.keyed[name] = _draft(world, step.c, name)
    return await append(world, world.gateway(step.a), [world.keyed[name]])


async def poison(world: World, step: Step) -> str:
    """Publish a batch of which the last event can't be appended: the kernel fails midway."""
    number = world.number()
    scope = f"topic:poison.{number}"
    for server in world.servers:
        server.poison(f"{{gapless:0}}:scope {CHANNEL} {scope}")
    bad = number, Draft(CHANNEL, scope, stored_envelope(_TYPES[0], scope, b"%d" % number))
    return await append(world, world.gateway(step.a), [_draft(world, step.b), bad])


async def append(world: World, gateway: Gateway, drafts: Sequence[Numbered]) -> str:
    """Have a gateway append events, and take down what it answers.

    Raises:
        LogUnavailable: there was no answer.
    """
    numbers = [number for number, _ in drafts]
    world.ledger.publish(numbers, [(draft.scope, stored_type(draft.stored)) for _, draft in drafts])
    try:
        answers = await gateway.log.append([draft for _, draft in drafts], "publisher")
    except IdempotencyConflict:
        world.ledger.blame("false conflict", f"publication {numbers}")
        return "conflict"
    finally:
        world.observe(gateway)
    lineage = world.lineages[gateway.pool.connected]
    for number, answer in zip(numbers, answers, strict=True):
        id_ = id_of(answer.id)
        world.ledger.acknowledge(gateway.name, lineage, id_, number, is_duplicate=answer.duplicate)
    told = ", ".join(f"{number}={answer.id}" for number, answer in zip(numbers, answers, strict=True))
    return f"{gateway.name} at {gateway.pool.connected.name}: {told}"


def _draft(world: World, at: int, name: str = "") -> Numbered:
    number = world.number()
    scope, event = _SCOPES[at % len(_SCOPES)], _TYPES[at // 7 % len(_TYPES)]
    return number, Draft(CHANNEL, scope, stored_envelope(event, scope, b"%d" % number), name)


async def one_more(world: World, step: Step) -> str:
    """Publish one event, as a part of another step."""
    return await append(world, world.gateway(step.c), [_draft(world, step.c)])
