"""Two servers, some gateways, some clients: makes the steps of a plan, and tells the ledger what is seen."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from realtime.channel.log import Limits
from realtime.errors import LogUnavailable
from tests.promise.scheduler import moving, operating, reading
from tests.promise.scheduler.acts import ACTS
from tests.promise.scheduler.decrees import Chain, Decrees
from tests.promise.scheduler.gateway import Gateway, Parts, Size
from tests.promise.scheduler.ledger import Bounds, Client, Ledger
from tests.promise.scheduler.lineage import Id, Lineage
from tests.promise.scheduler.server import Copy
from tests.promise.scheduler.translation import id_of, line_of, revision_of, stored_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path

    from realtime.channel.event import Draft
    from realtime.channel.reader import Reader
    from tests.promise.scheduler.ledger import Fault
    from tests.promise.scheduler.plane import Plane
    from tests.promise.scheduler.server import Server
    from tests.promise.scheduler.steps import Plan, Step

NOON_MS: Final = 1_800_000_000_000
_LOG: Final = "{gapless:0}:log"
_POLICY: Final = "{gapless:control}:policy"
_IDEMPOTENCY_MS: Final = 10_000_000
_RECENT: Final = 3
_ROUNDS: Final = 6
_WRITING: Final = {"publish", "batch", "key", "poison", "long_poll", "change", "revoke", "lift", "hear"}


@dataclass(frozen=True)
class Snapshot:
    """A server's data at one moment, and the log that they are."""

    copy: Copy
    lineage: Lineage
    chain: Chain


@dataclass
class Outcome:
    """What became of a history: a line for each step, and what must not be."""

    plan: Plan
    trace: list[str]
    faults: list[Fault]
    events: int
    truncations: int

    def __str__(self) -> str:
        """Tell it: the seed, how the gateways are set, each step with what came of it, and the faults."""
        head = f"seed {self.plan.seed}, {len(self.plan.steps)} steps, {self.plan.setting}"
        return "\n".join([head, *self.trace, *(f"FAULT {fault}" for fault in self.faults), ""])


