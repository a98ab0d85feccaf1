"""The world that the promise has to hold in: Valkeys that crash and lag, two gateways, the network between them.

    clients ─┬─ gateway 0 ── proxy 0 ─┬─ primary ── link ── replica
             └─ gateway 1 ── proxy 1 ─┘

Everything is real: processes, sockets, replication. What the log lost is not assumed but read, from Redis itself. A
log is read to its end before it is given up: nobody can write to it any more then.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
from redis.exceptions import RedisError

from tests.promise.clients import EVENTS, Address, Client, ended
from tests.promise.lineage import Id, Record, read_id, read_log
from tests.promise.model import Ledger, Publication, Sight
from tests.support.gateway import Gateway, gateway
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxy
from tests.support.redis import RedisServer
from tests.support.waiting import PATIENCE_S, interlude, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.promise.model import Loss

LOG = "{gapless:0}:log"
_CALL = b"_%b\r\n$1\r\n2\r\n$%d\r\n%b\r\n"
"""How a call of a function on the channel's log is written; those on the control log are not meant."""
_APPEND = _CALL % (b"append", len(LOG), LOG.encode())
_TOUCH = _CALL % (b"touch", len(LOG), LOG.encode())
_QUICK_SYNC = ("--repl-diskless-load", "swapdb")
"""Without it Valkey notices only once a second that a replica has its copy."""
_MOST_PAUSED_MS = 60_000
_TURNS = 3
"""A gateway touches the log again and again, and compares each time what it knows with it. When the third touch from
now on is sent, the first one that it began after now has come to its end; one may have been made to fill the window."""
_LAST = "task.swept"


@dataclass
class Place:
    """A gateway's address, which outlives it."""

    number: int
    proxy: Proxy
    """Its way to Redis."""
    port: int
    is_held: bool = False
    """Whether it hears nothing from Redis."""
    incarnation: int = 0
    running: Gateway | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def address(self) -> Address:
        return Address(f"http://127.0.0.1:{self.port}", self.name)

    @property
    def name(self) -> str:
        return f"{self.number}.{self.incarnation}"

    def bearer(self, channel: str) -> dict[str, str]:
        """Return the header of a publisher."""
        assert self.running is not None
        return self.running.bearer("publisher", roles=("publisher",), channel=channel)

    def leave(self) -> None:
        """Cut it off from Redis."""
        self.proxy.refuses = True
        self.proxy.cut()

    def go_to(self, server: RedisServer) -> None:
        """Let its new connections go to another Redis."""
        self.proxy.target_port, self.proxy.refuses = server.port, False


