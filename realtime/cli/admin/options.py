"""Options of the operator's commands."""

from typing import Annotated, NamedTuple

import typer

Json = Annotated[bool, typer.Option("--json", help="Print what the API answered.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Why, for the history and for whoever looks into it at night.", metavar="TEXT")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and whom it moves; change nothing.")]


class Manner(NamedTuple):
    """How a change is made."""

    yes: bool
    dry_run: bool
    json: bool
