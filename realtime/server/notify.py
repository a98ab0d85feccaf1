"""Tells systemd how far we are, where it asks for that (``Type=notify``; sd_notify(3)): one datagram, no library."""

from __future__ import annotations

import os
import socket

import structlog

_log = structlog.get_logger("gapless.server")

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str) -> None:
    """Send a state to the socket that ``NOTIFY_SOCKET`` names; without one, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:
        _log.warning("systemd not told", state=state, reason=error.strerror)
