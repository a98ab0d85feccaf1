"""The query parameters and header fields of the ``GET``s, read by their grammar (PROTOCOL §4, in common)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from realtime.channel.event import (
    LARGEST,
    Cursor,
    Interest,
    check_scope_or_pattern,
    interest,
    parse_cursor,
    parse_filter,
)
from realtime.channel.reader import Start
from realtime.errors import MalformedParameter
from realtime.request import CURSOR_ALIASES

if TYPE_CHECKING:
    from realtime.auth import Identity
    from realtime.request import Request
    from transports.transport import Transport

NOWHERE = Cursor(LARGEST, 0)
"""A cursor that no log has: a position that can't be read can't be resumed."""

_MOST_DIGITS = 16
_SHOWN = 64
_MOST_ITEMS = 100


@lru_cache(maxsize=4096)
def visible(identity: Identity, scopes: str | None, events: str | None) -> Interest:
    """Return what an identity sees, narrowed by ``?scopes=`` and ``?events=``.

    Raises:
        MalformedParameter: one of them is not of the grammar.
        ScopeNotHeld: a scope was asked for that no held one covers.
    """
    try:
        wanted = None if events is None else parse_filter(events)
        asked = None if scopes is None else [check_scope_or_pattern(one) for one in scopes.split(",")]
        _check_count(scopes, events)
    except ValueError as error:
        raise MalformedParameter(str(error)) from error
    return interest(identity.channel, identity.held if asked is None else identity.narrow(asked), wanted)


def _check_count(*lists: str | None) -> None:
    """Each item of a list costs a read of the log: who needs more attaches with all that is held, and filters."""
    if any(text is not None and text.count(",") >= _MOST_ITEMS for text in lists):
        message = f"at most {_MOST_ITEMS} scopes and {_MOST_ITEMS} events can be asked for: use patterns"
        raise ValueError(message)


def is_public(request: Request) -> bool:
    """Tell whether an answer for everyone is asked for (``?audience=public``).

    Raises:
        MalformedParameter: another audience is asked for.
    """
    audience = request.query.get("audience")
    if audience not in {None, "public"}:
        raise MalformedParameter("audience: only 'public' can be asked for")
    return audience is not None


def start(request: Request, transport: Transport) -> Start:
    """Return where a client wants to begin.

    The header field that a transport resumes by comes first; what can't be read there can't be resumed, and is no
    error, for a browser can't drop it.

    Raises:
        MalformedParameter: the URL's position is neither a cursor nor ``earliest``, or it names two.
    """
    begin = _start_in_url(request, transport)
    last = request.header(transport.resumes_by) if transport.resumes_by else ""
    if not last:
        return begin
    try:
        return Start(parse_cursor(last), requested=last)
    except ValueError:
        return Start(NOWHERE, requested=last[:_SHOWN])


def has_position(request: Request) -> bool:
    """Tell whether a request's URL says where to begin."""
    return "cursor" in request.query or any(request.query.get(name) for name in CURSOR_ALIASES)


def _start_in_url(request: Request, transport: Transport) -> Start:
    """Read ``?cursor=`` or one of its aliases; an empty alias is none, as an empty ``Last-Event-ID`` is.

    A stand-in for an ``EventSource`` repeats its URL and adds an alias. It counts before ``cursor`` there, as the
    header field does for which it stands.
    """
    found = {name: request.query[name] for name in CURSOR_ALIASES if request.query.get(name)}
    if "cursor" in request.query and not (found and transport.takes_no_problem(request.header("accept"))):
        found["cursor"] = request.query["cursor"]
    if len(set(found.values())) > 1:
        message = f"{', '.join(found)}: they name the same position, and differ"
        raise MalformedParameter(message)
    return next((position(name, text) for name, text in found.items()), Start())


def position(name: str, text: str) -> Start:
    """Read a position: a cursor or ``earliest``; `name` is the parameter's.

    Raises:
        MalformedParameter: it is neither.
    """
    if text == "earliest":
        return Start(earliest=True, requested=text)
    try:
        return Start(parse_cursor(text), requested=text)
    except ValueError as error:
        raise MalformedParameter(f"{name}: {error}, or 'earliest'") from error


def text(name: str, given: str | None) -> str | None:
    """Return a text unchanged.

    Raises:
        MalformedParameter: it was not UTF-8.
    """
    if given is not None and any("\ud800" <= letter <= "\udfff" for letter in given):
        raise MalformedParameter(f"{name}: text in UTF-8 is expected")
    return given


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """Read a whole number within bounds.

    Raises:
        MalformedParameter: it is none, or lies outside.
    """
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and least <= int(text) <= most:
        return int(text)
    raise MalformedParameter(f"{name}: a whole number from {least} to {most} is expected")
