"""``gapless health``: is a gateway alive, ready, and how is it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import msgspec
import typer

from realtime.cli.admin.api import VIEWER
from realtime.cli.admin.tables import print_json, show, value
from realtime.cli.console import Failure
from realtime.cli.options import DEFAULT_URL, Config, Token, Url, bearer
from realtime.cli.remote import FORBIDDEN, UNAUTHORIZED, Trouble, client, decoded, translated
from realtime.errors import ConfigError

_OK: Final = 200
_HEALTH: Final = "/api/v1/events/health"

Json = Annotated[bool, typer.Option("--json", help="Print one object: live, ready, and what the gateway tells.")]


def health(*, url: Url = DEFAULT_URL, token: Token = None, config: Config = None, json: Json = False) -> None:
    """Tell whether a gateway is alive and ready, and what it says of itself.

    More than its status is told to a viewer. Without a --token such a token
    is made; where the service doesn't know it, the status alone is shown.

    [bold]Examples[/]

      gapless health
      gapless health --url https://events.example.com
      gapless health --json | jq .ready

    Exit status: 0, it is ready; 1, it isn't, or it is away; 2, wrong usage.
    """
    with client(url) as http:
        try:
            live, ready = _answers(http, "/livez"), _answers(http, "/readyz")
            told = _told(http, _credential(token, config))
        except Trouble as trouble:
            raise Failure(f"{url}: {trouble}") from trouble
    if json:
        print_json(msgspec.json.encode({"live": live, "ready": ready, "health": told}))
    else:
        show(("", "says"), [("alive", _word(yes=live)), ("ready", _word(yes=ready)), *_rows(told or {})])
    if not ready:
        raise typer.Exit(1)


def _answers(http: httpx2.Client, path: str) -> bool:
    with translated():
        return http.get(path).status_code == _OK


def _credential(token: str | None, config: Path | None) -> dict[str, str]:
    """Return the header fields of a viewer; none where no token can be made: the status is public."""
    with suppress(ConfigError):
        return {"Authorization": f"Bearer {bearer(token, config, 'cli', roles=(VIEWER,))()}"}
    return {}


def _told(http: httpx2.Client, credential: Mapping[str, str]) -> dict[str, Any] | None:
    """Return what the gateway tells of itself: an older one tells nothing."""
    with translated():
        answer = http.get(_HEALTH, headers=credential)
        if answer.status_code in {UNAUTHORIZED, FORBIDDEN}:
            answer = http.get(_HEALTH)
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        return None
    return decoded(answer.content, dict[str, Any])


def _rows(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, one in told.items():
        if isinstance(one, dict):
            yield from _rows(one, f"{before}{name}.")
        else:
            yield before + name, one if isinstance(one, str) else value(one)


def _word(*, yes: bool) -> str:
    return "yes" if yes else "no"
