"""The commands together, and what they have in common."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from realtime.cli import effective, health, publish, serve, tail, token
from realtime.cli.admin import connections, explain, gateways, policy, revoke, rollout, transport
from realtime.cli.console import Failure, complain
from realtime.cli.doctor import command as doctor
from realtime.errors import ConfigError, GaplessError, MalformedParameter

_FAILED = 1
_MISUSED = 2


class Commands(TyperGroup):
    """The group of all commands: tells what they raise, in words."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own types, which it keeps to itself
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (ConfigError, MalformedParameter) as error:
            complain(error.detail)
            raise typer.Exit(_MISUSED) from error
        except GaplessError as error:
            complain(error.detail)
            raise typer.Exit(_FAILED) from error
        except Failure as failure:
            complain(str(failure))
            raise typer.Exit(failure.status) from failure


app = typer.Typer(
    cls=Commands,
    name="gapless",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they hold tokens
    rich_markup_mode="rich",
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"gapless {version('gapless')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _show_version(wanted=wanted), is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Real-time events over SSE, long-poll and polling: one log, one cursor, no gaps.

    [bold]Begin with[/]

      gapless demo                                 a page with live events
      gapless serve                                the service alone
      gapless publish host.pinged --data '{"n":1}' an event from here
      gapless tail                                 the events as they come
      gapless policy show                          who gets which transport
      gapless gateways                             who serves
      gapless doctor                               what would go wrong, and why

    [bold]Exit status[/]

      0   done, or ended by Ctrl-C (serve, demo, tail)
      1   it couldn't be done; the message says why
      2   wrong usage, or wrong configuration
      130 interrupted (publish)

    Every setting is in config.toml; GAPLESS_<SECTION>__<KEY> overrides it.
    """


app.command("demo")(serve.demo)
app.command("serve")(serve.serve)
app.command("token")(token.token)
app.command("publish")(publish.publish)
app.command("tail")(tail.tail)
policy.app.command("explain")(explain.explain)
app.add_typer(policy.app, name="policy")
app.add_typer(transport.app, name="transport")
app.add_typer(rollout.app, name="rollout")
app.command("gateways")(gateways.gateways)
app.command("drain")(gateways.drain)
app.command("revoke")(revoke.revoke)
app.command("connections")(connections.connections)
app.command("config")(effective.effective)
app.command("health")(health.health)
app.command("doctor")(doctor.doctor)
