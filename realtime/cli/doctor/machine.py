"""This machine: may files be written where they belong, and are there enough of them."""

from __future__ import annotations

import os
import resource
import tempfile
from typing import TYPE_CHECKING, Final

from realtime.cli.doctor.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.config import Settings

_ANY_NUMBER: Final = 4096
"""Files that do for a gateway of which nobody said how many clients it takes."""
_BESIDE_CLIENTS: Final = 256
"""Files that a worker has open for itself: Redis, sockets, logs, and requests that come and go."""
_RAISE: Final = "ulimit -n 65536 in the shell that starts it, LimitNOFILE=65536 in its systemd unit"


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
    check, clients = "file limit", settings.limits.max_clients
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ok(check, "none")
    if clients == 0:
        if soft < _ANY_NUMBER:
            return warning(check, f"{soft} files: each connection is one, and clients may be any number", _RAISE)
        return ok(check, f"{soft} files here; each connection is one")
    needed = -(-clients // settings.server.workers) + _BESIDE_CLIENTS
    if soft < needed:
        told = f"{soft} files, and limits.max_clients = {clients} needs {needed} in each worker"
        return problem(check, told, _RAISE)
    return ok(check, f"{soft} files here, {needed} needed in each worker for limits.max_clients = {clients}")
