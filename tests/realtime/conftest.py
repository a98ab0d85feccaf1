"""The commands of the command line, as the tests of the operator's ones run them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from realtime import logs
from realtime.cli import app
from tests.support.gateway import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Command = Callable[..., Awaitable[Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run a command beside the gateway, in a directory of its own, with nothing configured but the secret."""
    for name in [name for name in os.environ if name.startswith("GAPLESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GAPLESS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GAPLESS_AUTH__SECRET", SECRET)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda _settings: None)  # this process's logging is the test runner's

    async def invoke(*arguments: str, **environ: str) -> Any:  # noqa: ANN401 - typer's result
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environ, catch_exceptions=False)

    with capture_logs():  # the gateway's, whose standard output is the command's here
        yield invoke
