"""Ports of this test process's own, also while nothing listens there.

A port that the kernel picks (one of its ephemeral ones) can be picked again, for anybody, as soon as nobody listens:
while a test had its server down, another test's server took its place, and the log of both was one. So these are below
the ephemeral ones, and each process of the test runner has some to itself.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import socket
from typing import Final

_FIRST: Final = 10_000
_LAST: Final = 32_500
"""Linux's ephemeral ports begin at 32768."""
_PROCESSES: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_EACH: Final = (_LAST - _FIRST) // _PROCESSES


def _own() -> itertools.cycle[int]:
    """Return this process's, from anywhere on: another run of the tests may be under way on this machine."""
    first = _FIRST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES * _EACH
    ports = [*range(first, first + _EACH)]
    begin = random.SystemRandom().randrange(_EACH)
    return itertools.cycle(ports[begin:] + ports[:begin])


_ports: Final = _own()


def free_port() -> int:
    """Return a port that this process has not been given lately, and where nobody listens."""
    for port in itertools.islice(_ports, _EACH):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(errno.EADDRINUSE, "all ports of this test process are taken")
