"""One `gapless demo`, as `make run` starts it, for all blocks of the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT
from tests.docs.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import RedisServer

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Demo:
    """The running service: its address, and the environment of those who share its secret."""

    url: str
    environ: dict[str, str]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("documented")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GAPLESS_")} | {
        "GAPLESS_DATA_DIR": str(folder / "data"),
        "GAPLESS_SERVER__PORT": "0",
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [BIN / "gapless", "demo"], env=environ, cwd=folder, stdout=-1, stderr=errors, text=True
        )
    with process:
        try:
            assert process.stdout is not None
            words = (word for line in process.stdout for word in line.split())
            url = next((word.rstrip("/") for word in words if word.startswith("http://")), None)
            assert url, (folder / "errors").read_text()
            yield Demo(url, environ | {"GAPLESS_URL": url})
            process.terminate()
            assert process.wait(15) == 0
        finally:
            process.kill()


@pytest.fixture
def shell(demo: Demo, valkey: RedisServer, tmp_path: Path) -> Shell:
    addresses = {"http://127.0.0.1:8000": demo.url, "redis://127.0.0.1:6379/0": valkey.empty()}
    return Shell(tmp_path, demo.environ, addresses)
