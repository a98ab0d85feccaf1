"""``gapless publish``: one event, or as many as standard input has lines."""

import os
import secrets
import sys
from typing import Annotated

import typer

from realtime.channel.event import check_scope, check_type
from realtime.cli.feed import Feed, Template
from realtime.cli.options import DEFAULT_URL, Config, Token, Url, bearer
from realtime.cli.outbox import Outbox
from realtime.cli.remote import client, explained

_SUB = "cli"


def _type(text: str) -> str:
    try:
        return check_type(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _scope(text: str) -> str:
    try:
        return check_scope(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Event = Annotated[str, typer.Argument(help="The event's type, as in host.pinged.", callback=_type, metavar="EVENT")]
Scope = Annotated[
    str,
    typer.Option(help="Who sees it: broadcast, user:<sub>, role:<name> or topic:<name>.", callback=_scope, metavar="S"),
]
Data = Annotated[
    str,
    typer.Option(help="Its data: any JSON. With - one event for each line of standard input.", metavar="JSON|-"),
]
Key = Annotated[str | None, typer.Option(help="What it is about, as in task:7.", metavar="K")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        help="The same key within 24 h is the same event: a command that may have worked can be repeated. "
        "With --data -, the lines' numbers are added to it.",
        metavar="K",
    ),
]
RetryFor = Annotated[
    float, typer.Option(help="How long to try while the service is away; 0 for ever.", metavar="SECONDS", min=0)
]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="Skip lines that can't be published, and go on.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no ids.")]


def publish(  # noqa: PLR0913 - one parameter for each option
    event: Event,
    *,
    scope: Scope = "broadcast",
    data: Data = "null",
    key: Key = None,
    idempotency_key: IdempotencyKey = None,
    keep_going: KeepGoing = False,
    quiet: Quiet = False,
    retry_for: RetryFor = 60,
    url: Url = DEFAULT_URL,
    token: Token = None,
    config: Config = None,
) -> None:
    """Publish one event, or one for each line of standard input; print the ids.

    An event that was printed is in the log. Each is there once, even if it
    had to be sent again because the service was away or its answer was lost.

    With --data - lines are sent as they come, in batches where they come
    fast. A line that isn't JSON, or that the service won't have, is named by
    its number; nothing after it is sent, unless --keep-going.

    [bold]Examples[/]

      gapless publish host.pinged --scope topic:host --data '{"n":1}'
      jq -c '.[]' orders.json | gapless publish order.placed --data - -q
      tail -f app.jsonl | gapless publish app.logged --scope topic:app --data -

    Exit status: 0, all is in the log; 1, something isn't, as told; 2, wrong
    usage; 130, interrupted.
    """
    give = bearer(token, config, _SUB, roles=("publisher",))
    template = Template(event, scope, key, idempotency_key or secrets.token_urlsafe(12), numbered=data == "-")
    with client(url) as http, explained(given_token=token is not None):
        feed = Feed(Outbox(http, give, retry_for), template, None if quiet else sys.stdout, keep_going=keep_going)
        if data == "-":
            feed.lines(sys.stdin.fileno())
        else:
            feed.one(os.fsencode(data))
