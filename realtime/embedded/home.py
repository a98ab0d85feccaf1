"""The private Valkey's directory: who may use it, and where its socket is.

Two locks keep it from being used twice, both released by the kernel when their holder dies. The *gateway's*, on the
file `lock`, tells another gateway at once that it isn't alone. The *server's*, on the directory itself, is inherited by
the server and lives until that has ended: a gateway that was killed leaves a server that is still writing out its data,
and a new one on the same append-only file has to wait for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import stat
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from realtime.errors import EmbeddedError

LONGEST_SOCKET_PATH: Final = 103
"""Bytes: `sun_path` of unix(7) has 108 on Linux and 104 on macOS, with the NUL that ends it."""

_PAUSE_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Home:
    """A directory that is ours alone, until it is released."""

    directory: Path
    socket: Path
    gateway_lock: int
    server_lock: int
    """The descriptor that the server inherits."""

    @property
    def log(self) -> Path:
        """The file that the server writes its own log to."""
        return self.directory / "valkey.log"

    @property
    def url(self) -> str:
        """The server's address, as redis-py reads it."""
        return "unix://" + quote(str(self.socket))

    def release(self) -> None:
        """Leave the directory to others."""
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            with suppress(OSError):
                self.socket.parent.rmdir()
        os.close(self.server_lock)
        os.close(self.gateway_lock)


async def claim(data_dir: Path, patience_s: float) -> Home:
    """Make `<data_dir>/valkey` ours, waiting up to `patience_s` for a dead gateway's server to end.

    Raises:
        EmbeddedError: another gateway uses it, its server doesn't end, or the directory can't be used.
    """
    with ExitStack() as undo:
        try:
            directory = _made(data_dir)
            gateway_lock = _lock_for_gateway(directory)
            undo.callback(os.close, gateway_lock)
            server_lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            undo.callback(os.close, server_lock)
            await _lock_for_server(directory, server_lock, patience_s)
            home = Home(directory, _socket(directory), gateway_lock, server_lock)
        except OSError as error:
            raise EmbeddedError(f"{error.filename}: the data directory can't be used: {error.strerror}") from error
        undo.pop_all()
    return home


def _made(data_dir: Path) -> Path:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = data_dir.resolve() / "valkey"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def _lock_for_gateway(directory: Path) -> int:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise EmbeddedError(
            f"{directory.parent} is in use by another gateway (process {holder}). Stop that one, give this one a "
            "data_dir of its own, or let both share a Redis through redis.url."
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return lock


async def _lock_for_server(directory: Path, lock: int, patience_s: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if loop.time() >= deadline:
                raise EmbeddedError(
                    f"{directory}: the server that an earlier gateway left behind hasn't ended in {patience_s:g} s. "
                    "Its process has this directory as its working directory; end it, then start again."
                ) from None
            await asyncio.sleep(_PAUSE_S)
        else:
            return


def _socket(directory: Path) -> Path:
    """Return where the socket goes: into the directory, or where its path is too long, below the system's tmp."""
    for place in (directory, *_short_places(directory)):
        socket = place / "valkey.sock"
        if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH:
            if place != directory:
                _make_private(place)
            return socket
    raise EmbeddedError(
        f"{directory}: the path is too long for a unix socket, of {LONGEST_SOCKET_PATH} bytes at most, and so is that "
        "of the directory for temporary files. Set data_dir to a shorter path."
    )


def _short_places(directory: Path) -> tuple[Path, ...]:
    """Name directories after ours: the same after each start, so that what is left behind doesn't pile up."""
    name = f"gapless-{os.geteuid()}-{hashlib.blake2b(os.fsencode(directory), digest_size=6).hexdigest()}"
    return Path(tempfile.gettempdir()) / name, Path("/tmp") / name  # noqa: S108 - made private, or refused


def _make_private(place: Path) -> None:
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedError(f"{place} isn't a directory that only we may use; remove it, then start again.")
