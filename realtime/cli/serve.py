"""``gapless serve`` and ``gapless demo``: a gateway in this terminal."""

import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import IO, Annotated, cast

import typer
from rich.console import Console

from realtime.cli.options import DEFAULT_URL, Config, source
from realtime.config import Source
from realtime.outlet import Outlet

Host = Annotated[
    str | None, typer.Option(help="The address to listen on: 127.0.0.1, unless configured.", metavar="ADDRESS")
]
Port = Annotated[
    int | None, typer.Option(help="The port to listen on: 8000, unless configured; 0 for any.", metavar="PORT")
]
Workers = Annotated[int | None, typer.Option(help="How many processes serve: 1, unless configured.", metavar="N")]
Folder = Annotated[
    Path | None,
    typer.Option(
        help="Whose files are hashed: the installed packages, unless given.",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        resolve_path=True,
    ),
]
MaxClients = Annotated[
    int | None,
    typer.Option(
        "--max-clients", help="How many clients this gateway takes: any number, unless configured.", metavar="N"
    ),
]


def serve(
    *,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    max_clients: MaxClients = None,
    config: Config = None,
) -> None:
    """Run the service.

    It keeps its log in the Redis at redis.url. Without one, it starts a
    private Valkey, with its data in .gapless (data_dir), and ends it too.

    Ctrl-C ends everything at once, with status 0: clients come back with
    their cursors and miss nothing. A second Ctrl-C ends it by force.

    When the configuration is edited, or at SIGHUP, it takes on what it can
    without a restart, and names what it can't. A policy that was edited is
    told of, and put in force by gapless policy apply alone.

    [bold]Examples[/]

      gapless serve
      gapless serve --host 0.0.0.0 --port 80 --workers 4
      gapless serve --max-clients 10000
      GAPLESS_REDIS__URL=redis://10.0.0.5/0 gapless serve --config prod.toml

    Exit status: 0, ended by a signal; 1, it can't start (the port is in use,
    no Valkey); 2, the configuration, or the Redis it names, can't be used.
    """
    flags = {"server__host": host, "server__port": port, "server__workers": workers, "limits__max_clients": max_clients}
    _run(source(config, **flags), _announce)


def demo(*, host: Host = None, port: Port = None, folder: Folder = None, config: Config = None) -> None:
    """Run the service with a page that shows real events, live.

    The events are this machine's load, on topic:host, and the progress of a
    real piece of work, hashing the files of a folder, on user:demo.

    Anybody who can reach the page is let in: keep it on your own machine.
    Ctrl-C ends everything at once, and so does the end of the program that
    started this one.

    [bold]Examples[/]

      gapless demo
      gapless demo --port 8080
      gapless tail --sub demo          (in another terminal)

    Exit status: as of gapless serve.
    """
    _run(source(config, server__host=host, server__port=port), _announce_page, demo=folder or _installed_packages())


def _run(config: Source, announce: Callable[[str], None], *, demo: Path | None = None) -> None:
    config.load()  # what is wrong with it is said at once
    with suppress(KeyboardInterrupt):  # Ctrl-C before the service hears it itself
        from realtime.server.run import serve as run  # noqa: PLC0415 - a second, that other commands do without

        run(config, announce, demo=demo)


def _announce(url: str) -> None:
    _say(f"Gapless is listening on [bold]{url}[/]", "[dim]Ctrl-C ends it.[/]")


def _installed_packages() -> Path:
    """Return the folder that holds this environment's installed packages."""
    return Path(sysconfig.get_paths()["purelib"])


def _announce_page(url: str) -> None:
    _say(
        f"\n  Gapless is live: open [bold]{url}/[/]\n",
        "  [dim]The page shows this machine's load and a task's progress, as they happen.[/]",
        f"  [dim]The operator's console:[/]  {url}/admin/ [dim](the page's link signs you in)[/]",
        f"  [dim]The same in a terminal:[/]  {_program()} tail --sub demo{_elsewhere(url)}",
        "  [dim]Ctrl-C ends everything.[/]\n",
    )


def _say(*lines: str) -> None:
    """Print lines on standard output. A service runs on when nobody reads them."""
    console = Console(file=cast("IO[str]", Outlet(sys.stdout)), highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)


def _program() -> str:
    """Return what to type for this program: its name where a shell finds it, else its path."""
    path = Path(sys.argv[0])
    return path.name if which(path.name) else str(path)


def _elsewhere(url: str) -> str:
    return "" if url == DEFAULT_URL else f" --url {url}"