class World:
    """One log, two gateways, some clients, and what happens to them."""

    def __init__(
        self, directory: Path, kind: str, settings: Mapping[str, str], ledger: Ledger, dice: random.Random | None = None
    ) -> None:
        self.ledger = ledger
        self.dice = dice or random.Random()
        self.clients: list[Client] = []
        self.happened: Counter[str] = Counter()
        self.replica: RedisServer | None = None
        self.former: RedisServer | None = None
        """An old primary that still runs, and takes the writes of gateway 1 when it is a split brain."""
        self.is_split = False
        self._directory = directory
        self._kind = kind
        self._settings = settings
        self._servers: list[RedisServer] = []
        self.primary = self._server()
        self.places: list[Place] = []
        self._link: Proxy | None = None
        self._proxies = AsyncExitStack()
        self._publishers = httpx2.AsyncClient(timeout=PATIENCE_S, trust_env=False, verify=False)
        self._publishing: set[asyncio.Task[None]] = set()
        self.faults: list[str] = []

    def _server(self) -> RedisServer:
        server = RedisServer(self._directory / f"log-{len(self._servers)}", self._kind, _QUICK_SYNC)
        self._servers.append(server)
        return server

    # Begin and end

    async def start(self) -> None:
        await self.primary.start()
        for number in range(2):
            way = await self._proxies.enter_async_context(proxy(self.primary.port))
            way.counts = _TOUCH
            self.places.append(Place(number, way, free_port()))
            await self._open(self.places[number])

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()
        for task in list(self._publishing):
            await ended(task)
        await self._publishers.aclose()
        for place in self.places:
            await place.stack.aclose()
        await self._proxies.aclose()
        for server in self._servers:
            server.stop()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await until(lambda: all(task.done() for task in rest))

    async def _open(self, place: Place) -> None:
        place.incarnation += 1
        directory = self._directory / f"gateway-{place.number}"
        opening = gateway(directory, place.proxy.redis_url, self._settings, port=place.port)
        place.running = await place.stack.enter_async_context(opening)

    def client(self, sub: str, channel: str, held: Sequence[str], *, by_ticket: bool = False) -> Client:
        """Add a client that holds `held` beside its implicit scopes; an empty `sub` is the public."""
        assert self.places[0].running is not None
        implicit = ("broadcast", f"user:{sub}") if sub else ()
        extra = tuple(held)
        token = self.places[0].running.token(sub, scopes=extra, channel=channel) if sub else ""
        sight = Sight(channel, frozenset((*implicit, *extra)))
        made = Client(
            f"client {len(self.clients)}", sight, token, lambda number: self.places[number].address,
            self.ledger.witness, by_ticket, random.Random(self.dice.random()),
        )  # fmt: skip
        self.clients.append(made)
        return made

    # Publishing

    async def publish(self, publications: Sequence[Publication], at: int, *, patiently: bool = False) -> bool:
        """Publish a batch; tell whether it was acknowledged. `patiently`: until it is, with idempotency keys."""
        assert not patiently or all(one.idempotency_key for one in publications)
        self.ledger.publications.update({one.number: one for one in publications})
        if not patiently:
            return await self._publish(publications, at)
        await until(lambda: self._publish(publications, at))
        return True

    async def _publish(self, publications: Sequence[Publication], at: int) -> bool:
        place = self.places[at]
        name, headers = place.name, place.bearer(publications[0].channel)
        body = {"events": [one.body() for one in publications]}
        try:
            answer = await self._publishers.post(f"{place.address.url}{EVENTS}", json=body, headers=headers)
        except httpx2.TransportError:
            self.happened["publish: no answer"] += 1
            return False
        if answer.status_code == 201:
            self._acknowledged(publications, answer.json(), name)
            return True
        self._refused(answer)
        return False

    def publish_meanwhile(self, publications: Sequence[Publication], at: int) -> None:
        """Publish while other things happen."""
        task = asyncio.create_task(self._publish_meanwhile(publications, at))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _publish_meanwhile(self, publications: Sequence[Publication], at: int) -> None:
        try:
            await self.publish(publications, at)
        except AssertionError as error:
            self.faults.append(str(error))

    def _acknowledged(self, publications: Sequence[Publication], body: dict[str, Any], name: str) -> None:
        answers = body["events"]
        assert len(answers) == len(publications), body
        for one, answer in zip(publications, answers, strict=True):
            self.ledger.acknowledge(read_id(answer["id"]), one.number, name)
            self.happened["acknowledged" if not answer["duplicate"] else "duplicate"] += 1

    def _refused(self, answer: httpx2.Response) -> None:
        assert answer.status_code == 503, (answer.status_code, answer.text)
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["code"] == "log-unavailable"
        self.happened["publish: 503"] += 1

    # The policy

    async def flip(self, policy: Mapping[str, Any], at: int, *, patiently: bool = False) -> bool:
        """Put another policy in force; tell whether it was. `patiently`: until it is."""
        if not patiently:
            return await self._flip(policy, at)
        await until(lambda: self._flip(policy, at))
        return True

    async def _flip(self, policy: Mapping[str, Any], at: int) -> bool:
        place = self.places[at]
        assert place.running is not None
        headers = {**place.running.bearer("operator", roles=("admin",)), "If-Match": "*"}
        try:
            url = f"{place.address.url}/api/v1/admin/policy"
            answer = await self._publishers.put(url, json={"policy": policy}, headers=headers)
        except httpx2.TransportError:
            self.happened["flip: no answer"] += 1
            return False
        self.happened[f"flip: {answer.status_code}"] += 1
        assert answer.status_code in {200, 412, 503}, answer.text
        return answer.status_code == 200

    # What goes wrong

    async def crash(self, down_s: float) -> None:
        """Kill Redis and start it again on its append-only file."""
        await self.look()
        self.primary.kill()
        await interlude(down_s)
        await self.primary.start()
        await self._lost("crash")

    async def freeze(self, for_s: float) -> None:
        """Stop Redis in its tracks for a while."""
        self.primary.pause()
        try:
            await interlude(for_s)
        finally:
            self.primary.resume()
        self.happened["freeze"] += 1

    async def follow(self, *, lagging: bool) -> None:
        """Give Redis a replica; a lagging one hears nothing from here on."""
        assert self.replica is None
        self.replica = self._server()
        await self.replica.start()
        link = self._link = await self._proxies.enter_async_context(proxy(self.primary.port))
        async with self.replica.client as client:
            await client.replicaof("127.0.0.1", link.port)
        await until(self._is_linked)
        if lagging:
            link.hold()

    async def _is_linked(self) -> bool:
        assert self.replica is not None
        async with self.replica.client as client:
            try:
                return bool((await client.info("replication"))["master_link_status"] == "up")
            except (RedisError, OSError):
                return False

    async def replicated(self) -> None:
        """Wait until the replica has everything that its primary has."""
        replica = self.replica
        assert replica is not None

        async def is_equal() -> bool:
            return await self._read(replica) == await self._read(self.primary)

        await until(is_equal)

    async def fail_over(self, *, split: bool, old_goes_on: bool = False) -> None:
        """Promote the replica at the same address. `split`: gateway 1 stays with the old one until `heal`.

        `old_goes_on`: the old one is not killed, and can be gone back to.
        """
        old = self.primary
        moving = self.places[:1] if split else self.places
        for place in moving:
            place.leave()
        await (self.look(old) if split else self._give_up(old))
        await self._promote()
        if split or old_goes_on:
            self.former = old
        else:
            old.kill()
        self.is_split = split
        for place in moving:
            place.go_to(self.primary)
        await self._lost("split" if split else "failover")

    async def demote(self) -> None:
        """Promote the replica, and make the old primary its replica. Only new connections lead to the new primary.

        What was appended to the old primary between the two is lost, as with any failover without a pause.
        """
        old = self.primary
        await self._promote()
        for place in self.places:
            place.go_to(self.primary)
        async with old.client as client:
            await client.client_pause(_MOST_PAUSED_MS, all=False)
            await self.look(old)
            await client.replicaof("127.0.0.1", self.primary.port)
            await client.client_unpause()
        await self._lost("demoted")

    async def _promote(self) -> None:
        """Let the replica be the primary."""
        assert self.replica is not None
        assert self._link is not None
        self._link.refuses = True
        self._link.cut()
        async with self.replica.client as client:
            await client.replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, None

    async def heal(self) -> None:
        """End a split brain: the old primary is gone, and everyone is with the new one."""
        assert self.former is not None
        if self.is_split:
            self.places[1].leave()
        await self._give_up(self.former)
        self.former.kill()
        self.places[1].go_to(self.primary)
        self.former, self.is_split = None, False
        await self._lost("heal")

    async def go_back(self) -> None:
        """Go back to the old primary, which never stopped: what the new one took is lost."""
        assert self.former is not None
        assert not self.is_split
        old, self.primary, self.former = self.primary, self.former, None
        for place in self.places:
            place.leave()
        await self._give_up(old)
        old.kill()
        for place in self.places:
            place.go_to(self.primary)
        await self._lost("back")

    async def flush(self) -> None:
        async with self.primary.client as client, client.pipeline(transaction=True) as pipe:
            pipe.xrange(LOG)
            pipe.flushall()
            raw, _ = await pipe.execute()
        self.ledger.look(read_log(raw))
        await self._lost("flush", flushed=True)

    async def replace(self) -> None:
        """Put an empty Redis at the address."""
        old, self.primary = self.primary, self._server()
        await self.primary.start()
        for place in self.places:
            place.leave()
        await self._give_up(old)
        old.kill()
        for place in self.places:
            place.go_to(self.primary)
        await self._lost("replaced", flushed=True)

    async def restart_gateway(self, number: int) -> None:
        place = self.places[number]
        if place.is_held:
            self.hold_or_release(number)
        self.ledger.ended.add(place.name)
        await place.stack.aclose()
        await self._open(place)
        self.happened["gateway restart"] += 1

    def cut(self, number: int) -> None:
        """End a gateway's connections to Redis."""
        self.places[number].proxy.cut()
        self.happened["cut"] += 1

    def hold_or_release(self, number: int) -> bool:
        """Hold back everything between a gateway and Redis, or pass it on again; tell which."""
        place = self.places[number]
        place.is_held = not place.is_held
        if place.is_held:
            place.proxy.hold()
            self.happened["hold"] += 1
        else:
            place.proxy.release()
        return place.is_held

    def lose_replies(self, number: int, count: int = 1) -> None:
        """Lose the replies to the next appends of a gateway."""
        self.places[number].proxy.lose_reply(_APPEND, count)
        self.happened["reply lost"] += count

    # What the log has

    async def look(self, server: RedisServer | None = None) -> None:
        """Take down what a log holds."""
        self.ledger.look(await self._read(server or self.primary))

    async def _give_up(self, server: RedisServer) -> None:
        """Take down what a log holds that nobody is led to any more: all that it will ever have held."""
        async with server.client as client:
            await client.client_kill_filter(_type="normal", skipme=True)
        await self.look(server)

    async def _lost(self, what: str, *, flushed: bool = False) -> Loss:
        loss = self.ledger.lose(await self._read(self.primary), flushed=flushed)
        self.happened[what] += 1
        self.happened["entries lost"] += loss.lost
        return loss

    async def _read(self, server: RedisServer) -> dict[Id, Record]:
        found: dict[Id, Record] = {}

        async def is_read() -> bool:
            try:
                async with server.client as client:
                    raw: Any = await client.xrange(LOG)
            except (RedisError, OSError):
                return False
            found.update(read_log(raw))
            return True

        await until(is_read)
        return found

    # The end

    async def settle(self) -> None:
        """Let everyone come back and read on to the tail, find out what was lost, and be told; then look at the log."""
        if self.former is not None:
            await self.heal()
        for place in self.places:
            if place.is_held:
                self.hold_or_release(place.number)
        await until(lambda: not self._publishing)
        await self.flip({}, 0, patiently=True)
        for client in self.clients:
            client.read_on()
            if not client.is_attached:
                client.attach(client.transport, client.gateway)
        await self._drain(0)
        if self.ledger.losses:
            await self._find_out()
            await self._drain(1)
        for client in self.clients:
            await client.drop()
        self.ledger.end(await self._read(self.primary))

    async def _find_out(self) -> None:
        """Wait until every gateway has looked once more at what was lost."""
        enough = [place.proxy.counted + _TURNS for place in self.places]
        await until(lambda: all(place.proxy.counted >= count for place, count in zip(self.places, enough, strict=True)))

    async def _drain(self, number: int) -> None:
        """Publish something last on each channel, and wait until everyone stands there."""
        last = max(self.ledger.publications, default=0) + 1
        sweeps = [
            Publication(last + n, channel, "broadcast", _LAST, idempotency_key=f"key {last + n}")
            for n, channel in enumerate(("main", "other"))
        ]
        for at, sweep in enumerate(sweeps):
            await self.publish([sweep], (at + number) % 2, patiently=True)
        published = time.monotonic()
        tail = max(id_ for sweep in sweeps for id_ in self.ledger.acknowledged[sweep.number])
        await self.all_clients(lambda client: self._is_there(client, tail, published), f"at the tail {tail}")

    async def all_clients(self, holds: Callable[[Client], bool], what: str) -> None:
        """Wait until something holds for all clients that have no fault."""

        def behind() -> list[Client]:
            return [one for one in self.clients if not one.faults and not holds(one)]

        try:
            await until(lambda: not behind())
        except TimeoutError:
            states = [f"{one.name} on {one.transport} at {one.cursor} {one.counts}" for one in behind()]
            raise AssertionError(f"not {what}: {states}") from None

    def _is_there(self, client: Client, tail: Id, published: float) -> bool:
        if client.transport == "public":
            return client.answered_from > published
        return client.cursor is not None and read_id(client.cursor) >= tail

    def verdict(self) -> list[str]:
        """Compare everything with the model."""
        faults = [*self.faults, *(fault for client in self.clients for fault in client.faults)]
        faults += self.ledger.judge_log()
        for client in self.clients:
            found = list(self.ledger.judge(client.way))
            faults += [f"{client.name}: {fault}" for fault in found[:5]]
            if found:
                faults += [
                    f"{client.name}: {number} {stretch}" for number, stretch in enumerate(client.way) if stretch.steps
                ]
        return faults
