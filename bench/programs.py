"""The C programs of the bench, compiled when they are needed: see `bench/load/`."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "load"
BUILT: Final = Path(__file__).parent / "out"
PARTS: Final = {
    "audience": ("receiver", "publisher", "plan", "answer", "frames", "ticks", "histogram", "wire"),
    "requests": ("plan", "answer", "histogram", "wire"),
    "judge": ("answer", "frames", "ticks"),
    "floor": (),
}
_FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


class NoCompiler(RuntimeError):
    """There is no gcc; the text tells which package has it."""


@cache
def build(name: str, into: Path = BUILT) -> Path:
    """Compile a program unless it is newer than its sources, once for this process; return where it is.

    Raises:
        NoCompiler: there is no gcc.
    """
    program = into / name
    newest = max(file.stat().st_mtime for file in SOURCES.iterdir())
    if program.exists() and program.stat().st_mtime > newest:
        return program
    if shutil.which("gcc") is None:
        raise NoCompiler("the load is written in C and there is no gcc. As root: apt-get install gcc libc6-dev")
    into.mkdir(parents=True, exist_ok=True)
    sources = [str(SOURCES / f"{part}.c") for part in (name, *PARTS[name])]
    subprocess.run(["gcc", *_FLAGS, "-o", str(program), *sources], check=True)
    return program
