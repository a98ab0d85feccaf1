"""Open files: each connection is one, and what a shell or systemd allows by default is soon used up."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from realtime.config import Settings

PLENTY: Final = 16_384
"""Files that do for a worker of which nobody said how many clients it takes."""
BESIDE_CLIENTS: Final = 256
"""Files that a worker has open for itself: Redis, sockets, logs, and requests that come and go."""

_log = structlog.get_logger("gapless.server")


def needed(settings: Settings) -> int:
    """Return how many files a worker wants."""
    clients = settings.limits.max_clients
    return -(-clients // settings.server.workers) + BESIDE_CLIENTS if clients else PLENTY


def allowed(wanted: int) -> int:
    """Return how many files a process that starts now may have: what it has, or can raise its limit to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(soft, min(wanted, _most(hard)))


def _most(hard: int) -> int:
    return PLENTY * PLENTY if hard == resource.RLIM_INFINITY else hard


def raise_limit(settings: Settings) -> None:
    """Let this process, and those that it starts, have the files that its clients will need; say where it can't."""
    wanted = needed(settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if wanted > _most(hard):
        with suppress(ValueError, OSError):  # only who has the right to may raise what is the system's
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _most(hard)), hard))
    if wanted > hard:
        _log.warning(
            "few open files are allowed, and each connection is one",
            allowed=hard,
            wanted=wanted,
            raise_by="LimitNOFILE in its systemd unit, or the hard limit (ulimit -Hn) of who starts it",
        )
