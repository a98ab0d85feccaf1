"""Publish: validate, append once, answer with ids (PROTOCOL §4, Publish).

`data` is checked to be JSON and carried as it was written; nothing of it is parsed into objects.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog

from realtime.channel.event import TYPE, TYPE_LENGTH, Draft, check_scope, check_type, compact, stored_envelope
from realtime.errors import BodyTooLarge, EventTooLarge, InvalidField, MalformedBody, ScopeNotHeld
from realtime.nesting import DEEPEST, is_closed, is_too_deep
from transports.transport import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from realtime.auth import Identity
    from realtime.channel.appends import Appends
    from realtime.channel.log import Appended
    from realtime.metrics import Metrics

MOST_BYTES = 4 * 1024 * 1024
_MOST_EVENTS = 1_000
_KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,255}")
_LARGEST_VERSION = 2**31 - 1

_log = structlog.get_logger("gapless.publish")
_level = logging.getLogger("gapless.publish")
"""Asked before a line is made: there are thousands a second, and usually nobody reads them."""


def _described(**more: Any) -> msgspec.Meta:  # noqa: ANN401 - whatever JSON Schema knows
    """Describe a field; it is checked below, where the place of its event is known."""
    return msgspec.Meta(extra_json_schema=more)


_Key = Annotated[str, _described(minLength=1, maxLength=255, pattern=f"^{_KEY.pattern}$")]


class Publication(msgspec.Struct):
    """One event as its publisher writes it."""

    event: Annotated[str, _described(pattern=f"^{TYPE}$", maxLength=TYPE_LENGTH)]
    scope: Annotated[str, _described(description="broadcast, user:<sub>, role:<name> or topic:<name>")]
    data: msgspec.Raw
    version: Annotated[int, _described(minimum=0, maximum=_LARGEST_VERSION)] = 1
    key: _Key | None = None
    idempotency_key: _Key | None = None


class _One(msgspec.Struct, kw_only=True):
    """What a batch must not have beside its events: it would be one event too."""

    event: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    scope: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_any(self) -> bool:
        return not self.event is self.scope is self.data is msgspec.UNSET


class _Body(_One, kw_only=True):
    events: list[Publication] | msgspec.UnsetType = msgspec.UNSET


class _Batch(_One, kw_only=True):
    events: list[msgspec.Raw]


_DUPLICATE = ("false", "true")
_BODY = msgspec.json.Decoder(_Body)
_BATCH = msgspec.json.Decoder(_Batch)
_PUBLICATION = msgspec.json.Decoder(Publication)


class Publisher:
    """Turns request bodies into events of the log."""

    def __init__(self, appends: Appends, most_event_bytes: int, metrics: Metrics) -> None:
        """Append events whose stored envelope has at most so many bytes."""
        self._metrics = metrics
        self._appends = appends
        self._most_event_bytes = most_event_bytes

    async def publish(self, identity: Identity, body: bytes) -> Answer:
        """Publish one event or a batch, all or nothing.

        Raises:
            MalformedBody: the body is not JSON.
            InvalidField: a field is missing or wrong; `index` names the event.
            RoleNotHeld: the identity is no publisher.
            ScopeNotHeld: it may not publish to the scope of event `index`.
            BodyTooLarge: the body has over 4 MiB.
            EventTooLarge: event `index` is over the limit.
            IdempotencyConflict: a key was used for another event.
            LogUnavailable: the events are perhaps in the log.
        """
        identity.require_role("publisher")
        if len(body) > MOST_BYTES:
            raise body_too_large()
        begun = time.perf_counter()
        drafts = [self._draft(identity, index, one) for index, one in enumerate(_publications(body))]
        appended = await self._appends.append(drafts, identity.sub or "") if drafts else []
        self._note(appended, time.perf_counter() - begun)
        return Answer(201, ((b"content-type", b"application/json"), (b"cache-control", b"no-store")), _body(appended))

    def _note(self, appended: Sequence[Appended], seconds: float) -> None:
        duplicates = sum([duplicate for _, duplicate in appended])
        self._metrics.publish.observe(seconds)
        self._metrics.published_by("appended").add(len(appended) - duplicates)
        self._metrics.published_by("duplicate").add(duplicates)
        if _level.isEnabledFor(logging.DEBUG):
            _log.debug("published", events=len(appended), duplicates=duplicates, duration_ms=round(seconds * 1000, 1))

    def _draft(self, identity: Identity, index: int, publication: Publication) -> Draft:
        _check(publication, index)
        if not identity.may_publish(publication.scope):
            message = f"event {index}: the token does not allow publishing to its scope"
            raise ScopeNotHeld(message, index=index)
        data = bytes(publication.data)
        if is_too_deep(data):
            raise _too_deep("data", index=index)
        stored = stored_envelope(
            publication.event,
            publication.scope,
            compact(data),
            publication.version,
            key=publication.key,
        )
        if len(stored) > self._most_event_bytes:
            message = f"event {index} has {len(stored)} bytes: at most {self._most_event_bytes} are kept"
            raise EventTooLarge(message, index=index)
        return Draft(identity.channel, publication.scope, stored, publication.idempotency_key or "")


def body_too_large() -> BodyTooLarge:
    """Make the error for a body over the limit."""
    return BodyTooLarge(f"the body has over {MOST_BYTES} bytes: publish in smaller batches")


def _publications(body: bytes) -> Iterable[Publication]:
    """Read the events of a body: all at once, or one by one where something is wrong, and has to be said of one."""
    try:
        body.decode()
        read = _BODY.decode(body)
    except RecursionError as error:
        raise _unreadable(body) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return (_decode(index, raw) for index, raw in enumerate(_split(body)))
    events = read.events
    if events is msgspec.UNSET:
        return (_decode(0, body),)
    _check_batch(read)
    if len(events) > _MOST_EVENTS:
        raise _too_many(len(events))
    return events


def _check_batch(batch: _One) -> None:
    if batch.is_any:
        raise InvalidField("the body is one event or a batch of them: it has the fields of both", field="events")


def _too_deep(field: str, index: int | None = None) -> InvalidField:
    message = f"{field}: arrays and objects are nested deeper than {DEEPEST} levels"
    return InvalidField(message, field=field, index=index)


def _unreadable(body: bytes) -> InvalidField | MalformedBody:
    """Make the error for a body that is too deep to be read, in whichever event that is."""
    return _too_deep("events") if is_closed(body) else MalformedBody("the body is not JSON in UTF-8")


def _too_many(count: int) -> InvalidField:
    message = f"a batch has at most {_MOST_EVENTS} events: {count} were sent"
    return InvalidField(message, field="events", index=_MOST_EVENTS)


def _split(body: bytes) -> Sequence[msgspec.Raw]:
    """Return the events of a batch, unread."""
    try:
        body.decode()
        batch = _BATCH.decode(body)
    except msgspec.ValidationError as error:
        _check_json(body)
        raise InvalidField(f"the body: {error}", field="events") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody("the body is not JSON in UTF-8") from error
    _check_batch(batch)
    if len(batch.events) > _MOST_EVENTS:
        raise _too_many(len(batch.events))
    return batch.events


def _check_json(body: bytes) -> None:
    """Read a body to its end: what has the wrong kind at its beginning may be no JSON further on."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError as error:
        raise _unreadable(body) from error
    except msgspec.DecodeError as error:
        raise MalformedBody("the body is not JSON in UTF-8") from error


