"""Streams that are open, and settled."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.loading import loading
from bench.machine import room_for
from bench.plan import Audience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.loading import Running
    from bench.plan import Publisher
    from bench.targets import Target

SETTLE_S = 0.4
"""After the last client has come: what its coming left to be done is not to be measured."""


@contextmanager
def streams(target: Target, count: int, *publishers: Publisher, grace_ms: int = 10_000) -> Iterator[Running]:
    """Open streams, each one another user's."""
    clients = [target.stream(user) for user in range(room_for(count))]
    plan = Audience(target.port, {target.kind: clients}, publishers, grace_ms=grace_ms)
    with loading(plan, target) as running:
        time.sleep(SETTLE_S)
        yield running
