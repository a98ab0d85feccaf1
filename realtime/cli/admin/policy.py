"""``gapless policy``: what is in force, what would be, why a client gets what it gets, and back."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from policies.document import Document
from realtime.cli.admin import change
from realtime.cli.admin.api import ADMIN, VIEWER, InForce, Reply, opened
from realtime.cli.admin.options import Json, Manner, changing
from realtime.cli.admin.tables import print_json, show, time, value
from realtime.cli.admin.written import written
from realtime.cli.console import Failure, note
from realtime.cli.options import DEFAULT_URL, Config, Token, Url, source
from realtime.errors import ConfigError, GaplessError

DIFFERENT = 1
_TROUBLE = 2
_THEN = "in the file"

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


class _Change(msgspec.Struct):
    path: str
    before: Any = None
    after: Any = None


class _Dropped(msgspec.Struct):
    revision: int
    updated_by: str
    changes: tuple[_Change, ...] = ()


class _Revision(InForce):
    changes: tuple[_Change, ...] = ()
    dropped: tuple[_Dropped, ...] = ()


class _History(msgspec.Struct):
    revisions: list[_Revision]


@app.callback()
def policy() -> None:
    """The policy: who gets which transport.

    One document is in force on all gateways. Each change makes a new
    revision, which any earlier one can follow again.

    [bold]Examples[/]

      gapless policy show
      gapless policy diff && echo the file is in force
      gapless policy apply --reason 'long-poll first on metered lines'
      gapless policy restore 17

    Exit status: 0, done; 1, it couldn't be done; 2, wrong usage or
    configuration. gapless policy diff has its own.
    """


@app.command("show")
def show_(*, url: Url = DEFAULT_URL, token: Token = None, config: Config = None, json: Json = False) -> None:
    """Print the policy in force, as TOML that fits config.toml.

    Above it stands which revision it is, since when, by whom, and why.

    [bold]Examples[/]

      gapless policy show
      gapless policy show > policy.toml
      gapless policy show --json | jq .policy.preference

    Exit status: 0, printed; 1, refused, or the service is away; 2, wrong
    usage.
    """
    with opened(url, token, config, VIEWER) as api:
        reply = api.policy()
        if reply.value.stale:
            note("Redis does not answer: there may be a newer revision that this gateway doesn't know of")
        if json:
            print_json(reply.raw)
        else:
            sys.stdout.write(written(reply.value))


@app.command()
def diff(*, url: Url = DEFAULT_URL, token: Token = None, config: Config = None, json: Json = False) -> None:
    """Compare the policy of config.toml on disk with the one in force.

    One line for each value that differs: where, in force, in the file. The
    environment overrides the file here too.

    [bold]Examples[/]

      gapless policy diff
      gapless policy diff --config prod.toml --url https://events.example.com
      gapless policy diff --json | jq .changes

    Exit status, as of diff: 0, the same; 1, different; 2, they can't be
    compared, and the message says why.
    """
    with _as_of_diff(), opened(url, token, config, VIEWER) as api:
        document = _on_disk(config)
        in_force = api.policy().value
        changes = change.changed(in_force, document)
        if json:
            told = {"revision": in_force.revision, "changes": [one._asdict() for one in changes]}
            print_json(msgspec.json.encode(told))
        elif changes:
            change.show_changes(changes, _THEN)
        if not changes:
            note(f"the same: revision {in_force.revision} is in force")
    if changes:
        raise typer.Exit(DIFFERENT)


@app.command()
@changing
def apply(*, manner: Manner) -> None:
    """Put the policy of config.toml on disk in force, on all gateways.

    It shows what changes and how many connected clients move, and asks; where
    there is no terminal to ask on, it acts, as with --yes. When somebody else
    changes the policy meanwhile, nothing is applied.

    [bold]Examples[/]

      gapless policy apply --dry-run
      gapless policy apply --reason 'polling for phones in the background'
      gapless policy apply --yes --config prod.toml

    Exit status: 0, in force (or it was already); 1, not applied, and the
    message says why; 2, wrong usage, or the file can't be used.
    """
    with opened(manner.url, manner.token, manner.config, ADMIN) as api:
        document = _on_disk(manner.config)
        current = api.policy()
        wanted = change.with_switches(document, current.value)
        body = {"policy": wanted.dump(), "reason": manner.reason}

        def put() -> Reply[InForce]:
            return api.send("PUT", "/policy", InForce, body, revision=current.value.revision)

        change.make(api, current, wanted, put, manner, then=_THEN)


Limit = Annotated[int, typer.Option(help="How many changes, newest first.", metavar="N", min=1, max=200)]


@app.command()
def history(
    *, limit: Limit = 20, url: Url = DEFAULT_URL, token: Token = None, config: Config = None, json: Json = False
) -> None:
    """List the changes of the policy, newest first: who, when, why and what.

    [bold]Examples[/]

      gapless policy history
      gapless policy history --limit 1
      gapless policy history --json | jq .revisions

    Exit status: 0, listed; 1, refused, or the service is away; 2, wrong
    usage.
    """
    with opened(url, token, config, VIEWER) as api:
        reply = api.get("/policy/revisions", _History, {"limit": str(limit)})
    if json:
        print_json(reply.raw)
        return
    if not reply.value.revisions:
        note("no changes yet: the policy is that of the gateways' configuration (revision 0)")
        return
    show(("revision", "when", "by", "why", "what"), map(_row, reply.value.revisions))


def _row(revision: _Revision) -> tuple[object, ...]:
    lines = [*_lines(revision.changes)]
    for one in revision.dropped:
        lines += (f"dropped: revision {one.revision} by {one.updated_by}", *_lines(one.changes))
    what = "\n".join(lines)
    return revision.revision, time(revision.updated_at), revision.updated_by, revision.reason or "–", what or "–"


def _lines(changes: Iterable[_Change]) -> Iterator[str]:
    return (f"{one.path}: {value(one.before)} → {value(one.after)}" for one in changes)


Number = Annotated[int, typer.Argument(help="The revision, as gapless policy history numbers it.", metavar="N", min=0)]


@app.command()
@changing
def restore(number: Number, *, manner: Manner) -> None:
    """Put an earlier revision in force again, as a new one.

    Revision 0 is the policy of the gateways' configuration. It shows what
    changes and how many connected clients move, and asks; where there is no
    terminal to ask on, it acts, as with --yes.

    [bold]Examples[/]

      gapless policy history
      gapless policy restore 17
      gapless policy restore 0 --reason 'back to the file' --yes

    Exit status: 0, in force; 1, there is no such revision, or it couldn't be
    done; 2, wrong usage.
    """
    with opened(manner.url, manner.token, manner.config, ADMIN) as api:
        earlier = api.get(f"/policy/revisions/{number}", InForce).value
        current = api.policy()

        def put_back() -> Reply[InForce]:
            path = f"/policy/revisions/{number}/restore"
            return api.send("POST", path, InForce, {"reason": manner.reason}, revision=current.value.revision)

        change.make(api, current, earlier.document, put_back, manner, then=f"in revision {number}")


def _on_disk(config: Path | None) -> Document:
    """Return the policy of the configuration here; one that isn't there is no wish for the defaults.

    Raises:
        Failure: there is no configuration.
        ConfigError: it can't be used.
    """
    found = source(config)
    if not found.file.is_file():
        raise Failure(f"{found.file}: there is no configuration here: run this where it is, or give its --config")
    return found.load().policy


@contextmanager
def _as_of_diff() -> Iterator[None]:
    """End with the status that diff(1) has for trouble: 1 is taken."""
    try:
        yield
    except Failure as failure:
        raise Failure(str(failure), _TROUBLE) from failure
    except ConfigError:
        raise
    except GaplessError as error:
        raise Failure(error.detail, _TROUBLE) from error
