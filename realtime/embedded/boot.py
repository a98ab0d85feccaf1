"""Tells whether the machine may have crashed while the private Valkey ran: what was not on the disk is lost then.

A process that is killed loses nothing that it had given to the kernel; a machine that crashes loses what the kernel had
not written out. The file `boot` in the server's directory tells the two apart. While the server runs, it holds the
boot id of the kernel (random(4), `/proc/sys/kernel/random/boot_id`). When the server has ended in good order, or writes
nothing that is not on the disk, it holds the word ``safe``.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""Linux only. Elsewhere there is no boot id, and every end that was not in good order may have been a crash."""

_SAFE: Final = "safe"
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the file says in one directory; `boot_id` is where the kernel tells its boot id."""

    directory: Path
    boot_id: Path = BOOT_ID

    def tells_of_a_crash(self) -> bool:
        """Tell whether the machine may have crashed while a server ran here.

        A directory without a mark is a new one, or an earlier version's, which is given the benefit of the doubt.
        """
        try:
            found = self._file.read_text("utf-8", "replace").strip()
        except FileNotFoundError:
            return False
        return found not in {_SAFE, self._boot()}

    def write_running(self) -> None:
        """Write that a server runs whose latest writes are not on the disk yet."""
        self._write(self._boot() or _UNKNOWN)

    def write_safe(self) -> None:
        """Write that all is on the disk, and stays so."""
        self._write(_SAFE)

    @property
    def _file(self) -> Path:
        return self.directory / "boot"

    def _boot(self) -> str | None:
        with suppress(OSError):
            return self.boot_id.read_text("ascii").strip()
        return None

    def _write(self, text: str) -> None:
        """Replace the file, so that a crash leaves the old one or the new one, and see it onto the disk."""
        new = self.directory / "boot.new"
        with new.open("w", encoding="ascii") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
