"""The peers on Node, from npm: socket.io over WebSockets, and a plain server of server-sent events."""

from bench.peers.node.node import Node

__all__ = ["Node"]
