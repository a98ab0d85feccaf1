"""Ends tests that are stuck, without raising anything in code that does not wait.

A test in an event loop is ended by `asyncio.timeout`: at the place where it waits, and with its fixtures torn down. Any
other one ends with its process, by pytest-timeout's thread, after the stacks of all threads (pyproject.toml); the test
runner then goes on in another process.
"""

from __future__ import annotations

import asyncio
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BEFORE: Final = 0.8
"""When a test that waits is ended, as a part of the time after which its process is."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Bound a test that runs in an event loop."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        marker = item.get_closest_marker("timeout")
        limit_s = float(marker.args[0] if marker else item.config.getini("timeout"))
        item.obj = _bounded(item.obj, limit_s * _BEFORE)


def _bounded(test: Callable[..., Awaitable[None]], limit_s: float) -> Callable[..., Awaitable[None]]:
    @wraps(test)
    async def bounded(*args: object, **arguments: object) -> None:
        async with asyncio.timeout(limit_s):
            await test(*args, **arguments)

    return bounded
