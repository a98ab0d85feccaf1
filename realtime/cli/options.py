"""Options that several commands take, and what they stand for."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from realtime import logs
from realtime.auth import Credentials
from realtime.config import Settings, Source, resolve_secret

URL_VARIABLE = "GAPLESS_URL"
TOKEN_VARIABLE = "GAPLESS_TOKEN"  # noqa: S105 - the name of a variable
DEFAULT_URL = "http://127.0.0.1:8000"


def web_address(text: str | None) -> str | None:
    """Check the address of a service, if one is given.

    Raises:
        typer.BadParameter: it is none.
    """
    if text is None:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise typer.BadParameter(f"{text!r} is not the address of a service: expected something like {DEFAULT_URL}")
    return text


Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration: config.toml here, unless given.", dir_okay=False),
]
Url = Annotated[
    str,
    typer.Option("--url", envvar=URL_VARIABLE, metavar="URL", help="Where the service is.", callback=web_address),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar=TOKEN_VARIABLE,
        metavar="JWT",
        help="Who asks. Without one, a token is made with the configured secret, which must be the service's own.",
    ),
]


def source(config: Path | None, **flags: object) -> Source:
    """Return where the configuration comes from; flags that are given (`server__port`) win."""
    environ = {name: text for name, text in os.environ.items() if name not in {URL_VARIABLE, TOKEN_VARIABLE}}
    given = {key.replace("__", "."): value for key, value in flags.items() if value is not None}
    return Source(config, environ, given)


def configured(config: Path | None) -> Settings:
    """Read the configuration.

    Raises:
        ConfigError: it can't be used.
    """
    return source(config).load()


def credentials(config: Path | None) -> Credentials:
    """Return what makes tokens with the configured secret.

    Raises:
        ConfigError: it can't be used.
    """
    settings = configured(config)
    logs.configure(settings)  # a secret that is made now is said, and not on standard output
    return Credentials(settings, resolve_secret(settings))


def bearer(
    given: str | None, config: Path | None, sub: str, *, roles: Sequence[str] = (), scopes: Sequence[str] = ()
) -> Callable[[], str]:
    """Return what gives a token whenever one is needed: the given one, or a new one for `sub`.

    Raises:
        ConfigError: none is given, and the configured secret can't be used.
        MalformedParameter: `sub` is no name.
    """
    if given is not None:
        return lambda: given
    minting = credentials(config)
    return lambda: minting.mint(sub, roles=roles, scopes=scopes)
