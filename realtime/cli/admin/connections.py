"""``gapless connections``: who is connected, and one of them no more."""

from collections.abc import Iterator, Sequence
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from realtime.cli.admin.api import ADMIN, VIEWER, opened
from realtime.cli.admin.options import Json
from realtime.cli.admin.tables import print_json, show
from realtime.cli.console import output
from realtime.cli.options import DEFAULT_URL, Config, Token, Url


class _Connection(msgspec.Struct):
    session: str
    sub: str | None
    channel: str
    transport: str
    state: str
    behind_ms: int
    gateway: str
    client: dict[str, str]
    connected_ms: int | None = None
    seen_ms: int | None = None


class _Connections(msgspec.Struct):
    connections: list[_Connection]


class _Closed(msgspec.Struct):
    closed: int


Sub = Annotated[str | None, typer.Option("--sub", help="Only a subject's.", metavar="S")]
Session = Annotated[str | None, typer.Option("--session", help="Only a session's.", metavar="ID")]
Close = Annotated[bool, typer.Option("--close", help="End the session's connections; it is told not to come back.")]


def connections(  # noqa: PLR0913 - one parameter for each option
    *,
    sub: Sub = None,
    session: Session = None,
    close: Close = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List who is connected, on all gateways, or disconnect a session.

    Who polls is listed too, with the time since it last came. Of very many
    clients some are listed: ask for a subject's.

    [bold]Examples[/]

      gapless connections
      gapless connections --sub alice
      gapless connections --session 3f0c9a --close

    Exit status: 0, listed, or disconnected; 1, there is no such session
    (--close), or it couldn't be done; 2, wrong usage.
    """
    if close:
        if not session or sub is not None:
            raise typer.BadParameter("--close ends one session: give --session and no --sub; a subject: gapless revoke")
        with opened(url, token, config, ADMIN) as api:
            ended = api.send("DELETE", f"/connections/{quote(session, safe='')}", _Closed)
        if json:
            print_json(ended.raw)
        else:
            output.print(f"session {session} is disconnected", markup=False)
        return
    asked = {name: text for name, text in (("sub", sub), ("session", session)) if text is not None}
    with opened(url, token, config, VIEWER) as api:
        reply = api.get("/connections", _Connections, asked)
    if json:
        print_json(reply.raw)
    else:
        columns = ("session", "sub", "channel", "transport", "state", "for", "behind", "client", "gateway")
        show(columns, _rows(reply.value.connections))


def _rows(found: Sequence[_Connection]) -> Iterator[tuple[object, ...]]:
    for one in found:
        since = f"{(one.connected_ms or 0) / 1000:.0f} s"
        if one.seen_ms is not None:
            since = f"seen {one.seen_ms / 1000:.0f} s ago"
        client = ", ".join(one.client.values())
        yield (
            *(one.session, one.sub or "–", one.channel, one.transport, one.state, since),
            *(f"{one.behind_ms} ms", client or "–", one.gateway),
        )
