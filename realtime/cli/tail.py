"""``gapless tail``: events in a terminal, as they come."""

import signal
import sys
from typing import Annotated, Literal

import typer

from realtime.channel.event import check_scope_or_pattern, parse_cursor, parse_filter
from realtime.cli.console import note
from realtime.cli.follow import EARLIEST, TRANSPORTS, Follow
from realtime.cli.options import DEFAULT_URL, Config, Token, Url, bearer
from realtime.cli.remote import client, explained


def _position(text: str | None) -> str | None:
    if text is not None and text != EARLIEST:
        try:
            parse_cursor(text)
        except ValueError as error:
            raise typer.BadParameter(f"{error}, or earliest") from error
    return text


def _events(text: str | None) -> str | None:
    if text is not None:
        try:
            parse_filter(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return text


def _scopes(text: str | None) -> str | None:
    for scope in text.split(",") if text is not None else ():
        try:
            check_scope_or_pattern(scope)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return text


Transport = Annotated[
    Literal["sse", "long-poll", "polling"] | None,
    typer.Option(help="How events are carried: as the service offers, unless given."),
]
Position = Annotated[
    str | None,
    typer.Option(
        "--cursor",
        help="The id after which to begin, or earliest for all history; from now on, unless given.",
        metavar="CURSOR",
        callback=_position,
    ),
]
Events = Annotated[
    str | None,
    typer.Option(help="Only events of these types: task.*,host.load-sampled", metavar="TYPES", callback=_events),
]
Scopes = Annotated[
    str | None, typer.Option(help="Only events of these scopes: topic:news,user:7", metavar="SCOPES", callback=_scopes)
]
Sub = Annotated[
    str,
    typer.Option(
        "--sub",
        help="Whom to be, without --token: sees broadcast, user:<sub> and every topic (topic:*).",
        metavar="NAME",
    ),
]


def tail(  # noqa: PLR0913 - one parameter for each option
    *,
    transport: Transport = None,
    cursor: Position = None,
    events: Events = None,
    scopes: Scopes = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    sub: Sub = "cli",
    config: Config = None,
) -> None:
    """Print events as they come, one envelope a line.

    Whatever happens to the connection or the service, it goes on where it
    was: nothing is missed or repeated. If history no longer reaches back that
    far, that is said on standard error. Ctrl-C ends it and tells the cursor
    to go on from.

    [bold]Examples[/]

      gapless tail
      gapless tail --sub demo --events 'task.*' --transport long-poll
      gapless tail --cursor earliest | jq -c .data

    Exit status: 0, ended by Ctrl-C; 1, refused by the service; 2, wrong usage.
    """
    narrowing = {name: text for name, text in (("events", events), ("scopes", scopes)) if text is not None}
    give = bearer(token, config, sub, scopes=("topic:*",))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    with client(url) as http, explained(given_token=token is not None):
        transports = TRANSPORTS if transport is None else (transport,)
        follow = Follow(http, give, _print, note, transports, narrowing, cursor)
        try:
            follow.run()
        except KeyboardInterrupt:
            note(f"\nto go on from here: --cursor {follow.cursor}" if follow.cursor else "")


def _print(envelope: bytes) -> None:
    sys.stdout.buffer.write(envelope + b"\n")
    sys.stdout.buffer.flush()
