"""One way for every change of the policy: show what changes and whom it moves, ask, act, tell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from policies.difference import differences
from realtime.cli.admin.tables import print_json, show, value
from realtime.cli.console import Failure, note, notes, output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from policies.difference import Change
    from policies.document import Document
    from realtime.cli.admin.api import Api, InForce, Preview, Reply
    from realtime.cli.admin.options import Manner


def changed(in_force: InForce, document: Document) -> tuple[Change, ...]:
    """Compare the policy in force with what it may become.

    Raises:
        InvalidField: the policy in force has what this version doesn't know.
    """
    return differences(in_force.document.dump(), with_switches(document, in_force).dump())


def with_switches(document: Document, in_force: InForce) -> Document:
    """Return a document with a switch for each transport that the service has."""
    return document.with_transports(in_force.policy.get("transports", {}))


def show_changes(changes: Iterable[Change], then: str, console: Console = output) -> None:
    """Print what would become different; `then` names where that stands."""
    rows = [(change.path, value(change.before), value(change.after)) for change in changes]
    show(("path", "in force", then), rows, console)


def make(  # noqa: PLR0913 - what a change is
    api: Api,
    current: Reply[InForce],
    document: Document,
    act: Callable[[], Reply[InForce]],
    manner: Manner,
    *,
    then: str = "then",
) -> None:
    """Have `act` make the policy in force become `document`, once the operator has seen what that means.

    Raises:
        Failure: the operator said no.
        Trouble, Refused: as `Api.send` does.
    """
    changes = changed(current.value, document)
    if not changes:
        note(f"nothing to change: revision {current.value.revision} has it so already")
        if manner.json:
            print_json(current.raw)
        return
    preview = api.preview(document)
    if manner.dry_run:
        _show_all(current.value, changes, preview, manner, then)
        return
    show_changes(changes, then, notes)
    note(sentence(preview.value))
    if not manner.yes and _can_ask() and not typer.confirm("Change it?", err=True):
        raise Failure("nothing was changed")
    _tell(act(), manner)


def _show_all(
    current: InForce, changes: tuple[Change, ...], preview: Reply[Preview], manner: Manner, then: str
) -> None:
    if manner.json:
        told = {"revision": current.revision, "changes": [change._asdict() for change in changes]}
        print_json(msgspec.json.encode({**told, "preview": msgspec.Raw(preview.raw)}))
    else:
        show_changes(changes, then)
        output.print(sentence(preview.value), markup=False)


def _tell(reply: Reply[InForce], manner: Manner) -> None:
    if manner.json:
        print_json(reply.raw)
    else:
        output.print(f"revision {reply.value.revision} is in force", markup=False)


def sentence(preview: Preview) -> str:
    """Tell whom a policy would move."""
    moves = ", ".join(
        f"{count} from {source or 'nothing'} to {target}"
        for source, targets in preview.moves.items()
        for target, count in targets.items()
    )
    of_all = f"{preview.moved} of {preview.connections} connected clients would move"
    silent = f"; {preview.unanswered} workers did not answer, and theirs aren't counted" if preview.unanswered else ""
    return of_all + (f": {moves}" if moves else "") + silent


def _can_ask() -> bool:
    return sys.stdin.isatty() and notes.is_terminal
