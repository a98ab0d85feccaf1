"""The secret that signs tickets: the configured one, or in development one that we make and keep."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from realtime.config.settings import SHORTEST_SECRET, secret_bytes
from realtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from realtime.config.settings import Settings

_log = structlog.get_logger("gapless.config")


def resolve_secret(settings: Settings) -> str:
    """Return the secret: the configured one, else the one in the data directory, made on first use (mode 600).

    In development a configured secret may be short, which is said; production has been refused before (`Settings`).
    Processes that start at the same time agree on one.

    Raises:
        ConfigError: the data directory can't be written, or the file in it was tampered with.
    """
    if settings.auth.secret is None:
        try:
            return _kept(settings.data_dir)
        except OSError as error:
            raise ConfigError(f"{error.filename}: the secret can't be kept there: {error.strerror}") from error
    if secret_bytes(settings) < SHORTEST_SECRET:
        _log.warning("auth.secret is short: it would be refused in production", least_bytes=SHORTEST_SECRET)
    return settings.auth.secret.get_secret_value()


def _kept(data_dir: Path) -> str:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = data_dir / "secret"
    with _alone_in(data_dir):
        return _read(file) if file.exists() else _made(file)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Hold a lock on a directory itself, which leaves no file behind."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(file: Path) -> str:
    secret = file.read_text(encoding="ascii", errors="replace").strip()
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(f"{file}: the secret in it is damaged; delete the file to get a new one (all tickets end)")
    if file.stat().st_mode & 0o077:
        _log.warning("the secret was readable by others and is no longer; delete it to get a new one", file=str(file))
        file.chmod(0o600)
    return secret


def _made(file: Path) -> str:
    """Write a new secret beside its place and move it there, so that no crash leaves half of one."""
    secret = secrets.token_urlsafe(48)
    draft = file.with_name("secret.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(secret + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    _log.info("made a secret for development; production needs auth.secret", file=str(file))
    return secret
