"""Events, cursors and scopes: the values everything else is about.

Pure. An event is stored once, from ``"event"`` on, as finished JSON; its id and time are put before it when it is read
(PROTOCOL §2). `data` is carried as the bytes its publisher sent, but for `realtime.escapes`, and is never parsed on
the way.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import orjson

from realtime.escapes import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LARGEST = 2**53
EPOCH_SPAN = 2**20
"""Ids of one epoch have ``seq`` in ``[epoch * EPOCH_SPAN, (epoch + 1) * EPOCH_SPAN)``."""

BATCH_BYTES = 256 * 1024
"""Stored bytes of what is read, answered or written at once; one larger event comes alone."""

BROADCAST = "broadcast"
EVERY_TOPIC = "topic:*"
"""The pattern that covers all topics, and the name of a channel's common topic stream."""

CURSOR = r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})"
TYPE = r"[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)+"
TYPE_LENGTH = 128

_CURSOR = re.compile(CURSOR)
_TYPE = re.compile(TYPE)
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff, ]{1,255}")
_KINDS = ("user:", "role:", "topic:")
_BLANK, _LF, _TAB, _CR = b" \n\t\r"  # numbers: to look for bytes in bytes costs an exception that nobody sees
_WITH_SPACE = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')


class Cursor(NamedTuple):
    """A client's position: the id of an entry of the log, compared as two numbers."""

    ms: int
    seq: int

    def __str__(self) -> str:
        """Write it as it travels, ``<ms>-<seq>``."""
        return f"{self.ms}-{self.seq}"

    @property
    def epoch(self) -> int:
        """The incarnation of the log that gave this id."""
        return self.seq // EPOCH_SPAN


ORIGIN = Cursor(0, 0)
"""Lies before every entry; never given to a client."""


@lru_cache(maxsize=4096)
def parse_cursor(text: str) -> Cursor:
    """Read ``<ms>-<seq>``, two decimal numbers below 2^53 without leading zeros.

    Raises:
        ValueError: the text is no cursor.
    """
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise ValueError(_not_a_cursor(text))
    ms, seq = int(match[1]), int(match[2])
    if ms >= LARGEST or seq >= LARGEST:
        raise ValueError(_not_a_cursor(text))
    return Cursor(ms, seq)


def stored_cursor(raw: bytes) -> Cursor:
    """Read the id of an entry as Redis gives it."""
    ms, _, seq = raw.partition(b"-")
    return Cursor(int(ms), int(seq))


def _not_a_cursor(text: str) -> str:
    return f"{text[:64]!r} is not a cursor: expected <ms>-<seq>, two decimal numbers below 2^53"


@lru_cache(maxsize=4096)
def check_type(text: str) -> str:
    """Return an event's type unchanged when it is well formed.

    Raises:
        ValueError: it is not of the grammar of PROTOCOL §1.
    """
    if len(text) > TYPE_LENGTH or not _TYPE.fullmatch(text):
        message = (
            f"{text[:64]!r} is not an event type: lower-case words of letters, digits and hyphens, "
            f"joined by dots, at least two, at most {TYPE_LENGTH} characters"
        )
        raise ValueError(message)
    return text


def check_name(text: str) -> str:
    """Return a subject, channel, role or topic name unchanged when it is well formed.

    Raises:
        ValueError: it is empty, longer than 255 characters, or has a control character, comma or space.
    """
    if not _NAME.fullmatch(text):
        message = f"{text[:64]!r} is not a name: 1 to 255 characters without control characters, comma or space"
        raise ValueError(message)
    return text


@lru_cache(maxsize=65536)
def check_scope(text: str) -> str:
    """Return a scope unchanged when it is ``broadcast``, ``user:…``, ``role:…`` or ``topic:…``.

    Raises:
        ValueError: it is none of them, or is a pattern.
    """
    if is_pattern(text):
        message = f"{text[:64]!r} is a pattern: a single scope is wanted here"
        raise ValueError(message)
    return _check_scope(text)


