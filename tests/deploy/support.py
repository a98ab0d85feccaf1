"""What the files of deploy/ name, held against what there is: commands, options, settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.main import get_command

from realtime.cli import app
from realtime.config import Settings, load
from realtime.config.faults import PREFIX, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbG9uZyBlbm91Z2g="


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """Read the arguments of ``gapless`` as it does; return the values of the command's options."""
    command, *rest = arguments
    commands: Mapping[str, Any] = getattr(get_command(app), "commands")  # noqa: B009 - typer's type doesn't tell of it
    found: dict[str, Any] = commands[command].make_context(command, list(rest)).params
    return found


def settings(environ: Mapping[str, str]) -> Settings:
    """Load the settings from an environment, every variable of ours in which must be a setting."""
    ours = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    assert set(ours) <= set(VARIABLES)
    return load(environ=ours)
