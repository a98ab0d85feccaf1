"""The product's values as the ledger has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.promise.scheduler.lineage import Id, Line
from tests.promise.scheduler.plane import OPERATOR, changes_of

if TYPE_CHECKING:
    from realtime.channel.event import Cursor
    from tests.promise.scheduler.server import Raw


def id_of(cursor: Cursor) -> Id:
    """Read a cursor."""
    return Id(*cursor)


def stored_id(raw: bytes) -> Id:
    """Read the id of a stream's entry."""
    ms, _, seq = raw.partition(b"-")
    return Id(int(ms), int(seq))


def number_of(stored: bytes) -> int:
    """Read an event's number: all the data that it has."""
    return int(stored[stored.rindex(b":") + 1 : -1])


def line_of(raw: Raw) -> Line:
    """Read an entry of the log."""
    id_, fields = raw
    if fields[b"s"]:
        return Line(stored_id(id_), number_of(fields[b"b"]), "")
    return Line(stored_id(id_), None, fields[b"b"].decode())


def revision_of(raw: Raw) -> tuple[int, frozenset[int], frozenset[int]]:
    """Read a revision of the policy: its number, which changes it has, and which it tells are dropped."""
    id_, fields = raw
    revision = msgspec.json.decode(fields[b"r"])
    dropped = frozenset(int(one["reason"].rpartition(" ")[2]) for one in revision["dropped"] if one["by"] == OPERATOR)
    return stored_id(id_).ms, changes_of(revision["policy"]), dropped
