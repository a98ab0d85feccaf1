"""Whom we are compared with, each configured as well as we know how: its configuration lies beside its module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bench.gateway import Gapless
from bench.peers.floor import Floor
from bench.peers.nchan import Nchan
from bench.peers.node import Node
from bench.peers.python import Uvicorn

if TYPE_CHECKING:
    from bench.targets import Peer

PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        Gapless(),
        Nchan(),
        Floor(),
        Node("socket.io", "socketio.js", "socket.io", "websocket"),
        Node("node", "sse.js", "", "sse"),
        Uvicorn("sse-starlette", "bench.peers.starlette_app:app", ("sse-starlette", "starlette")),
        Uvicorn("quart", "bench.peers.quart_app:app", ("quart",)),
    )
}
"""Ours first; the floor is no peer, but what no server can go below."""