def _check_scope(text: str) -> str:
    check_name(text)
    if text != BROADCAST and not any(text.startswith(kind) and len(text) > len(kind) for kind in _KINDS):
        message = f"{text[:64]!r} is not a scope: broadcast, user:<sub>, role:<name> or topic:<name>"
        raise ValueError(message)
    if text.startswith("topic:") and "" in text[6:].split("."):
        message = f"{text[:64]!r} is not a scope: a topic's dot-separated words are not empty"
        raise ValueError(message)
    return text


def check_scope_or_pattern(text: str) -> str:
    """Return a scope, or a pattern ``topic:<prefix>.*`` or ``topic:*``, unchanged when it is well formed.

    Raises:
        ValueError: it is neither.
    """
    if text == EVERY_TOPIC:
        return text
    if is_pattern(text):
        _check_scope(text[:-2])
        check_name(text)
        return text
    return check_scope(text)


def is_pattern(text: str) -> bool:
    """Tell whether a scope is a pattern: ``topic:*`` or ``topic:<prefix>.*``."""
    return text == EVERY_TOPIC or (text.startswith("topic:") and text.endswith(".*"))


def covers(held: str, asked: str) -> bool:
    """Tell whether a held scope or pattern covers an asked one; a pattern holds what lies below its prefix."""
    return held == asked or (is_pattern(held) and asked.startswith(held[:-1]))


def covered(asked: str, held: Iterable[str]) -> bool:
    """Tell whether any of the held scopes or patterns covers the asked one."""
    return any(covers(one, asked) for one in held)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which event types a client asked for: exact ones, and prefixes that end in a dot."""

    exact: frozenset[str]
    prefixes: tuple[str, ...]

    def passes(self, event: str) -> bool:
        """Tell whether an event of this type is wanted."""
        return event in self.exact or event.startswith(self.prefixes)


def parse_filter(text: str) -> Filter | None:
    """Read ``task.*,system.notification``; ``*`` alone is every type (``None``).

    Raises:
        ValueError: an item is neither a type, ``<prefix>.*`` nor ``*``.
    """
    exact, prefixes = set(), set()
    for item in text.split(","):
        if item == "*":
            return None
        if item.endswith(".*"):
            prefixes.add(_check_prefix(item))
        else:
            exact.add(check_type(item))
    return Filter(frozenset(exact), tuple(sorted(prefixes)))


def _check_prefix(item: str) -> str:
    try:
        check_type(item[:-1] + "x")
    except ValueError:
        message = f"{item[:64]!r} is not an event filter: a type, <prefix>.* or *"
        raise ValueError(message) from None
    return item[:-1]


@dataclass(frozen=True, slots=True)
class Interest:
    """What one client sees of a channel: exact scopes, the prefixes of its topic patterns, and a filter on types."""

    channel: str
    scopes: frozenset[str]
    prefixes: tuple[str, ...] = ()
    filter: Filter | None = None

    def sees(self, entry: Entry) -> bool:
        """Tell whether an entry of the log is visible here."""
        return (
            entry.channel == self.channel
            and (entry.scope in self.scopes or entry.scope.startswith(self.prefixes))
            and self.passes(entry)
        )

    def passes(self, entry: Entry) -> bool:
        """Tell whether the filter lets an entry of a visible scope pass."""
        return self.filter is None or self.filter.passes(entry.event)


def interest(channel: str, held: Iterable[str], wanted: Filter | None = None) -> Interest:
    """Build an interest from scopes and patterns."""
    scopes = {scope for scope in held if not is_pattern(scope)}
    prefixes = {scope[:-1] for scope in held if is_pattern(scope)}
    return Interest(channel, frozenset(scopes), tuple(sorted(prefixes)), wanted)


class Draft(NamedTuple):
    """An event that has no id yet: what a publisher hands to the log."""

    channel: str
    scope: str
    stored: bytes
    idempotency_key: str = ""
    publisher: str = ""
    """Whose idempotency key it is."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal events; tells a repeated publish from another one under the same idempotency key."""
        return hashlib.blake2b(self.stored, digest_size=16).hexdigest()


