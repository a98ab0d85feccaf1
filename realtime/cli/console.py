"""Words for a person: notes and errors, on standard error."""

from __future__ import annotations

from typing import Final

from rich.console import Console

output: Final = Console(highlight=False, soft_wrap=True)
notes: Final = Console(stderr=True, highlight=False, soft_wrap=True)


class Failure(Exception):
    """What was asked for couldn't be done; its text says why, and what to do."""

    def __init__(self, text: str, status: int = 1) -> None:
        """Give the text, and the exit status."""
        super().__init__(text)
        self.status = status


def note(text: str) -> None:
    """Say something that is no result."""
    notes.print(text, markup=False)


def complain(text: str) -> None:
    """Say what went wrong."""
    notes.print("[bold red]error:[/]", end=" ")
    notes.print(text, markup=False)
