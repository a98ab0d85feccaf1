"""The promise (PROTOCOL §1), as a stateful property test.

    A client that presents the last cursor it was given receives exactly the visible events after it, once each and in
    order, whatever transport or gateway it comes back on, or is told at once that this can't be done.

Hypothesis chooses what happens; everything it happens to is real (`world`): Valkey or Redis processes that are killed,
stopped, flushed, and replaced by replicas that lag; two gateways on sockets; proxies between them that are cut,
switched, and lose replies. Clients (`clients`) keep the last cursor they were given, and nothing else. When the world
has settled, what each of them was given is compared with what the model (`model`) says it must have been given; the
model is written from the protocol, and knows of the log what publishers were acknowledged and what Redis itself holds.

A check that can't fail is none: a run that had no truncation, failover, switch or loss in it fails, too.

``GAPLESS_PROMISE=long`` runs for 25 minutes, or ``GAPLESS_PROMISE_S`` seconds, and chooses anew each time. A failure
prints what happened, step by step. The clocks are real: a run repeats the choices, and not always their effect.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.promise.model import Ledger, Publication, Sight
from tests.promise.world import World

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.promise.clients import Client

_LONG = os.environ.get("GAPLESS_PROMISE") == "long"
_LONG_S = float(os.environ.get("GAPLESS_PROMISE_S", "1500"))

_COMMON = {
    "SSE__HEARTBEAT": "150ms",
    "SSE__LIFETIME": "1500ms",
    "SSE__RETRY": "10ms",
    "LONG_POLL__HOLD": "300ms",
    "POLLING__INTERVAL": "50ms",
    "REDIS__TIMEOUT": "400ms",
    "AUTH__TICKET_TTL": "2s",
    "AUTH__ANONYMOUS_SCOPES": '["broadcast","topic:news.*"]',
    "LOG__LEVEL": "critical",
}
_PROFILES = {
    "cut small": {"WINDOW_EVENTS": "8", "SCOPE_CAP": "10", "TOPICS_CAP": "12", "RETENTION": "24h"},
    "long": {"WINDOW_EVENTS": "8", "SCOPE_CAP": "5000", "TOPICS_CAP": "5000", "RETENTION": "24h"},
    "short": {"WINDOW_EVENTS": "100", "SCOPE_CAP": "5000", "TOPICS_CAP": "5000", "RETENTION": "2s"},
    "in memory": {"WINDOW_EVENTS": "5000", "SCOPE_CAP": "10", "TOPICS_CAP": "5000", "RETENTION": "24h"},
}
_RETENTION_MS = {"24h": 86_400_000, "2s": 2_000}

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
_MOST_DISASTERS = 8
"""In one run, so that there is a run besides."""

_AUDIENCE = st.sampled_from((*_SCOPES, "broadcast", "broadcast", "user:1", "topic:news", "topic:news.sport"))
_KINDS = st.tuples(_AUDIENCE, st.sampled_from(_TYPES))
_GATEWAYS = st.integers(0, 1)
_ANY = st.integers(0, 999)
"""One of some. What is drawn must not depend on what the world is like: Hypothesis draws again when it tries again."""

_STEPS = Counter(
    publish=4, publish_batch=3, burst=3, publish_again=1, switch=3, drop=3, ask_for_less=2, stall=1, live=2, disturb=2,
    freeze=1, use_the_replica=2, break_down=1, flip=3,
)  # fmt: skip
"""What can happen, and how often it does."""

_WANTED = ("truncated", "failover", "crash", "flush", "gateway restart", "switch", "entries lost", "flip: 200", "Moved")

totals: Counter[str] = Counter()
"""What the whole run contained."""

failures: list[str] = []
"""What went wrong, and what had happened: Hypothesis tries again, and the clocks have gone on."""


class Promise(RuleBasedStateMachine):
    """One world after another. Each step takes as long as it takes; the clients live on during all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="promise-"))
        self.diary: list[str] = []
        self.numbers = 0
        self.keyed: list[Publication] = []
        self.disasters = 0
        self.broken = False
        """Whether something failed: what comes then says nothing."""
        self.world: World | None = None

    @initialize(profile=st.sampled_from(sorted(_PROFILES)), kind=st.sampled_from(("valkey", "valkey", "redis")))
    def begin(self, profile: str, kind: str) -> None:
        sizes = _PROFILES[profile]
        self.note(f"{profile} on {kind}")
        ledger = Ledger(int(sizes["SCOPE_CAP"]), int(sizes["TOPICS_CAP"]), _RETENTION_MS[sizes["RETENTION"]])
        given = {**_COMMON, **{f"HISTORY__{name}": value for name, value in sizes.items()}}
        self.world = World(self.directory, kind, given, ledger)
        self.run(self.world.start())
        self.world.client("1", "main", ("topic:news",))
        self.world.client("2", "main", ("role:staff", "topic:news.*"), by_ticket=True)
        self.world.client("3", "main", ("topic:*", "user:1")).narrow(("task.*",), 0)
        self.world.client("4", "main", ("topic:news.*", "topic:news.sport", "topic:weather"))
        self.world.client("1", "other", ("topic:*",), by_ticket=True)
        self.world.client("1", "main", ("user:2",)).narrow(("note.sent", "tasks.*"), 0)
        public = self.world.client("", "main", ())
        public.sight, public.transport = (Sight("main", frozenset(("broadcast", "topic:news.*"))), "public")
        for number, client in enumerate(self.world.clients):
            self.run(client.go("public" if client is public else _TRANSPORTS[number % 5], number % 2))

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Let one thing happen.

        One rule, and not one for each thing: Hypothesis switches rules off at random, and a short run would have no
        failover in it.
        """
        what = data.draw(st.sampled_from(list(_STEPS.elements())))
        getattr(self, what)(data)
        faults = [*self.there.faults, *(fault for client in self.there.clients for fault in client.faults)]
        self.judge(faults)

    # Publishers

    def publish(self, data: st.DataObject) -> None:
        channel = data.draw(st.sampled_from(("main", "main", "main", "other")))
        self.send([self.publication(*data.draw(_KINDS), channel, keyed=data.draw(st.booleans()))], data)

    def publish_batch(self, data: st.DataObject) -> None:
        kinds = data.draw(st.lists(_KINDS, min_size=2, max_size=8))
        self.send([self.publication(*kind, "main") for kind in kinds], data)

    def burst(self, data: st.DataObject) -> None:
        scope, count = data.draw(_AUDIENCE), data.draw(st.sampled_from((12, 25, 60)))
        padding = data.draw(st.sampled_from((0, 0, 60_000)))
        self.send([self.publication(scope, _TYPES[n % 4], "main", padding=padding) for n in range(count)], data)

    def publish_again(self, data: st.DataObject) -> None:
        which = data.draw(_ANY)
        self.send([self.keyed[which % len(self.keyed)]] if self.keyed else [], data)

    # Clients

    def switch(self, data: st.DataObject) -> None:
        client, at = self.client(data), data.draw(_GATEWAYS)
        transport = data.draw(st.sampled_from(_TRANSPORTS))
        transport = "public" if client.transport == "public" else transport
        self.note(f"{client.name} goes from {client.transport} to {transport} at {at}, at {client.cursor}")
        totals["switch"] += client.transport != transport
        self.run(client.go(transport, at))

    def drop(self, data: st.DataObject) -> None:
        client = self.client(data)
        self.note(f"{client.name} drops at {client.cursor}")
        self.run(client.drop())

    def ask_for_less(self, data: st.DataObject) -> None:
        """Attach with another filter, at the same cursor."""
        client, at = self.client(data), data.draw(_GATEWAYS)
        types, scopes = (data.draw(st.sampled_from(_FILTERS)), data.draw(st.integers(0, 2)))
        if client.transport == "public":
            return
        self.note(f"{client.name} wants {types or 'every type'} of {scopes or 'all'} scopes, at {client.cursor}")
        self.run(client.drop())
        client.narrow(types, scopes)
        self.run(client.go(client.transport, at))

    def stall(self, data: st.DataObject) -> None:
        client = self.client(data)
        self.note(f"{client.name} {'stops reading' if client.reads else 'reads on'}")
        totals["stall"] += 1
        client.stall() if client.reads else client.read_on()

    def live(self, data: st.DataObject) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(data.draw(st.sampled_from((0.01, 0.05, 0.2)))))

    # The policy

    def flip(self, data: st.DataObject) -> None:
        """Change the policy under everybody who is connected."""
        at, preference = data.draw(_GATEWAYS), data.draw(st.sampled_from(_PREFERENCES))
        off, rest = data.draw(st.sampled_from(_SWITCHED_OFF)), data.draw(st.sampled_from(("", "", "80ms", "400ms")))
        parameters = {name: {"min_interval": rest} for name in ("sse", "long-poll") if rest}
        policy = {
            "preference": preference,
            "transports": {name: {**parameters.get(name, {}), "enabled": name not in off} for name in _SDK},
            "move_within": data.draw(st.sampled_from(("0s", "100ms", "500ms"))),
        }
        self.note(f"the policy of gateway {at}: {preference} within {policy['move_within']}, off: {off}, rest: {rest}")
        self.run(self._flip(policy, at))

    async def _flip(self, policy: dict[str, Any], at: int) -> None:
        await self.there.flip(policy, at)

    # Redis, and the way to it

    def disturb(self, data: st.DataObject) -> None:
        """Hurt the connection between a gateway and Redis."""
        what, number = (data.draw(st.sampled_from(("cut", "reply", "hold", "hold"))), data.draw(_GATEWAYS))
        if what == "cut":
            self.note(f"gateway {number} is cut off from Redis for a moment")
            self.there.cut(number)
        elif what == "reply":
            self.note(f"gateway {number} loses the reply to its next append")
            self.there.lose_replies(number)
        else:
            held = self.there.hold_or_release(number)
            self.note(f"gateway {number} {'hears nothing from Redis' if held else 'hears from Redis again'}")

    def freeze(self, data: st.DataObject) -> None:
        for_s = data.draw(st.sampled_from((0.1, 0.3, 0.6)))
        self.note(f"Redis stops for {for_s} s")
        self.run(self.there.freeze(for_s))

    def use_the_replica(self, data: st.DataObject) -> None:
        """Give Redis a replica; promote it; and be rid of the old primary, or go back to it."""
        there, lagging, back = (self.there, data.draw(st.sampled_from((True, True, False))), data.draw(st.booleans()))
        how = data.draw(st.sampled_from(("plain", "split", "old goes on")))
        if there.former is not None and back and there.split is None:
            self.disaster("back to the old primary", there.go_back())
        elif there.former is not None:
            self.disaster("the old primary is gone", there.heal())
        elif there.replica is None:
            self.note(f"Redis has a replica, {'which hears nothing more' if lagging else 'which keeps up'}")
            self.run(there.follow(lagging=lagging))
        elif self.disasters < _MOST_DISASTERS:
            self.disaster(f"failover: {how}", there.fail_over(split=how == "split", old_goes_on=how == "old goes on"))

    def break_down(self, data: st.DataObject) -> None:
        what = data.draw(st.sampled_from(("crash", "crash", "flush", "gateway", "gateway")))
        number = data.draw(_GATEWAYS)
        if self.disasters >= _MOST_DISASTERS:
            return
        if what == "crash":
            down_s = number * 0.3
            self.disaster(f"Redis crashes, and is back after {down_s} s", self.there.crash(down_s))
        elif what == "flush":
            self.disaster("Redis is flushed", self.there.flush())
        else:
            self.disaster(f"gateway {number} starts again", self.there.restart_gateway(number))

    def teardown(self) -> None:
        """Let the world settle, and compare."""
        try:
            if self.world is not None and not self.broken:
                self.run(self.world.settle())
                self.judge(self.world.verdict())
                self.count()
        finally:
            if self.world is not None:
                self.runner.run(self.world.stop())
            self.runner.close()
            shutil.rmtree(self.directory)

    # What the steps share

    @property
    def there(self) -> World:
        assert self.world is not None
        return self.world

    def run(self, what: Coroutine[Any, Any, Any]) -> None:
        try:
            self.runner.run(what)
        except AssertionError as error:
            self.judge([str(error)])
        except BaseException:
            self.broken = True
            raise

    def note(self, what: str) -> None:
        self.diary.append(f"{time.time():.3f} {what}")

    def client(self, data: st.DataObject) -> Client:
        return self.there.clients[data.draw(_ANY) % len(self.there.clients)]

    def disaster(self, what: str, happens: Coroutine[Any, Any, None]) -> None:
        self.disasters += 1
        self.note(what)
        self.run(happens)

    def publication(
        self, scope: str, type_: str, channel: str, *, keyed: bool = False, padding: int = 0
    ) -> Publication:
        self.numbers += 1
        key = f"key {self.numbers}" if keyed else None
        one = Publication(self.numbers, channel, scope, type_, padding, key)
        if keyed:
            self.keyed.append(one)
        return one

    def send(self, batch: list[Publication], data: st.DataObject) -> None:
        """Publish at one of the gateways, and wait for the answer or not."""
        at, meanwhile = data.draw(_GATEWAYS), data.draw(st.booleans())
        if not batch:
            return
        what = [f"{one.number} {one.scope} {one.event}" for one in batch[:4]]
        self.note(f"publish {len(batch)} to {batch[0].channel} at {at}{' meanwhile' if meanwhile else ''}: {what}")
        self.run(self._send_meanwhile(batch, at) if meanwhile else self.there.publish(batch, at))

    async def _send_meanwhile(self, batch: list[Publication], at: int) -> None:
        self.there.publish_meanwhile(batch, at)

    def judge(self, faults: list[str]) -> None:
        """Fail when there are faults, and tell what had happened."""
        if faults:
            self.broken = True
            failures.append("\n".join([*faults, "", "what happened:", *self.diary]))
            raise AssertionError(failures[-1])

    def count(self) -> None:
        totals["example"] += 1
        totals["publication"] += self.numbers
        totals.update(self.there.happened)
        for client in self.there.clients:
            totals.update(client.counts)


def test_the_promise_holds() -> None:
    begin = time.monotonic()
    _run(examples=6, steps=90, derandomize=not _LONG)
    while _LONG and time.monotonic() < begin + _LONG_S:
        _run(examples=10, steps=120, derandomize=False)
    print("\n".join(f"{count:8} {what}" for what, count in sorted(totals.items())))  # noqa: T201 - what it contained
    assert not failures, "\n\n".join(failures)
    missing = [what for what in _WANTED if not totals[what]]
    assert not missing, f"the run contained no {missing}: {totals}"


def _run(*, examples: int, steps: int, derandomize: bool) -> None:
    """Run examples until one fails; a long run goes on then."""
    before = len(failures)
    try:
        _run_examples(examples, steps, derandomize=derandomize)
    except (AssertionError, Flaky):
        if len(failures) == before:
            raise
        print(failures[-1], flush=True)  # noqa: T201 - at once, for a long run goes on


def _run_examples(examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        Promise,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        ),
    )


if _LONG:
    test_the_promise_holds = pytest.mark.timeout(0)(test_the_promise_holds)
