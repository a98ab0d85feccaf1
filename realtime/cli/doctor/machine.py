"""This machine: may files be written where they belong, and are there enough of them."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final

from realtime.cli.doctor.findings import Finding, ok, problem, warning
from realtime.server import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.config import Settings

_RAISE: Final = "ulimit -Hn 65536 for who starts it, LimitNOFILE=65536 in its systemd unit"


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the data directory and the limit of files."""
    yield _data_directory(settings)
    yield _files(settings)


def _data_directory(settings: Settings) -> Finding:
    check, there = "data directory", settings.data_dir.absolute()
    while not there.exists():
        there = there.parent
    try:
        if there == settings.data_dir.absolute():
            tempfile.TemporaryFile(dir=there).close()
        elif not os.access(there, os.W_OK | os.X_OK):
            return problem(check, f"{settings.data_dir} can't be made in {there}", _whose(settings))
    except OSError as error:
        return problem(check, f"{settings.data_dir} can't be written: {error.strerror}", _whose(settings))
    return ok(check, f"{settings.data_dir} can be written")


def _whose(settings: Settings) -> str:
    return f"give {settings.data_dir} to the user who runs the service, or set data_dir to another"


def _files(settings: Settings) -> Finding:
    """Compare what a worker needs with what it may have: it raises its limit itself, as far as the system lets it."""
    check, clients, needed = "file limit", settings.limits.max_clients, files.needed(settings)
    allowed = files.allowed(needed)
    if allowed < needed and clients:
        told = f"{allowed} files, and limits.max_clients = {clients} needs {needed} in each worker"
        return problem(check, told, _RAISE)
    if allowed < needed:
        return warning(check, f"{allowed} files: each connection is one, and clients may be any number", _RAISE)
    return ok(check, f"{allowed} files can be had, {needed} are wanted in each worker")
