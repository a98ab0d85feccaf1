"""The command line as a process of its own: in a process group like a terminal's, and counted with all it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from tests.support.waiting import PATIENCE_S, patience, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

GAPLESS: Final = Path(sys.executable).with_name("gapless")


@dataclass
class Program:
    """One running command."""

    process: asyncio.subprocess.Process
    directory: Path
    said: list[str] = field(default_factory=list)
    """The lines of standard output that were read."""
    errors: str = ""
    """Standard error, once it has ended."""

    async def line(self, containing: str = "", within_s: float = PATIENCE_S) -> str:
        """Wait for a line of standard output."""
        assert self.process.stdout is not None
        async with patience(within_s):
            async for raw in self.process.stdout:
                self.said.append(raw.decode().rstrip("\n"))
                if containing in self.said[-1]:
                    return self.said[-1]
        raise AssertionError(f"it ended without saying {containing!r}: {self.said} {await self.complaint()}")

    async def address(self, within_s: float = PATIENCE_S) -> str:
        """Wait until a gateway says where it listens."""
        said = await self.line("http://", within_s)
        return next(word for word in said.split() if word.startswith("http://")).rstrip("/")

    async def write(self, text: str) -> None:
        """Write to standard input, which stays open."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        await self.process.stdin.drain()

    def interrupt(self) -> None:
        """Press Ctrl-C: the terminal tells every process of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for the end of the process, whose input ends here, and return its status."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        async with patience(within_s):
            out, err = await self.process.communicate()
        self.said += out.decode().splitlines()
        self.errors += err.decode()
        assert self.process.returncode is not None
        return self.process.returncode

    async def complaint(self) -> str:
        """Wait for the end of the process, and return its standard error."""
        await self.ended()
        return self.errors

    def processes(self) -> dict[int, str]:
        """Return it and all that it started, and those that they started: by id, their commands.

        They are known by their working directories: Valkey writes over its environment.
        """
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (folder / "cwd").readlink().is_relative_to(self.directory):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    async def nothing_left(self) -> None:
        """Wait until no process is left."""
        try:
            await until(lambda: not self.processes())
        except TimeoutError:
            raise AssertionError(f"left behind: {self.processes()}") from None


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and isn't reaped yet doesn't."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def killed(pid: int) -> None:
    """Kill a process, and wait for its very end.

    The kernel closes what it had open last first: its connections before the socket that it listened on, where who
    comes in between is reset.
    """
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not is_alive(pid))


@asynccontextmanager
async def program(
    directory: Path, *arguments: str, environ: Mapping[str, str] | None = None, command: str = str(GAPLESS)
) -> AsyncIterator[Program]:
    """Run ``gapless`` (or another command) with its data in `directory`; kill what is left of it at the end."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("GAPLESS_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start compiles everything anew, for seconds
    home = directory / "run"
    home.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        command,
        *arguments,
        cwd=home,
        env={**inherited, "GAPLESS_DATA_DIR": str(home / "data"), **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=2**22,
    )
    running = Program(process, home)
    try:
        yield running
    finally:
        for pid in running.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.communicate()