class Entry:
    """One entry of the log. A marker has an empty scope and no body.

    `frames` holds what a transport made of it, by the transport's name: encoded once, whoever receives it.
    """

    __slots__ = ("channel", "event", "frames", "id", "number", "scope", "stored")

    def __init__(self, id_: Cursor, channel: str, scope: str, stored: bytes) -> None:
        """Hold an entry read from the log; `stored` is the envelope from ``"event"`` on."""
        self.id = id_
        self.channel = channel
        self.scope = scope
        self.stored = stored = escaped(stored)
        self.event = stored_type(stored) if scope else ""
        self.frames: dict[str, bytes] = {}
        self.number = 0
        """Its place in the window, counted from the window's first event; 0 outside one."""

    @property
    def is_marker(self) -> bool:
        """Whether it carries no event: the begin of an epoch, a fence, or a sign of life on an idle log."""
        return not self.scope

    @property
    def is_epoch(self) -> bool:
        """Whether an epoch begins here: another server process, or other data, than before."""
        return not self.scope and self.stored == b"epoch"

    @property
    def is_fence(self) -> bool:
        """Whether it says that entries before it were lost: no older cursor is good."""
        return not self.scope and self.stored == b"fence"

    @property
    def size(self) -> int:
        """Bytes of the stored envelope."""
        return len(self.stored)

    def envelope(self) -> bytes:
        """Write the whole envelope (PROTOCOL §2): one line of compact JSON."""
        ms = self.id.ms
        return b'{"id":"%d-%d","time":"%b",%b' % (ms, self.id.seq, timestamp(ms), self.stored)


@dataclass(frozen=True, slots=True)
class Control:
    """A control event: what the service says to one client; carried like an event, kept nowhere."""

    event: str
    data: Mapping[str, object]
    ms: int
    cursor: Cursor | None = None
    """The position that goes with it, where there is one (`data` then carries it too)."""

    def envelope(self) -> bytes:
        """Write the envelope without ``id``, ``scope`` and ``version``; without ``data`` when there is none."""
        head = b'{"time":"%b","event":"%b"' % (timestamp(self.ms), self.event.encode())
        return head + (b',"data":%b}' % escaped(orjson.dumps(self.data)) if self.data else b"}")


def stored_envelope(  # noqa: PLR0913 - one for each field
    event: str,
    scope: str,
    data: bytes,
    version: int = 1,
    *,
    key: str | None = None,
    origin: str | None = None,
) -> bytes:
    """Write the part of an envelope that the log stores: from ``"event"`` to the closing brace.

    `data` is compact JSON (see `compact`).
    """
    optional = b""
    if key is not None:
        optional = b',"key":' + orjson.dumps(key)
    if origin is not None:
        optional += b',"origin":' + orjson.dumps(origin)
    return escaped(b'%b%b,"data":%b}' % (_stored_head(event, scope, version), optional, data))


@lru_cache(maxsize=16384)
def _stored_head(event: str, scope: str, version: int) -> bytes:
    """Write what is the same in all events of a kind to a scope."""
    return b'"event":"%b","scope":%b,"version":%d' % (event.encode(), orjson.dumps(scope), version)


def stored_type(stored: bytes) -> str:
    """Return the type of a stored envelope without parsing it: a type has no quotes and no escapes."""
    return stored[9 : stored.index(b'"', 9)].decode()


def compact(json: bytes) -> bytes:
    """Remove the white space between the tokens of valid JSON; numbers and strings stay as they were written."""
    if not (_BLANK in json or _LF in json or _TAB in json or _CR in json):
        return json
    return _WITH_SPACE.sub(lambda match: match[1] or b"", json)


def timestamp(ms: int) -> bytes:
    """Write unix milliseconds as RFC 3339 in UTC with milliseconds: ``2026-11-22T03:20:00.123Z``."""
    return b"%b.%03dZ" % (_second(ms // 1000), ms % 1000)


@lru_cache(maxsize=1024)
def _second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