def _decode(index: int, raw: msgspec.Raw | bytes) -> Publication:
    try:
        return _PUBLICATION.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidField(f"event {index}: {error}", field=_field(str(error)), index=index) from error
    except msgspec.DecodeError as error:
        raise MalformedBody(f"event {index} is not JSON that can be read") from error


def _field(message: str) -> str:
    """Find which field a validation error is about: one of the event's, or the batch when it is no object."""
    for word in message.replace("`", " ").replace("$.", " ").split():
        if word in Publication.__struct_fields__:
            return word
    return "events"


def _check(publication: Publication, index: int) -> None:
    """Raise `InvalidField` for a value that the grammar does not allow."""
    field = "event"
    try:
        check_type(publication.event)
        field = "scope"
        check_scope(publication.scope)
        field = "key"
        if publication.key is not None:
            _check_key(publication.key)
        field = "idempotency_key"
        if publication.idempotency_key is not None:
            _check_key(publication.idempotency_key)
        field = "version"
        _check_version(publication.version)
    except ValueError as error:
        raise InvalidField(f"event {index}: {field}: {error}", field=field, index=index) from error


def _check_key(value: str) -> None:
    if not _KEY.fullmatch(value):
        raise ValueError("1 to 255 characters without control characters are expected")


def _check_version(value: int) -> None:
    if not 0 <= value <= _LARGEST_VERSION:
        message = f"a number from 0 to {_LARGEST_VERSION}"
        raise ValueError(message)


def _body(appended: Sequence[Appended]) -> bytes:
    answers = [f'{{"id":"{ms}-{seq}","duplicate":{_DUPLICATE[again]}}}' for (ms, seq), again in appended]
    return f'{{"events":[{",".join(answers)}]}}'.encode()
