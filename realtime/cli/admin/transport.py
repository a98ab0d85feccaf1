"""``gapless transport``: the switch of each transport."""

from typing import Annotated

import typer

from policies.edits import switched
from realtime.cli.admin import change
from realtime.cli.admin.api import ADMIN, InForce, Reply, opened
from realtime.cli.admin.options import Manner, changing

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

Name = Annotated[str, typer.Argument(help="The transport: sse, long-poll, polling, or a plug-in's.", metavar="NAME")]


@app.callback()
def transport() -> None:
    """Switch a transport off for everyone, on all gateways, and on again.

    [bold]Examples[/]

      gapless transport disable sse --reason 'the proxies hold it back' --yes
      gapless transport enable sse

    Exit status: 0, done; 1, it couldn't be done; 2, wrong usage.
    """


@app.command()
@changing
def enable(name: Name, *, manner: Manner) -> None:
    """Switch a transport on: it is offered again, where the policy has it.

    It shows how many connected clients move, and asks; where there is no
    terminal to ask on, it acts, as with --yes.

    [bold]Examples[/]

      gapless transport enable sse
      gapless transport enable sse --reason 'the proxies are repaired' --yes

    Exit status: 0, it is on; 1, there is no such transport, or it couldn't
    be done; 2, wrong usage.
    """
    _switch(name, manner, enabled=True)


@app.command()
@changing
def disable(name: Name, *, manner: Manner) -> None:
    """Switch a transport off, whatever rules and rollouts say: the kill switch.

    Within a second it is offered to nobody, and who is on it moves, spread
    over the policy's move_within. It shows how many that are, and asks;
    where there is no terminal to ask on, it acts, as with --yes.

    [bold]Examples[/]

      gapless transport disable sse --dry-run
      gapless transport disable sse --reason 'the proxies hold it back' --yes

    Exit status: 0, it is off; 1, there is no such transport, or it couldn't
    be done; 2, wrong usage.
    """
    _switch(name, manner, enabled=False)


def _switch(name: str, manner: Manner, *, enabled: bool) -> None:
    body = {"enabled": enabled, "reason": manner.reason}
    with opened(manner.url, manner.token, manner.config, ADMIN) as api:
        current = api.policy()
        document = switched(current.value.document, name, enabled=enabled)

        def throw() -> Reply[InForce]:
            # Whichever revision is in force: somebody else's change is no reason to leave it on.
            return api.send("PATCH", f"/transports/{name}", InForce, body)

        change.make(api, current, document, throw, manner)
