"""``gapless gateways`` and ``gapless drain``: who serves, and one of them no more."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer

from realtime.cli.admin.api import ADMIN, VIEWER, Api, opened
from realtime.cli.admin.options import Json, Yes
from realtime.cli.admin.tables import counts, print_json, show, time
from realtime.cli.console import Failure, note, notes, output
from realtime.cli.options import DEFAULT_URL, Config, Token, Url
from realtime.wording import hint, nearest


class _Worker(msgspec.Struct):
    worker: int
    revision: int
    lag_ms: int


class _Gateway(msgspec.Struct):
    id: str
    version: str
    started_at: str
    ready: bool
    draining: bool
    connections: dict[str, int]
    workers: list[_Worker]


class _Gateways(msgspec.Struct):
    gateways: list[_Gateway]


class _Drained(msgspec.Struct):
    id: str


def gateways(*, url: Url = DEFAULT_URL, token: Token = None, config: Config = None, json: Json = False) -> None:
    """List the gateways: are they ready, who is connected, which policy.

    One that has told nothing for some seconds is gone, and not listed.

    [bold]Examples[/]

      gapless gateways
      gapless gateways --json | jq .gateways

    Exit status: 0, listed; 1, refused, or the service is away; 2, wrong
    usage.
    """
    with opened(url, token, config, VIEWER) as api:
        reply = api.get("/gateways", _Gateways)
    if json:
        print_json(reply.raw)
        return
    columns = ("gateway", "state", "connected", "revision", "workers", "behind", "version", "since")
    show(columns, _rows(reply.value.gateways))


def _rows(found: Sequence[_Gateway]) -> Iterator[tuple[object, ...]]:
    for one in found:
        state = "draining" if one.draining else "ready" if one.ready else "not ready"
        revisions = ", ".join(map(str, sorted({worker.revision for worker in one.workers})))
        behind = f"{max(worker.lag_ms for worker in one.workers)} ms"
        yield (
            *(one.id, state, counts(one.connections), revisions),
            *(len(one.workers), behind, one.version, time(one.started_at)),
        )


Name = Annotated[str, typer.Argument(help="The gateway, as gapless gateways names it.", metavar="GATEWAY")]


def drain(  # noqa: PLR0913 - one parameter for each option
    gateway: Name,
    *,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Have a gateway take nobody new, and send its clients to the others.

    Each goes at a moment of its own within server.drain, with its cursor. It
    says how many there are, and asks; where there is no terminal to ask on,
    it acts, as with --yes. The process stays: end it when it is empty. A
    gateway that drains doesn't come back, but by a restart.

    [bold]Examples[/]

      gapless gateways
      gapless drain web-1-3fa2c1
      gapless drain web-1-3fa2c1 --yes

    Exit status: 0, it drains; 1, there is no such gateway, or it couldn't be
    done; 2, wrong usage.
    """
    with opened(url, token, config, ADMIN) as api:
        found = _found(api, gateway)
        others = "" if found[1] else "; there is no other gateway that is ready, and they will have nowhere to go"
        number = sum(found[0].connections.values())
        note(f"{gateway} has {number} client{'s'[: number != 1]} ({counts(found[0].connections)}){others}")
        if not yes and sys.stdin.isatty() and notes.is_terminal and not typer.confirm("Drain it?", err=True):
            raise Failure("nothing was done")
        reply = api.send("POST", f"/gateways/{quote(gateway, safe='')}/drain", _Drained)
    if json:
        print_json(reply.raw)
    else:
        output.print(f"{gateway} drains", markup=False)


def _found(api: Api, name: str) -> tuple[_Gateway, bool]:
    """Return a gateway, and whether another one is ready.

    Raises:
        Failure: there is none of this name.
    """
    there = {one.id: one for one in api.get("/gateways", _Gateways).value.gateways}
    if name not in there:
        raise Failure(f"there is no gateway {name!r}{hint(nearest(name, there))}; there is: {', '.join(there)}")
    return there[name], any(one.ready and not one.draining for one in there.values() if one.id != name)
