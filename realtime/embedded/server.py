"""Starts the private Valkey, waits until it answers, starts it again if it dies, and ends it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from realtime.embedded import lifeline
from realtime.embedded.binary import find_server, first_usable
from realtime.embedded.boot import BOOT_ID, Mark
from realtime.embedded.home import Home, claim
from realtime.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Heard = Callable[[str], Awaitable[None]]
    """Told the server's address."""

_log = structlog.get_logger("gapless.embedded")

_OPTIONS: Final = (
    *("--port", "0"),  # no TCP: the socket's directory says who may connect
    *("--unixsocketperm", "700"),
    *("--appendonly", "yes"),
    *("--save", ""),  # the append-only file is enough, and snapshots would fork a second time
    *("--maxmemory-policy", "noeviction"),  # the log refuses any other: eviction eats history in silence
    *("--daemonize", "no"),
)
_PAUSE_S: Final = 0.02
_WATCH_S: Final = 0.2
_PING_TIMEOUT_S: Final = 1.0
_LAST_LINES: Final = 15
_FIRST_RESTART_S: Final = 0.1
_SLOWEST_RESTART_S: Final = 10.0


class Embedded:
    """A private Valkey, on the data of the one before it."""

    def __init__(  # noqa: PLR0913 - what is run, how, and how long it may take
        self,
        server: Path | None = None,
        *,
        fsync: bool = False,
        crashed: Heard | None = None,
        boot_id: Path = BOOT_ID,
        start_timeout_s: float = 60,
        stop_timeout_s: float = 10,
    ) -> None:
        """Prepare one; `server` is a program to run instead of the one that would be found.

        With `fsync` each write is on the disk before it is answered, else within a second. `crashed` is told the
        address before anyone else, when the machine may have crashed since the data were last written (`Mark`, which
        reads the kernel's `boot_id`): the end of the data may be missing.

        Loading a large history may take most of `start_timeout_s`; ending writes it out, for which `stop_timeout_s`
        is plenty.
        """
        self._server = server
        self._fsync = fsync
        self._crashed = crashed
        self._boot_id = boot_id
        self._mark: Mark | None = None
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._home: Home | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the server, once there is one."""
        return self._process.pid if self._process else None

    async def start(self, data_dir: Path) -> str:
        """Start it in `<data_dir>/valkey`, and return its address once it has loaded its data.

        To be called from a thread that lives as long as this process, such as the main one (see `lifeline`).

        Raises:
            EmbeddedError: no server is found, the directory is in use, or the server doesn't come up in time; then the
                detail has the last lines of its log.
        """
        if self._home is not None:
            raise RuntimeError("the private Valkey is started already")
        self._server = await asyncio.to_thread(_usable, self._server)
        self._home = home = await claim(data_dir, self._stop_timeout_s)
        try:
            await self._launch(self._server, home)
            self._mark = await self._marked(home)
        except BaseException:
            await self.stop()
            raise
        return home.url

    async def _marked(self, home: Home) -> Mark:
        """Have a crash of the machine dealt with, and only then forget it: this may be cut short too."""
        mark = Mark(home.directory, self._boot_id)
        if mark.tells_of_a_crash():
            _log.warning(
                "the machine may have crashed: what was written last may be lost", directory=str(home.directory)
            )
            if self._crashed is not None:
                await self._crashed(home.url)
        try:
            await asyncio.to_thread(mark.write_safe if self._fsync else mark.write_running)
        except OSError as error:
            raise EmbeddedError(f"{error.filename}: the data directory can't be used: {error.strerror}") from error
        return mark

    async def supervise(self) -> None:
        """Start it again whenever it dies, until `stop` is called: what was written is in its append-only file."""
        pause_s = _FIRST_RESTART_S
        while (home := self._home) and (server := self._server) and (process := self._process):
            await _end_of(process, _WATCH_S)
            await asyncio.sleep(pause_s)
            if self._home is not home:
                return
            _log.error("the private Valkey ended; starting it again", status=process.returncode, log=str(home.log))
            try:
                await self._launch(server, home)
            except EmbeddedError as error:
                _log.exception("the private Valkey can't be started again", detail=error.detail)
                pause_s = min(pause_s * 2, _SLOWEST_RESTART_S)
            else:
                pause_s = _FIRST_RESTART_S

    async def stop(self) -> None:
        """End it, by force if it doesn't in time, and leave its directory to others. May be called at any time."""
        home, self._home = self._home, None
        mark, self._mark = self._mark, None
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                async with asyncio.timeout(self._stop_timeout_s):
                    await _end_of(process)
            except TimeoutError:
                _log.warning("the private Valkey didn't end in time and is killed", pid=process.pid)
            finally:
                process.kill()
                process.wait()
            if mark is not None and process.returncode == 0:  # it has written out all, and seen it onto the disk
                with suppress(OSError):
                    await asyncio.to_thread(mark.write_safe)
        if home is not None:
            home.release()

    async def _launch(self, server: Path, home: Home) -> None:
        log_begins = _size(home.log)
        try:
            self._process = process = _spawn(server, home, "always" if self._fsync else "everysec")
        except OSError as error:
            raise EmbeddedError(f"The private Valkey can't be started in {home.directory}: {error}") from error
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await _until_it_answers(process, home)
        except TimeoutError:
            process.kill()
            await _end_of(process)
            raise _failure(f"didn't come up in {self._start_timeout_s:g} s", home, log_begins) from None
        if process.returncode is not None:
            raise _failure(f"ended with status {process.returncode} while it was starting", home, log_begins)
        _log.info("the private Valkey is up", pid=process.pid, directory=str(home.directory))


def _usable(server: Path | None) -> Path:
    return find_server() if server is None else first_usable([server])


def _spawn(server: Path, home: Home, appendfsync: str) -> subprocess.Popen[bytes]:
    """Start the server through the launcher that ties it to us, in a session of its own.

    Ctrl-C in a terminal goes to a whole process group: it must not end the log before the gateway has drained.
    """
    # Its environment: none of our secrets, and the one locale that exists everywhere: Valkey complains of any other.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GAPLESS_")} | {"LC_ALL": "C"}
    launcher = [sys.executable, "-I", "-S", lifeline.__file__, str(os.getpid())]
    with home.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - a program of our own installation, or of the operator's PATH
            [*launcher, server, "--unixsocket", home.socket, "--appendfsync", appendfsync, *_OPTIONS],
            cwd=home.directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[home.server_lock],
            start_new_session=True,
        )


async def _until_it_answers(process: subprocess.Popen[bytes], home: Home) -> None:
    """Return when the server has loaded its data and answers, or has ended."""
    while process.poll() is None and not await _answers(home.socket):  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(_PAUSE_S)


async def _answers(socket: Path) -> bool:
    """Ask for a PONG; while data is loaded the answer is another one."""
    try:
        async with asyncio.timeout(_PING_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def _end_of(process: subprocess.Popen[bytes], pause_s: float = _PAUSE_S) -> None:
    """Wait until a process has ended, by asking: SIGCHLD and child watchers belong to whoever runs the loop."""
    while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(pause_s)


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def _failure(what: str, home: Home, log_begins: int) -> EmbeddedError:
    with home.log.open("rb") as log:
        log.seek(log_begins)
        lines = log.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
    return EmbeddedError("\n  ".join([f"The private Valkey {what}. Its log, {home.log}, ends:", *lines]))
