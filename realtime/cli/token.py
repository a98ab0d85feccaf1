"""``gapless token``: a credential for development and for tests."""

from typing import Annotated

import typer

from realtime.cli.options import Config, credentials

Sub = Annotated[str, typer.Option("--sub", help="Whom the token names.", metavar="NAME")]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", help="A role held: publisher, viewer, admin, or one of your own. Repeatable.", metavar="R"),
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="A scope seen besides broadcast, user:<sub> and the roles': user:7, topic:news, topic:sport.*, topic:*. "
        "Repeatable.",
        metavar="S",
    ),
]
Publish = Annotated[
    list[str] | None,
    typer.Option(
        "--publish", help="A scope that a publisher may publish to; all of them, unless given. Repeatable.", metavar="S"
    ),
]
Channel = Annotated[str, typer.Option("--channel", help="The channel, one for each tenant.", metavar="NAME")]
Ttl = Annotated[float, typer.Option("--ttl", help="For how many seconds it is good.", metavar="SECONDS", min=1)]


def token(  # noqa: PLR0913 - one parameter for each option
    *,
    sub: Sub,
    role: Roles = None,
    scope: Scopes = None,
    channel: Channel = "main",
    ttl: Ttl = 3600,
    publish: Publish = None,
    config: Config = None,
) -> None:
    """Print a JWT, signed with the configured secret, and nothing else.

    In development the secret is made on first use and kept in data_dir: run
    this where the service was started, or give it the same configuration.

    [bold]Examples[/]

      gapless token --sub alice --scope 'topic:news.*'
      gapless token --sub billing --role publisher --publish topic:invoices
      TOKEN=$(gapless token --sub alice --ttl 86400)

    Exit status: 0, printed; 2, a name or a scope isn't well formed, or the
    configuration can't sign tokens.
    """
    minted = credentials(config).mint(
        sub, roles=role or (), scopes=scope or (), channel=channel, ttl_s=ttl, publish=publish
    )
    typer.echo(minted)
