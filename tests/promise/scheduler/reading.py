"""Steps of followers, and of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from realtime.channel.event import Cursor, interest, parse_filter
from realtime.channel.reader import Start
from tests.promise.scheduler import publishing
from tests.promise.scheduler.ledger import Answer, Client
from tests.promise.scheduler.sight import Sight
from tests.promise.scheduler.translation import id_of, number_of

if TYPE_CHECKING:
    from realtime.channel.event import Interest
    from realtime.channel.reader import Part, Reader
    from tests.promise.scheduler.gateway import Gateway
    from tests.promise.scheduler.lineage import Id
    from tests.promise.scheduler.steps import Step
    from tests.promise.scheduler.world import World

_SIGHTS: Final = (
    Sight(("broadcast",)),
    Sight(("broadcast", "user:1", "topic:a.x")),
    Sight(("topic:a.*", "topic:a.x")),
    Sight(("topic:*", "user:1")),
    Sight(("broadcast", "role:a"), ("task.*",)),
    Sight(("topic:*", "broadcast"), ("news.told",)),
)
_LIMITS: Final = (1, 1, 2, 3, 5)
_ENOUGH: Final = 300
_NOBODY: Final = "nobody"


async def follow(world: World, step: Step) -> str:
    """Have a follower read on once."""
    gateway = world.gateway(step.a)
    await world.seen(gateway, gateway.follow())
    return gateway.stands()


async def touch(world: World, step: Step) -> str:
    """Have a follower touch the log once."""
    gateway = world.gateway(step.a)
    await world.seen(gateway, gateway.touch())
    if gateway.pool.connected.evicts and gateway.follower.is_vouched_for:
        world.ledger.blame("vouched for", f"{gateway.name} takes {gateway.pool.connected.name} for one that keeps all")
    return gateway.stands()


async def tick(world: World, step: Step) -> str:
    """Have a follower read on to the end."""
    gateway = world.gateway(step.a)
    await follow_on(world, gateway)
    return gateway.stands()


async def follow_on(world: World, gateway: Gateway) -> None:
    """Have a follower read on to the end.

    Raises:
        LogUnavailable: there was no answer.
    """
    for _ in range(_ENOUGH):
        if not await world.seen(gateway, gateway.follow()):
            return


async def join(world: World, step: Step) -> str:
    """A client comes that begins now."""
    return await _attach(world, step, Start())


async def earliest(world: World, step: Step) -> str:
    """A client comes that begins at the earliest event."""
    return await _attach(world, step, Start(earliest=True))


async def read(world: World, step: Step) -> str:
    """A client comes with its last cursor, and reads once."""
    client, gateway = _coming(world, step)
    if client is None:
        return _NOBODY
    _come(world, client, gateway)
    return await _take(world, client, _limit(step))


async def stream(world: World, step: Step) -> str:
    """A client reads on with the reader that it has."""
    client = _client(world, step.b)
    if client is None or client not in world.readers:
        return _NOBODY
    return await _take(world, client, _limit(step))


async def drain(world: World, step: Step) -> str:
    """A client comes with its last cursor, and reads to the end."""
    client, gateway = _coming(world, step)
    return _NOBODY if client is None else await read_on(world, client, gateway, _limit(step))


async def long_poll(world: World, step: Step) -> str:
    """A client reads to the end and waits; somebody publishes, the gateway follows, and the client reads on."""
    client, gateway = _coming(world, step)
    if client is None:
        return _NOBODY
    told = [await read_on(world, client, gateway, _limit(step)), await publishing.one_more(world, step)]
    await world.seen(gateway, gateway.follow())
    return " / ".join([*told, await _take(world, client, _limit(step))])


async def read_on(world: World, client: Client, gateway: Gateway, limit: int) -> str:
    """Have a client come with its last cursor and read to the end, so many at a time.

    Raises:
        LogUnavailable: there was no answer.
    """
    reader = _come(world, client, gateway)
    told = []
    for _ in range(_ENOUGH):
        before = reader.cursor
        told.append(await _take(world, client, limit))
        if reader.cursor in {before, gateway.follower.window.position}:
            break
    return " / ".join(told)


async def _attach(world: World, step: Step, start: Start) -> str:
    gateway = world.gateway(step.a)
    if not gateway.follower.filled:
        return _NOBODY
    client = Client(f"c{len(world.clients) + 1}", _SIGHTS[step.b % len(_SIGHTS)])
    world.readers[client] = gateway, gateway.reader(_interest(client.sight), start)
    try:
        told = await _take(world, client, _limit(step))
    except BaseException:
        del world.readers[client]
        raise
    world.clients.append(client)
    return told


def _limit(step: Step) -> int:
    return _LIMITS[step.c % len(_LIMITS)]


def _client(world: World, at: int) -> Client | None:
    return world.clients[at % len(world.clients)] if world.clients else None


def _coming(world: World, step: Step) -> tuple[Client | None, Gateway]:
    """Choose who comes, and where to; nobody comes to a gateway that is not ready."""
    gateway = world.gateway(step.a)
    return _client(world, step.b) if gateway.follower.filled else None, gateway


def _come(world: World, client: Client, gateway: Gateway) -> Reader:
    assert client.cursor is not None
    reader = gateway.reader(_interest(client.sight), Start(Cursor(*client.cursor)))
    world.readers[client] = gateway, reader
    return reader


async def _take(world: World, client: Client, limit: int) -> str:
    """Have a client read once."""
    gateway, reader = world.readers[client]
    before = client.cursor
    try:
        part = reader.take(limit) or await reader.fetch(limit, wait=False)
    finally:
        world.observe(gateway)
    if before is None and part.truncation is None:
        before = id_of(reader.started)
    return _given(world, client, part, before)


def _given(world: World, client: Client, part: Part, before: Id | None) -> str:
    """Take down what a client was given."""
    gateway, reader = world.readers[client]
    server = gateway.pool.connected
    entries = [(id_of(entry.id), number_of(entry.stored)) for entry in part.entries]
    answer = Answer(before, entries, id_of(reader.cursor), is_told=part.truncation is not None)
    world.ledger.answer(client, gateway.name, world.lineages[server], answer)
    what = "told" if answer.is_told else str([number for _, number in entries])
    return f"{client.name} {before} {gateway.name} at {server.name}: {what} {reader.cursor}"


def _interest(sight: Sight) -> Interest:
    return interest(publishing.CHANNEL, sight.scopes, parse_filter(",".join(sight.types)) if sight.types else None)
