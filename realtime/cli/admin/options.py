"""Options of the operator's commands."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, NamedTuple

import typer

from realtime.cli.options import DEFAULT_URL, Config, Token, Url

Json = Annotated[bool, typer.Option("--json", help="Print what the API answered.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Why, for the history and for whoever looks into it at night.", metavar="TEXT")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and whom it moves; change nothing.")]


class Manner(NamedTuple):
    """How a change of the policy is made: the options of every command that makes one."""

    reason: Reason = ""
    yes: Yes = False
    dry_run: DryRun = False
    url: Url = DEFAULT_URL
    token: Token = None
    config: Config = None
    json: Json = False


_OPTIONS = tuple(
    Parameter(name, Parameter.KEYWORD_ONLY, default=Manner._field_defaults[name], annotation=annotation)
    for name, annotation in Manner.__annotations__.items()
)


def changing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a `Manner`, and pass them on to it as its `manner`."""

    @wraps(command)
    def with_options(**given: Any) -> None:  # noqa: ANN401 - what the command takes
        manner = Manner(**{name: given.pop(name) for name in Manner._fields})
        command(**given, manner=manner)

    own = [one for one in signature(command).parameters.values() if one.name != "manner"]
    with_options.__signature__ = Signature([*own, *_OPTIONS])  # type: ignore[attr-defined]  # what typer reads
    return with_options
