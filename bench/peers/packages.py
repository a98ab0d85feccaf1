"""Debian's packages of peers: installed where that may be done, asked for where not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_SETUP: Final = Path(__file__).parents[2] / "requirements" / "setup.sh"


def find_program(name: str) -> str | None:
    """Return the path of a program; servers are where not everybody looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def install(packages: Sequence[str], needed: Sequence[Path | str]) -> str | None:
    """See that files and programs are there, by installing packages if need be; tell what is still missing."""
    if all(map(_is_there, needed)):
        return None
    done = subprocess.run([_SETUP, "packages", *packages], check=False, capture_output=True, text=True)
    if all(map(_is_there, needed)):
        return None
    return (done.stderr.strip().splitlines() or [f"not found: {', '.join(map(str, needed))}"])[-1]


def _is_there(what: Path | str) -> bool:
    return what.is_file() if isinstance(what, Path) else find_program(what) is not None