class World:
    """What steps act on."""

    def __init__(self, plan: Plan, servers: Sequence[Server], library: str, parts: Parts, data_dir: Path) -> None:
        """Empty the servers, and start the gateways at the first, with an empty data directory."""
        setting = plan.setting
        bounds = setting.retention_ms, setting.scope_cap, setting.topics_cap, setting.max_bytes
        self.servers, self.primary = servers, servers[0]
        self.ledger = Ledger(Bounds(*bounds))
        self.decrees = Decrees(self.ledger.blame)
        self.lineages: dict[Server, Lineage] = {}
        self.chains: dict[Server, Chain] = {}
        for server in servers:
            server.reset(library, NOON_MS, str(plan.seed))
            self.lineages[server], self.chains[server] = self.ledger.lineage(), Chain()
        self._plan, self._parts, self._data_dir = plan, parts, data_dir
        self._size = Size(Limits(*bounds, _IDEMPOTENCY_MS), setting.window_events, setting.window_bytes)
        self._numbers, self._names = count(1), count(1)
        self.gateways = [self._start(self.primary) for _ in range(setting.gateways)]
        self.clients: list[Client] = []
        self.readers: dict[Client, tuple[Gateway, Reader]] = {}
        self.snapshots: list[Snapshot] = []
        self.keyed: dict[str, tuple[int, Draft]] = {}
        self._trace: list[str] = []

    async def run(self) -> Outcome:
        """Make all steps, let all come to rest, and judge."""
        for at, step in enumerate(self._plan.steps):
            self.ledger.step = at
            await self._start_all()
            self._say(f"{step}: {await self._make(step)}")
        self.ledger.step = len(self._plan.steps)
        if not self.ledger.faults:
            await self._settle()
        for gateway in self.gateways:
            await gateway.close()
        ledger = self.ledger
        return Outcome(self._plan, self._trace, ledger.faults, len(ledger.publications), ledger.truncations)

    async def _start_all(self) -> None:
        """Let gateways start that are new, or could not yet."""
        for gateway in self.gateways:
            if not gateway.is_started:
                await self._start_one(gateway)

    async def _start_one(self, gateway: Gateway) -> None:
        """Have a gateway read what others wrote down, and write that down itself."""
        await gateway.start()
        self.ledger.recall(gateway.name, self.lineages[gateway.pool.connected] if gateway.is_started else None)
        self.observe(gateway)
        if gateway.is_started:
            self.ledger.keep(gateway.name, gateway.log.born)

    async def _make(self, step: Step) -> str:
        try:
            return await ACTS[step.kind](self, step)
        except LogUnavailable as error:
            if not _is_excused(step, error.__cause__):
                self.ledger.blame("refused", f"{step.kind}: {error.__cause__}")
            return f"no answer, {type(error.__cause__).__name__}"

    def _say(self, line: str) -> None:
        self._trace.append(f"{self.ledger.step:3} {line}")

    # Choosing

    def number(self) -> int:
        """Return a number that no event has."""
        return next(self._numbers)

    def gateway(self, at: int) -> Gateway:
        return self.gateways[at % len(self.gateways)]

    def server(self, at: int) -> Server:
        return self.servers[at % len(self.servers)]

    def other(self, server: Server) -> Server:
        return next(one for one in self.servers if one is not server)

    def snapshot(self, at: int) -> Snapshot | None:
        """Return one of the last snapshots."""
        return self.snapshots[-1 - at % min(_RECENT, len(self.snapshots))] if self.snapshots else None

    # Looking

    async def seen(self, gateway: Gateway, call: Awaitable[bool | None]) -> bool | None:
        """Make a gateway's call, and take down what came of it, whatever that was."""
        try:
            return await call
        finally:
            self.observe(gateway)

    def observe(self, by: Gateway) -> None:
        """Take down what a gateway's step put into the logs, and what it has followed."""
        for server, lineage in self.lineages.items():
            raws, first = server.read(_LOG, str(lineage.tail or Id(0, 0)))
            oldest = stored_id(first) if first else None
            self.ledger.observe(lineage, [line_of(raw) for raw in raws], oldest, server.now_ms, by.name)
        for server in (by.pool.connected, by.following.connected):
            self.ledger.glimpse(by.name, self.lineages[server])
        self.ledger.compare(by.name, self.lineages[by.pool.connected])
        if by.plane is not None:
            self._observe_decrees(by, by.plane)
        followed = [entry.id for entry in by.heard.take()]
        self.ledger.know(by.name, map(id_of, [*followed, by.follower.window.position]))

    def _observe_decrees(self, by: Gateway, plane: Plane) -> None:
        for server, chain in self.chains.items():
            raws, _ = server.read(_POLICY, f"{chain.last}-0")
            self.decrees.observe(chain, map(revision_of, raws))
        self.decrees.see(by.name, self.chains[by.pool.connected], plane.changes)
        self.decrees.refuse(by.name, plane.revocations.items())

    # Changing

    def copy(self, server: Server) -> Snapshot:
        """Take what a server has."""
        return Snapshot(server.copy(), self.ledger.lineage(self.lineages[server]), self.chains[server].copy())

    def lay(self, server: Server, taken: Snapshot | None, *, is_loaded: bool = False) -> None:
        """Let a server have what was taken, or nothing; `is_loaded`: with a library that remembers nothing."""
        if taken is None:
            server.lay(Copy({}))
            self.lineages[server], self.chains[server] = self.ledger.lineage(), Chain()
            return
        server.heal()
        server.lay(taken.copy)
        self.lineages[server], self.chains[server] = self.ledger.lineage(taken.lineage), taken.chain.copy()
        if is_loaded:
            server.reload()

    def set_clock(self, server: Server, now_ms: int) -> None:
        """Let a server's clock show this."""
        server.set_clock(now_ms)
        self.ledger.age(self.lineages[server], now_ms)

    async def cut_off(self, server: Server) -> None:
        """Cut the connections of the gateways that are with a server."""
        for gateway in self.gateways:
            if server in {gateway.pool.connected, gateway.following.connected}:
                await gateway.cut()

    async def renew(self, at: int, *, is_killed: bool) -> str:
        """Start a gateway in another's place, which was killed, or ended in good order."""
        old = self.gateways[at]
        if not is_killed:
            await old.stop()
            self.ledger.keep(old.name, old.log.born)
        await old.close()
        new = self.gateways[at] = self._start(old.pool.server)
        new.lead(old.pool.server, old.following.server)
        self.readers = {client: held for client, held in self.readers.items() if held[0] is not old}
        self.ledger.end(old.name)
        self.decrees.forget(old.name)
        return f"{old.name}{' was killed and' if is_killed else ''} is {new.name}"

    def _start(self, server: Server) -> Gateway:
        name, is_operated = f"g{next(self._names)}", self._plan.setting.is_operated
        return Gateway(name, server, self._size, self._parts, self._data_dir, is_operated=is_operated)

    # The end

    async def _settle(self) -> None:
        """Bring all gateways to one server, let them come to its end, and all clients with them; and judge."""
        for server in self.servers:
            server.heal()
        for gateway in self.gateways:
            gateway.pool.be_whole()
            gateway.following.be_whole()
        if self._plan.seed % 3:  # connections that stay with the other server find out
            self.other(self.primary).demote()
        await moving.lead(self.gateways, self.primary, self._plan.seed)
        await self._start_all()
        for _ in range(_ROUNDS):
            for gateway in self.gateways:
                with suppress(LogUnavailable):
                    await self.seen(gateway, gateway.touch())
                    await reading.follow_on(self, gateway)
                    await self._settle_plane(gateway)
        self._say(f"settle at {self.primary.name}: {[gateway.stands() for gateway in self.gateways]}")
        positions = {gateway.name: id_of(gateway.follower.window.position) for gateway in self.gateways}
        self.ledger.rest(positions, self.lineages[self.primary])
        for number, client in enumerate(self.clients):
            await self._come_to_rest(client, self.gateway(number + self._plan.seed))
        if self.ledger.faults:
            return
        self.ledger.settle(self.clients, self.lineages[self.primary])
        planes = {gateway.name: gateway.plane for gateway in self.gateways if gateway.plane is not None}
        policies = {name: plane.changes for name, plane in planes.items()}
        self.decrees.settle(self.chains[self.primary], policies, {name: _refused(one) for name, one in planes.items()})

    async def _settle_plane(self, gateway: Gateway) -> None:
        if gateway.plane is not None:
            await self.seen(gateway, gateway.plane.touch())
            await self.seen(gateway, gateway.plane.hear())
            await self.seen(gateway, gateway.plane.load())

    async def _come_to_rest(self, client: Client, gateway: Gateway) -> None:
        if self.ledger.faults:
            return
        try:
            self._say(f"settle: {await reading.read_on(self, client, gateway, 3)}")
        except LogUnavailable as error:
            self.ledger.blame("away", f"{gateway.name} has no answer for {client.name}: {error.__cause__!r}")


def _is_excused(step: Step, cause: BaseException | None) -> bool:
    """Tell whether a step may fail so: what reads, and what relieves the log, is not refused when memory is full."""
    if isinstance(cause, OutOfMemoryError):
        return step.kind in _WRITING
    return step.kind == "poison" or isinstance(cause, ReadOnlyError) or not isinstance(cause, ResponseError)


def _refused(plane: Plane) -> set[str]:
    return {name for name in operating.SUBJECTS if plane.refuses(name)}
