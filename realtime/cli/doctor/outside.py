"""The service through its public address, as a client far away sees it: all that stands between is looked at too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import httpx2

from realtime.cli.carriers import Answer
from realtime.cli.doctor import stream
from realtime.cli.doctor.findings import Finding, ok, problem
from realtime.cli.remote import UNAUTHORIZED, Refused, Trouble, check, decoded, translated
from realtime.cli.session import Session, negotiate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from realtime.cli.doctor.stream import Visitor

_NEGOTIATE: Final = "/api/v1/events/negotiate"
_KINDS: Final = ("sse", "long-poll", "polling")
_HOLD_MS: Final = 1000
_PATIENCE_S: Final = 10.0


def examine(visitor: Visitor, origins: Sequence[str]) -> Iterator[Finding]:
    """Negotiate, take events in each way that is offered, and ask as pages of other sites do."""
    try:
        session = negotiate(visitor.http, visitor.token, _KINDS, None)
    except Trouble as trouble:
        yield problem("public address", str(trouble), "see that it leads here, through DNS, firewall, TLS and proxy")
        return
    except Refused as refused:
        yield problem("public address", str(refused), _to_do(refused))
        return
    yield ok("public address", f"{visitor.http.base_url} answers, and offers {_offered(session)}")
    paths = {offer.name: offer.url for offer in session.decision.transports}
    if "sse" in paths:
        yield from stream.examine(visitor, paths["sse"])
    if "long-poll" in paths:
        yield _pull(visitor, "long-poll", paths["long-poll"], {"cursor": session.cursor, "hold_ms": str(_HOLD_MS)})
    if "polling" in paths:
        yield _pull(visitor, "polling", paths["polling"], {"cursor": session.cursor})
    for origin in origins:
        yield _cors(visitor, origin)


def _offered(session: Session) -> str:
    return ", ".join(offer.name for offer in session.decision.transports)


def _to_do(refused: Refused) -> str:
    if refused.status == UNAUTHORIZED:
        return "give a --token that the service knows, or the --config it was started with"
    return "look at who answers there: the service, or something before it"


def _pull(visitor: Visitor, name: str, path: str, query: dict[str, str]) -> Finding:
    asked = time.monotonic()
    try:
        with translated():
            response = visitor.http.get(path, params=query, headers=visitor.headers, timeout=_PATIENCE_S)
        check(response)
        answer = decoded(response.content, Answer)
    except (Trouble, Refused) as error:
        return problem(name, str(error), "look at who answers there: the service, or something before it")
    ms = (time.monotonic() - asked) * 1000
    return ok(name, f"{len(answer.events)} event{'s'[: len(answer.events) != 1]} after {ms:.0f} ms")


def _cors(visitor: Visitor, origin: str) -> Finding:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    check_name = f"pages of {origin}"
    try:
        response = visitor.http.options(_NEGOTIATE, headers=headers)
    except httpx2.TransportError as error:
        return problem(check_name, f"no answer ({type(error).__name__})", "have the proxy pass OPTIONS on")
    allowed = response.headers.get("Access-Control-Allow-Origin")
    if allowed != origin:
        told = f"they may not call: the answer is {response.status_code}, for {allowed or 'no origin'}"
        return problem(check_name, told, "add it to the service's cors.origins, and have the proxy pass OPTIONS on")
    return ok(check_name, "they may call")
