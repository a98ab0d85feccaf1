"""The promise (PROTOCOL §1) in two worlds: a smoke test of the real parts together.

    A client that presents the last cursor it was given receives exactly the visible events after it, once each and in
    order, whatever transport or gateway it comes back on, or is told at once that this can't be done.

A world is real (`world`): Valkey or Redis processes that are killed, stopped, flushed, demoted, and replaced by
replicas that lag; two gateways on sockets; proxies between them that are cut, switched, and lose replies. Clients
(`clients`) keep the last cursor they were given, and nothing else. Each world goes through the same budget of steps,
shuffled by a seed. When it has settled, what each client was given is compared with what the model (`model`) says it
must have been given; the model is written from the protocol, and knows of the log what publishers were acknowledged and
what Redis itself holds.

A check that can't fail is none: a world that had no truncation, switch or loss in it fails, too.

``GAPLESS_PROMISE_SEED`` chooses other worlds. A failure prints the seed and what happened, step by step. The processes
and their clocks are real: a seed repeats the choices, and not always their effect.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.promise.model import Ledger, Publication, Sight
from tests.promise.world import World
from tests.support.waiting import interlude

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promise.clients import Client

_COMMON = {
    "SSE__HEARTBEAT": "150ms",
    "SSE__LIFETIME": "1500ms",
    "SSE__RETRY": "10ms",
    "LONG_POLL__HOLD": "300ms",
    "POLLING__INTERVAL": "50ms",
    "AUTH__TICKET_TTL": "2s",
    "AUTH__ANONYMOUS_SCOPES": '["broadcast","topic:news.*"]',
    "LOG__LEVEL": "critical",
}
_PROFILES = {
    "cut small": {"WINDOW_EVENTS": "8", "SCOPE_CAP": "10", "TOPICS_CAP": "12"},
    "long": {"WINDOW_EVENTS": "8", "SCOPE_CAP": "5000", "TOPICS_CAP": "5000"},
}
_RETENTION_MS = 86_400_000

_SCOPES = (
    *("broadcast", "user:1", "user:2", "role:staff"),
    *("topic:news", "topic:news.sport", "topic:news.sport.live", "topic:newsroom", "topic:weather"),
)
_TYPES = ("task.started", "task.ended", "tasks.swept", "note.sent")
_FILTERS: tuple[tuple[str, ...] | None, ...] = (None, ("task.*",), ("note.sent", "tasks.*"))
_SDK = ("sse", "long-poll", "polling")
_PREFERENCES = (
    *(["sse", "long-poll", "polling"], ["long-poll", "sse"], ["polling"], ["polling", "sse"], ["long-poll", "polling"]),
)
_SWITCHED_OFF: tuple[tuple[str, ...], ...] = ((), (), (), ("sse",), ("long-poll", "polling"), ("polling",), _SDK)
_TRANSPORTS = ("sse", "eventsource", "long-poll", "polling", "history")
_GATEWAYS = 2
_AUDIENCE = (*_SCOPES, "broadcast", "broadcast", "user:1", "topic:news", "topic:news.sport")

_STEPS = Counter(
    publish=13, publish_batch=10, burst=9, publish_again=4, switch=10, drop=9, ask_for_less=6, stall=4, live=6,
    cut=2, lose_reply=2, hold=4, freeze=3, use_the_replica=10, crash=2, flush=1, restart=3, flip=9,
)  # fmt: skip
"""What happens in a world, and how often."""
_FAILOVERS = ("split", "demoted", "old goes on", "plain")
_WANTED = ("truncated", "switch", "entries lost", "flip: 200", "Moved")
"""What must have come of it, beside the steps."""


class Script:
    """One world, and what happens to it. The clients live on during each step."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.diary: list[str] = []
        self.happened: Counter[str] = Counter()
        self._numbers = 0
        self._keyed: list[Publication] = []
        self._failovers = list(_FAILOVERS)

    async def begin(self) -> None:
        """Start everything, and let clients of all kinds come."""
        world = self.world
        await world.start()
        world.client("1", "main", ("topic:news",))
        world.client("2", "main", ("role:staff", "topic:news.*"), by_ticket=True)
        world.client("3", "main", ("topic:*", "user:1")).narrow(("task.*",), 0)
        world.client("4", "main", ("topic:news.*", "topic:news.sport", "topic:weather"))
        world.client("1", "other", ("topic:*",), by_ticket=True)
        world.client("1", "main", ("user:2",)).narrow(("note.sent", "tasks.*"), 0)
        public = world.client("", "main", ())
        public.sight, public.transport = (Sight("main", frozenset(("broadcast", "topic:news.*"))), "public")
        for number, client in enumerate(world.clients):
            await client.go("public" if client is public else _TRANSPORTS[number % 5], number % _GATEWAYS)

    async def go(self) -> list[str]:
        """Take all steps; return what went wrong."""
        steps = list(_STEPS.elements())
        self.dice.shuffle(steps)
        for step in steps:
            await getattr(self, step)()
            if faults := [*self.world.faults, *(fault for client in self.world.clients for fault in client.faults)]:
                return faults
        await self.world.settle()
        self.happened += self.world.happened
        for client in self.world.clients:
            self.happened.update(client.counts)
        return self.world.verdict()

    # Publishers

    async def publish(self) -> None:
        channel = self.dice.choice(("main", "main", "main", "other"))
        await self._send([self._publication(channel, keyed=self.dice.random() < 0.5)])

    async def publish_batch(self) -> None:
        await self._send([self._publication("main") for _ in range(self.dice.randint(2, 8))])

    async def burst(self) -> None:
        scope, padding = self.dice.choice(_AUDIENCE), self.dice.choice((0, 0, 12_000))
        count = self.dice.choice((12, 25, 60))
        await self._send([self._publication("main", scope=scope, padding=padding) for _ in range(count)])

    async def publish_again(self) -> None:
        if self._keyed:
            await self._send([self.dice.choice(self._keyed)])

    def _publication(self, channel: str, *, scope: str = "", keyed: bool = False, padding: int = 0) -> Publication:
        self._numbers += 1
        key = f"key {self._numbers}" if keyed else None
        scope = scope or self.dice.choice(_AUDIENCE)
        one = Publication(self._numbers, channel, scope, self.dice.choice(_TYPES), padding, key)
        if keyed:
            self._keyed.append(one)
        return one

    async def _send(self, batch: list[Publication]) -> None:
        """Publish at one of the gateways, and wait for the answer or not."""
        at, meanwhile = self._gateway(), self.dice.random() < 0.5
        what = [f"{one.number} {one.scope} {one.event}" for one in batch[:4]]
        self._note(f"publish {len(batch)} to {batch[0].channel} at {at}{' meanwhile' if meanwhile else ''}: {what}")
        if meanwhile:
            self.world.publish_meanwhile(batch, at)
        else:
            await self.world.publish(batch, at)

    # Clients

    async def switch(self) -> None:
        client, at, transport = self._client(), self._gateway(), self.dice.choice(_TRANSPORTS)
        transport = "public" if client.transport == "public" else transport
        self._note(f"{client.name} goes from {client.transport} to {transport} at {at}, at {client.cursor}")
        self.happened["switch"] += client.transport != transport
        await client.go(transport, at)

    async def drop(self) -> None:
        client = self._client()
        self._note(f"{client.name} drops at {client.cursor}")
        await client.drop()

    async def ask_for_less(self) -> None:
        """Attach with another filter, at the same cursor."""
        client, at = self._client(), self._gateway()
        types, scopes = self.dice.choice(_FILTERS), self.dice.randint(0, 2)
        if client.transport == "public":
            return
        self._note(f"{client.name} wants {types or 'every type'} of {scopes or 'all'} scopes, at {client.cursor}")
        await client.drop()
        client.narrow(types, scopes)
        await client.go(client.transport, at)

    async def stall(self) -> None:
        client = self._client()
        self._note(f"{client.name} {'stops reading' if client.reads else 'reads on'}")
        client.stall() if client.reads else client.read_on()

    async def live(self) -> None:
        """Let time pass."""
        await interlude(self.dice.choice((0.01, 0.05, 0.2)))

    def _client(self) -> Client:
        return self.dice.choice(self.world.clients)

    def _gateway(self) -> int:
        return self.dice.randrange(_GATEWAYS)

    # The policy

    async def flip(self) -> None:
        """Change the policy under everybody who is connected."""
        at, preference = self._gateway(), self.dice.choice(_PREFERENCES)
        off, rest = self.dice.choice(_SWITCHED_OFF), self.dice.choice(("", "", "80ms", "400ms"))
        parameters = {name: {"min_interval": rest} for name in ("sse", "long-poll") if rest}
        policy: dict[str, Any] = {
            "preference": preference,
            "transports": {name: {**parameters.get(name, {}), "enabled": name not in off} for name in _SDK},
            "move_within": self.dice.choice(("0s", "100ms", "500ms")),
        }
        self._note(f"the policy of gateway {at}: {preference} within {policy['move_within']}, off: {off}, rest: {rest}")
        await self.world.flip(policy, at)

    # Redis, and the way to it

    async def cut(self) -> None:
        number = self._gateway()
        self._note(f"gateway {number} is cut off from Redis for a moment")
        self.world.cut(number)

    async def lose_reply(self) -> None:
        number = self._gateway()
        self._note(f"gateway {number} loses the reply to its next append")
        self.world.lose_replies(number)

    async def hold(self) -> None:
        number = self._gateway()
        held = self.world.hold_or_release(number)
        self._note(f"gateway {number} {'hears nothing from Redis' if held else 'hears from Redis again'}")

    async def freeze(self) -> None:
        for_s = self.dice.choice((0.1, 0.3, 0.6))
        self._note(f"Redis stops for {for_s} s")
        await self.world.freeze(for_s)

    async def use_the_replica(self) -> None:
        """Give Redis a replica; promote it; and be rid of the old primary, or go back to it."""
        world = self.world
        if world.former is not None:
            back = not world.is_split and self.dice.random() < 0.5
            self._note("back to the old primary" if back else "the old primary is gone")
            await (world.go_back() if back else world.heal())
        elif world.replica is None:
            lagging = self.dice.random() < 0.7
            self._note(f"Redis has a replica, {'which hears nothing more' if lagging else 'which keeps up'}")
            await world.follow(lagging=lagging)
        else:
            await self._fail_over()

    async def _fail_over(self) -> None:
        how = self._failovers.pop(0)
        self._failovers.append(how)
        self._note(f"failover: {how}")
        if how == "demoted":
            await self.world.demote()
        else:
            await self.world.fail_over(split=how == "split", old_goes_on=how == "old goes on")

    async def crash(self) -> None:
        down_s = self.dice.choice((0.0, 0.3))
        self._note(f"Redis crashes, and is back after {down_s} s")
        await self.world.crash(down_s)

    async def flush(self) -> None:
        self._note("Redis is flushed")
        await self.world.flush()

    async def restart(self) -> None:
        number = self._gateway()
        self._note(f"gateway {number} starts again")
        await self.world.restart_gateway(number)

    def _note(self, what: str) -> None:
        self.diary.append(f"{time.time():.3f} {what}")


@pytest.mark.parametrize(("profile", "kind", "seed"), [("cut small", "valkey", 1), ("long", "redis", 2)])
async def test_the_promise_holds(tmp_path: Path, profile: str, kind: str, seed: int) -> None:
    seed = int(os.environ.get("GAPLESS_PROMISE_SEED", seed))
    print(f"seed {seed}, {profile} on {kind}")  # noqa: T201 - a failure shows it
    dice = random.Random(seed)
    sizes = _PROFILES[profile]
    ledger = Ledger(int(sizes["SCOPE_CAP"]), int(sizes["TOPICS_CAP"]), _RETENTION_MS)
    given = {**_COMMON, **{f"HISTORY__{name}": value for name, value in sizes.items()}}
    world = World(tmp_path, kind, given, ledger, dice)
    script = Script(world, dice)
    try:
        await script.begin()
        faults = await script.go()
    finally:
        print("\n".join(script.diary))  # noqa: T201 - a failure shows it
        await world.stop()
    assert not faults, "\n".join(faults)
    missing = [what for what in _WANTED if not script.happened[what]]
    assert not missing, f"the world contained no {missing}: {script.happened}"
