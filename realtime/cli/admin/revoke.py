"""``gapless revoke``: somebody is refused, everywhere, whatever their token says."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer
from pydantic_core import PydanticCustomError

from realtime.cli.admin.api import ADMIN, VIEWER, opened
from realtime.cli.admin.options import Json, Reason
from realtime.cli.admin.tables import print_json, show, time
from realtime.cli.console import output
from realtime.cli.options import DEFAULT_URL, Config, Token, Url
from realtime.units import DURATION


class _Revocation(msgspec.Struct):
    until: str | None = None


class _Listed(msgspec.Struct):
    revoked_by: str
    revoked_at: str
    reason: str = ""
    sub: str | None = None
    jti: str | None = None
    until: str | None = None


class _Revocations(msgspec.Struct):
    revocations: list[_Listed]


def _until(text: str | None) -> str | None:
    if text is not None:
        _moment(text)
    return text


def _moment(text: str) -> str:
    """Return a time in RFC 3339; a duration counts from now."""
    try:
        ms = DURATION.parse(text)
    except PydanticCustomError:
        pass
    else:
        return (datetime.now(UTC) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: expected a time such as 2026-12-24T18:00:00Z, or how long from now, such as 30m or 7d"
        ) from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).isoformat()


Sub = Annotated[str | None, typer.Option("--sub", help="The subject to refuse.", metavar="S")]
Jti = Annotated[str | None, typer.Option("--jti", help="The one token to refuse, by its id (jti).", metavar="J")]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        help="Until when: 2026-12-24T18:00:00Z (UTC, unless it says otherwise), or 30m, 7d from now. For good, unless "
        "given.",
        metavar="T",
        callback=_until,
    ),
]
Lift = Annotated[bool, typer.Option("--lift", help="Refuse them no longer.")]
Listing = Annotated[bool, typer.Option("--list", help="Only list who is refused.")]


def revoke(  # noqa: PLR0913 - one parameter for each option
    *,
    sub: Sub = None,
    jti: Jti = None,
    until: Until = None,
    lift: Lift = False,
    listing: Listing = False,
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    token: Token = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Refuse a subject, or one token, and end what they have open.

    It holds on every gateway within a second, and survives restarts.

    [bold]Examples[/]

      gapless revoke --sub mallory --reason 'the account was taken over'
      gapless revoke --jti 1bSx7Qk --until 2h
      gapless revoke --sub mallory --lift
      gapless revoke --list

    Exit status: 0, done; 1, they were not revoked (--lift), or it couldn't be
    done; 2, wrong usage.
    """
    if listing:
        if sub or jti or lift or until is not None:
            raise typer.BadParameter("--list stands alone: it changes nothing")
        _list(url, token, config, json=json)
        return
    kind, name = _whom(sub, jti)
    if lift and until is not None:
        raise typer.BadParameter("--lift ends a revocation at once: leave --until out")
    with opened(url, token, config, ADMIN) as api:
        if lift:
            api.send("DELETE", f"/revocations/{kind}/{quote(name, safe='')}", type(None))
            if not json:
                output.print(f"{kind} {name} is refused no longer", markup=False)
            return
        body: dict[str, Any] = {kind: name, "reason": reason}
        if until is not None:
            body["until"] = _moment(until)
        reply = api.send("POST", "/revocations", _Revocation, body)
    if json:
        print_json(reply.raw)
    else:
        ends = f"until {time(reply.value.until)}" if reply.value.until else "for good"
        output.print(f"{kind} {name} is refused {ends}", markup=False)


def _list(url: str, token: str | None, config: Path | None, *, json: bool) -> None:
    with opened(url, token, config, VIEWER) as api:
        reply = api.get("/revocations", _Revocations)
    if json:
        print_json(reply.raw)
    else:
        show(("refused", "until", "since", "by", "reason"), _rows(reply.value.revocations))


def _rows(found: Sequence[_Listed]) -> Iterator[tuple[object, ...]]:
    for one in found:
        name = f"sub {one.sub}" if one.jti is None else f"jti {one.jti}"
        until = time(one.until) if one.until else "for good"
        yield name, until, time(one.revoked_at), one.revoked_by, one.reason


def _whom(sub: str | None, jti: str | None) -> tuple[str, str]:
    if sub and not jti:
        return "sub", sub
    if jti and not sub:
        return "jti", jti
    raise typer.BadParameter("either --sub or --jti is expected")
