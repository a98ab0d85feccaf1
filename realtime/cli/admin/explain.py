"""``gapless policy explain``: what a client would get, and each step that leads to it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

from realtime.cli.admin.api import VIEWER, opened
from realtime.cli.admin.options import Json
from realtime.cli.admin.tables import print_json, show
from realtime.cli.console import output
from realtime.cli.options import DEFAULT_URL, Config, Token, Url
from realtime.units import DURATION

_FAILED: Final = re.compile(
    r"(?P<transport>[a-z][a-z0-9-]*)"
    r"(:(?P<reason>timeout|buffered|refused|http-[1-5][0-9]{2}|closed-early|idle|network-changed))?"
)


class _Step(msgspec.Struct):
    step: str
    reason: str


class _Decision(msgspec.Struct):
    revision: int
    arms: dict[str, str]
    transports: list[dict[str, Any]]


class _Explanation(msgspec.Struct):
    decision: _Decision
    steps: list[_Step]


def _failures(texts: list[str] | None) -> list[str] | None:
    for text in texts or ():
        if not _FAILED.fullmatch(text):
            raise typer.BadParameter(
                f"{text!r}: expected a transport, and why it failed: sse:timeout, or :buffered, :refused, "
                ":http-<status>, :closed-early, :idle, :network-changed"
            )
    return texts


Sub = Annotated[str | None, typer.Option("--sub", help="Whom the token names; anonymous, unless given.", metavar="S")]
ClientId = Annotated[
    str | None, typer.Option("--id", help="The client's own id, by which anonymous ones are in rollouts.", metavar="ID")
]
Platform = Annotated[str | None, typer.Option(help="ios, android, web …", metavar="P")]
AppVersion = Annotated[str | None, typer.Option("--app-version", help="As in 5.2.0.", metavar="V")]
Network = Annotated[str | None, typer.Option(help="wifi, cellular …", metavar="N")]
State = Annotated[str | None, typer.Option(help="foreground, background …", metavar="S")]
Sdk = Annotated[str | None, typer.Option(help="As in js/1.0.", metavar="SDK")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role held. Repeatable.", metavar="R")]
Channel = Annotated[str, typer.Option("--channel", help="The channel, one for each tenant.", metavar="NAME")]
Transports = Annotated[
    list[str] | None,
    typer.Option("--transport", help="What it supports: everything, unless given. Repeatable.", metavar="T"),
]
Failed = Annotated[
    list[str] | None,
    typer.Option(
        "--failed",
        help="What failed for it, and why: sse:timeout, sse:buffered … Repeatable.",
        metavar="T\\[:REASON]",
        callback=_failures,
    ),
]


def explain(  # noqa: PLR0913 - one parameter for each option
    *,
    sub: Sub = None,
    client_id: ClientId = None,
    platform: Platform = None,
    app_version: AppVersion = None,
    network: Network = None,
    state: State = None,
    sdk: Sdk = None,
    role: Roles = None,
    channel: Channel = "main",
    transport: Transports = None,
    failed: Failed = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Tell what a client would get, and why: the decision, then each step.

    What isn't given is unknown about the client, and fulfils no condition.

    [bold]Examples[/]

      gapless policy explain --sub 42 --platform ios --state background
      gapless policy explain --sub 42 --failed sse:buffered
      gapless policy explain --transport sse --transport polling --json

    Exit status: 0, explained; 1, refused, or the service is away; 2, wrong
    usage.
    """
    told = {
        "id": client_id,
        "platform": platform,
        "app_version": app_version,
        "network": network,
        "state": state,
        "sdk": sdk,
    }
    body: dict[str, Any] = {
        "channel": channel,
        "roles": role or [],
        "client": {name: text for name, text in told.items() if text is not None},
        "failed": [_failure(text) for text in failed or ()],
    }
    if sub is not None:
        body["sub"] = sub
    if transport:
        body["transports"] = transport
    with opened(url, token, config, VIEWER) as api:
        reply = api.send("POST", "/explain", _Explanation, body)
    if json:
        print_json(reply.raw)
    else:
        _print(reply.value)


def _failure(text: str) -> dict[str, str]:
    transport, _, reason = text.partition(":")
    return {"transport": transport, "reason": reason or "timeout"}


def _print(explanation: _Explanation) -> None:
    decision = explanation.decision
    arms = "".join(f", in arm {arm} of {rollout}" for rollout, arm in decision.arms.items())
    output.print(f"By revision {decision.revision}{arms}:\n", markup=False)
    show(("", "transport", "parameters"), _offers(decision.transports))
    output.print()
    show(("step", "why"), [(one.step, one.reason) for one in explanation.steps])


def _offers(transports: Sequence[Mapping[str, Any]]) -> Iterator[tuple[object, ...]]:
    if not transports:
        yield "–", "none", ""
    for place, offer in enumerate(transports, 1):
        given = (f"{name[:-3]} {DURATION.show(ms)}" for name, ms in offer.items() if name.endswith("_ms"))
        yield place, offer["name"], ", ".join(given)
