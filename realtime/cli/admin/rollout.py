"""``gapless rollout``: how far each comparison has come."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
import typer

from policies.document import Document, Rollout
from policies.edits import ramped
from realtime.cli.admin import change
from realtime.cli.admin.api import ADMIN, VIEWER, InForce, Reply, opened
from realtime.cli.admin.options import Json, Manner, changing
from realtime.cli.admin.tables import print_json, show
from realtime.cli.console import note
from realtime.cli.options import DEFAULT_URL, Config, Token, Url

_PERCENT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?%?")

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def rollout() -> None:
    """Rollouts: which share of the clients is in which arm.

    [bold]Examples[/]

      gapless rollout list
      gapless rollout set sse-on-android sse=20 control=80

    Exit status: 0, done; 1, it couldn't be done; 2, wrong usage.
    """


@app.command("list")
def list_(*, url: Url = DEFAULT_URL, token: Token = None, config: Config = None, json: Json = False) -> None:
    """List the rollouts with their conditions, arms and weights.

    [bold]Examples[/]

      gapless rollout list
      gapless rollout list --json | jq .rollouts

    Exit status: 0, listed; 1, refused, or the service is away; 2, wrong
    usage.
    """
    with opened(url, token, config, VIEWER) as api:
        in_force = api.policy().value
        document = in_force.document
    if json:
        rollouts = in_force.policy.get("rollouts", [])
        print_json(msgspec.json.encode({"revision": in_force.revision, "rollouts": rollouts}))
    elif not document.rollouts:
        note(f"there are none in revision {in_force.revision}")
    else:
        show(("rollout", "for", "arm", "weight", "preference"), _rows(document))


def _rows(document: Document) -> Iterator[tuple[object, ...]]:
    for one in document.rollouts:
        head: tuple[str, str] = (one.name, _for(one))
        for name, arm in one.arms.items():
            yield *head, name, f"{arm.weight} %", ", ".join(arm.preference or ()) or "–"
            head = ("", "")


def _for(one: Rollout) -> str:
    when: Mapping[str, Any] = one.when.model_dump(mode="json", exclude_none=True)
    conditions = (f"{name} {value if isinstance(value, str) else ', '.join(value)}" for name, value in when.items())
    return "; ".join(conditions) or "everyone"


def _weights(texts: list[str]) -> list[str]:
    for text in texts:
        _weight(text)
    return texts


def _weight(text: str) -> tuple[str, int | float]:
    arm, equals, percent = text.partition("=")
    if not arm or not equals or not _PERCENT.fullmatch(percent):
        raise typer.BadParameter(f"{text!r}: expected an arm and its weight in percent, as in sse=20")
    weight = float(percent.removesuffix("%"))
    return arm, int(weight) if weight.is_integer() else weight


Name = Annotated[str, typer.Argument(help="The rollout.", metavar="NAME")]
Weights = Annotated[
    list[str],
    typer.Argument(
        help="The weight of an arm, in percent; an arm that isn't named keeps its own. Together 100.",
        metavar="ARM=WEIGHT…",
        callback=_weights,
    ),
]


@app.command("set")
@changing
def set_(name: Name, weights: Weights, *, manner: Manner) -> None:
    """Give a rollout's arms other weights.

    Only so many clients move as the weights differ: the others stay in their
    arms. It shows how many of those connected that are, and asks; where there
    is no terminal to ask on, it acts, as with --yes.

    [bold]Examples[/]

      gapless rollout set sse-on-android sse=20 control=80
      gapless rollout set sse-on-android sse=100 control=0 --reason 'it holds'

    Exit status: 0, in force; 1, there is no such rollout or arm, the weights
    don't sum to 100, or it couldn't be done; 2, wrong usage.
    """
    wanted = dict(map(_weight, weights))
    body = {"weights": wanted, "reason": manner.reason}
    with opened(manner.url, manner.token, manner.config, ADMIN) as api:
        current = api.policy()
        document = ramped(current.value.document, name, wanted)

        def ramp() -> Reply[InForce]:
            return api.send("PATCH", f"/rollouts/{name}", InForce, body, revision=current.value.revision)

        change.make(api, current, document, ramp, manner)
