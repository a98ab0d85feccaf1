"""Fixtures for everyone: a Valkey for each test process, emptied for each test, and a gateway on it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import settings

from tests.support.gateway import Gateway, gateway
from tests.support.redis import RedisServer, redis_server
from tests.support.stuck import pytest_itemcollected as pytest_itemcollected  # noqa: PLC0414 - a hook of this folder's

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

settings.register_profile("gapless", deadline=None)  # a busy machine is no counterexample; the timeout is pytest's
settings.load_profile("gapless")

for signum in (signal.SIGINT, signal.SIGHUP):
    # A shell's background job ignores it, and so would every program that a test starts and interrupts.
    if signal.getsignal(signum) is signal.SIG_IGN:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


_SLOW_FIRST: Final = ("docs", "e2e", "promise", "realtime", "live", "channel")
"""Folders whose files take longest, for they wait for programs and browsers."""
_HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest: begun last, one of them would keep a process busy while the others have nothing to do."""
    rank = {folder: place for place, folder in enumerate(_SLOW_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(_HERE).parts[0], len(rank)))


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Valkey for the tests of this process that don't hurt it."""
    with redis_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: RedisServer) -> str:
    """The address of a Valkey that holds nothing."""
    return valkey.empty()


@pytest.fixture
async def served(tmp_path: Path, redis_url: str) -> AsyncIterator[Gateway]:
    """A gateway with the default settings."""
    async with gateway(tmp_path, redis_url) as running:
        yield running
