"""``gapless doctor``: looks at everything, says what it finds as it finds it."""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import jwt
import msgspec
import typer
from rich.text import Text

from realtime.cli.admin.tables import print_json
from realtime.cli.console import output
from realtime.cli.doctor import machine, outside
from realtime.cli.doctor.findings import OK, PROBLEM, WARNING, Finding, ok, problem
from realtime.cli.doctor.stream import Visitor
from realtime.cli.options import URL_VARIABLE, Config, Token, bearer, configured, web_address
from realtime.cli.remote import client
from realtime.config import Settings
from realtime.errors import ConfigError

_COLOURS: Final = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}

PublicUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar=URL_VARIABLE,
        metavar="PUBLIC_URL",
        help="The service as its clients reach it, through all proxies; not looked at, unless given.",
        callback=web_address,
    ),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        "--origin",
        metavar="ORIGIN",
        help="A site whose pages are to call the service: those of cors.origins, unless given. Repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one object with all findings.")]


def doctor(
    *, url: PublicUrl = None, origin: Origins = None, token: Token = None, config: Config = None, json: Json = False
) -> None:
    """Look for what would go wrong: here, in Redis, and on the way to clients.

    Here: the configuration, the data directory, the limit of files. Redis or
    Valkey: version, eviction, persistence, clock. With --url, through all
    that stands between: is a stream held back, do long-poll and polling
    pass, may other sites' pages call. For that it publishes one event, to a
    subject of its own; to that of the token, if one is given.

    [bold]Examples[/]

      gapless doctor
      gapless doctor --url https://events.example.com
      gapless doctor --url https://a.example --origin https://b.example
      gapless doctor --json | jq '.findings[] | select(.state != "ok")'

    Exit status: 0, nothing is in the way, though there may be warnings; 1,
    there are problems; 2, wrong usage.
    """
    found = []
    for one in _findings(url, origin, token, config):
        found.append(one)
        if not json:
            _print(one)
    problems = sum(one.state == PROBLEM for one in found)
    if json:
        print_json(msgspec.json.encode({"problems": problems, "findings": [one._asdict() for one in found]}))
    if problems:
        raise typer.Exit(1)


def _findings(
    url: str | None, origins: Sequence[str] | None, token: str | None, config: Path | None
) -> Iterator[Finding]:
    try:
        settings = configured(config)
    except ConfigError as error:
        yield problem("configuration", error.detail, "mend it, and run this again: the rest depends on it")
        return
    from realtime.cli.doctor import store  # noqa: PLC0415 - Redis's client is slow to load, and the doctor's alone

    yield ok("configuration", "it can be used")
    yield from machine.examine(settings)
    yield from store.examine(settings)
    if url is not None:
        yield from _outside(url, origins, token, config, settings)


def _outside(
    url: str, origins: Sequence[str] | None, token: str | None, config: Path | None, settings: Settings
) -> Iterator[Finding]:
    sub = (
        f"doctor-{secrets.token_hex(4)}"  # nobody's: its event reaches nobody else, and its stream takes no one's place
    )
    try:
        credential = bearer(token, config, sub, roles=("publisher",))()
    except ConfigError as error:
        yield problem("token", error.detail, "give a --token with the role publisher")
        return
    if token is not None:
        sub = _sub(token) or sub
    with client(url) as http:
        yield from outside.examine(Visitor(http, sub, credential), origins or settings.cors.origins)


def _sub(token: str) -> str | None:
    """Read whom a token names; whether it is good is the service's to say."""
    try:
        sub = jwt.decode(token, options={"verify_signature": False}).get("sub")
    except jwt.PyJWTError:
        return None
    return sub if isinstance(sub, str) else None


def _print(one: Finding) -> None:
    told = f"{one.check}: {one.told}" + (f"; {one.do}" if one.do else "")
    output.print(Text.assemble((f"{one.state:<8}", _COLOURS[one.state]), told))
