"""What the service answers beside the transports: publish, negotiate, tickets, history, probes, and this reference.

A row for each; one that nothing serves yet is not here.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from realtime.errors import (
    BodyTooLarge,
    Draining,
    EventTooLarge,
    HistoryTruncated,
    IdempotencyConflict,
    InvalidField,
    LogUnavailable,
    MalformedBody,
    MalformedParameter,
    NoCommonTransport,
    NoTransport,
    NotReady,
    RoleNotHeld,
    ScopeNotHeld,
)
from realtime.negotiate import Proposal
from realtime.offers import EVENTS
from realtime.openapi.answers import Description, Health, Negotiated, Page, PublishedEvents, Status, TicketGiven
from realtime.openapi.operation import (
    ANYBODY,
    BEARER,
    CLIENT,
    NO_STORE,
    PUBLISHER,
    REFUSED,
    REPORTER,
    Answer,
    Body,
    Operation,
)
from realtime.openapi.parameters import AUDIENCE, EVENT_TYPES, LIMIT, SCOPES, position
from realtime.openapi.samples import AFTER, ID, NEGOTIATED, PROPOSAL, PUBLICATION, SESSION, TICKET
from realtime.publish import Publication
from realtime.reports import Report
from realtime.routes import TicketRequest

_TICKET: Final = "/api/v1/auth/ticket"
_BODY: Final = (MalformedBody, BodyTooLarge, InvalidField)
_HOST: Final = (MalformedParameter,)
"""What Quart serves is refused when the `Host` field names no host."""
_DOCUMENT: Final = {"openapi": "3.1.0", "info": {"title": "Gapless", "version": "0.1.0"}, "paths": {}}


class Batch(msgspec.Struct):
    """Several events, in order, all or nothing."""

    events: Annotated[list[Publication], msgspec.Meta(max_length=1000)]


OPERATIONS: Final = (
    Operation(
        "POST",
        EVENTS,
        "publish",
        "events",
        "Publish events",
        (
            Answer(
                201,
                "All of them are in the log.",
                PublishedEvents,
                {"events": [{"id": ID, "duplicate": False}]},
                headers=NO_STORE,
            ),
        ),
        (*_BODY, *REFUSED, RoleNotHeld, ScopeNotHeld, IdempotencyConflict, EventTooLarge, LogUnavailable),
        "One event, or a batch; all or nothing. Needs the role `publisher`. After a `503` they are perhaps in the log: "
        "send them again with the same idempotency keys.",
        PUBLISHER,
        body=Body((Publication, Batch), {"one": PUBLICATION, "batch": {"events": [PUBLICATION]}}),
    ),
    Operation(
        "POST",
        f"{EVENTS}/negotiate",
        "negotiate",
        "events",
        "Agree on a session, a position and transports",
        (Answer(200, "What to use, in order.", Negotiated, NEGOTIATED, headers=NO_STORE),),
        (*_HOST, *_BODY, *REFUSED, NoCommonTransport, LogUnavailable, NoTransport),
        "The body, and every field of it, may be absent.",
        CLIENT,
        body=Body((Proposal,), {"proposal": PROPOSAL}, required=False),
    ),
    Operation(
        "GET",
        f"{EVENTS}/history",
        "history",
        "events",
        "Read back",
        (
            Answer(
                200,
                "The visible events in order.",
                Page,
                AFTER,
                headers={"Cache-Control": "`private, no-store`; with `audience=public`, `public, max-age=1`"},
            ),
        ),
        (*_HOST, *REFUSED, ScopeNotHeld, HistoryTruncated, LogUnavailable),
        credentials=CLIENT,
        parameters=(
            position("since_id", "What comes after this, exclusive; without, from the beginning"),
            position("until_id", "Up to this, inclusive"),
            EVENT_TYPES,
            SCOPES,
            AUDIENCE,
            LIMIT,
        ),
    ),
    Operation(
        "POST",
        _TICKET,
        "give_ticket",
        "credentials",
        "Get a ticket for a token",
        (
            Answer(
                200,
                "A ticket, or the cookie with one.",
                TicketGiven,
                {"ticket": TICKET, "expires_in_ms": 60000},
                headers={**NO_STORE, "Set-Cookie": "`gapless_ticket`, when it was asked for"},
            ),
        ),
        (*_HOST, *_BODY, *REFUSED),
        credentials=BEARER,
        body=Body((TicketRequest,), {"ticket": {}, "cookie": {"cookie": True}}, required=False),
    ),
    Operation(
        "DELETE",
        _TICKET,
        "clear_ticket",
        "credentials",
        "Clear the cookie",
        (Answer(204, "It is cleared.", headers={**NO_STORE, "Set-Cookie": "`gapless_ticket`, empty"}),),
        _HOST,
        credentials=ANYBODY,
    ),
    Operation(
        "POST",
        f"{EVENTS}/report",
        "report",
        "events",
        "Report how a transport did",
        (Answer(202, "It is counted: one for a session, a transport and ten seconds.", headers=NO_STORE),),
        (*_HOST, *_BODY, *REFUSED),
        credentials=REPORTER,
        body=Body(
            (Report,),
            {"failed": {"session": SESSION, "transport": "sse", "outcome": "failed", "reason": "buffered"}},
        ),
    ),
    Operation(
        "GET",
        f"{EVENTS}/health",
        "health",
        "operations",
        "How the service is",
        (
            Answer(
                200,
                "Whether it is well; for the role `viewer`, how Redis, the connections and the follower are.",
                Health,
                {"status": "ok"},
                headers=NO_STORE,
            ),
        ),
        (*_HOST, *REFUSED),
        credentials=("anonymous", "bearer"),
    ),
    Operation(
        "GET",
        "/metrics",
        "metrics",
        "operations",
        "Figures, for Prometheus",
        (
            Answer(
                200,
                "In Prometheus' text format.",
                example="# HELP …",
                media_type="text/plain; version=1.0.0; charset=utf-8",
            ),
        ),
        _HOST,
    ),
    Operation(
        "GET",
        "/livez",
        "live",
        "operations",
        "Whether the process serves requests",
        (Answer(200, "It does.", Status, {"status": "ok"}, headers=NO_STORE),),
        _HOST,
    ),
    Operation(
        "GET",
        "/readyz",
        "ready",
        "operations",
        "Whether clients may be sent here",
        (Answer(200, "They may.", Status, {"status": "ok"}, headers=NO_STORE),),
        (*_HOST, Draining, LogUnavailable, NotReady),
    ),
    Operation(
        "GET",
        "/openapi.json",
        "openapi",
        "operations",
        "This document",
        (Answer(200, "OpenAPI 3.1.", Description, _DOCUMENT, headers={"Cache-Control": "`no-cache`"}),),
        _HOST,
    ),
    Operation(
        "GET",
        "/docs",
        "docs",
        "operations",
        "This document, to be read",
        (
            Answer(
                200,
                "A page that asks nobody but this service.",
                example="<!doctype html>…",
                media_type="text/html; charset=utf-8",
                headers={"Cache-Control": "`no-cache`", "Content-Security-Policy": "This service alone"},
            ),
        ),
        _HOST,
    ),
)
