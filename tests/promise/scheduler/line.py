"""The way from a gateway to a server: it decides where a new connection leads, and loses requests and replies.

Connections that exist stay where they lead, as they do when an address is pointed at another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as ConnectionLost

from realtime.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis

    from tests.promise.scheduler.server import Server
else:
    AbstractConnection = object

_PATIENCE_S = 60.0


class Line:
    """One address of a gateway's, and what it leads to."""

    def __init__(self, server: Server, *, leaves: bool = True) -> None:
        """Lead to a server; `leaves`: clients leave one that answers as the wrong one does."""
        self._leaves = leaves
        self.server = server
        self.connected = server
        """Where the newest connection leads."""
        self._lost_reply = 0
        self._lost_request = 0

    def client(self, connections: int) -> Redis:
        """Make a client as the service does, whose connections take this way."""
        client = connect(f"redis://127.0.0.1:{self.server.port}/0", _PATIENCE_S, connections)
        pool: Any = client.connection_pool
        if not self._leaves:
            pool._leave = _stay  # noqa: SLF001 - how the service has it, undone
        pool.connection_class = type("Faulty", (_Faulty, pool.connection_class), {"line": self})
        return client

    def lose_reply(self, number: int) -> None:
        """Lose the so-manyth reply from now on: what was asked for is done."""
        self._lost_reply = number

    def lose_request(self, number: int) -> None:
        """Lose the so-manyth request from now on: what was asked for is not done."""
        self._lost_request = number

    def be_whole(self) -> None:
        """Lose nothing any more."""
        self._lost_reply = self._lost_request = 0

    def replied(self) -> bool:
        """Count a reply; tell whether it is lost."""
        self._lost_reply, is_lost = max(0, self._lost_reply - 1), self._lost_reply == 1
        return is_lost

    def requested(self) -> bool:
        """Count a request; tell whether it is lost."""
        self._lost_request, is_lost = max(0, self._lost_request - 1), self._lost_request == 1
        return is_lost


def _stay() -> None:
    pass


class _Faulty(AbstractConnection):
    """A connection of the service that takes a line."""

    line: Line
    port: int

    async def _connect(self) -> None:
        self.port = self.line.server.port
        self.line.connected = self.line.server
        await super()._connect()  # type: ignore[safe-super, no-untyped-call]

    async def send_packed_command(self, command: Iterable[bytes], check_health: bool = True) -> None:  # type: ignore[override] # as ours has it
        if self.is_connected and self.line.requested():
            await self.disconnect(nowait=True)
            raise ConnectionLost("the request was lost")
        await super().send_packed_command(command, check_health)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        answer = await super().read_response(*args, **kwargs)
        if self.line.replied():
            await self.disconnect(nowait=True)
            raise ConnectionLost("the reply was lost")
        return answer
