"""What a gateway remembers of a log beyond its own end: the highest id that it saw of each epoch (rule 5), as a file.

A log that lacks an id which somebody saw has lost entries. Whoever knows it must not forget it with a restart, for when
all gateways restart at the same time as Redis loses entries, nobody else knows. Values only: `realtime.witnesses` keeps
the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from realtime.channel.event import Cursor, parse_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Seen(NamedTuple):
    """What was seen of one log."""

    born: int
    """The log's first epoch: a log that began anew, or another server's, has another one, and has lost nothing."""
    ids: tuple[Cursor, ...]
    """The highest id of each epoch, in order."""


class _Log(msgspec.Struct):
    name: str
    born: int
    ids: list[str]


class _File(msgspec.Struct):
    logs: list[_Log]


def highest(ids: Iterable[Cursor]) -> tuple[Cursor, ...]:
    """Keep the highest id of each epoch, in order."""
    by_epoch: dict[int, Cursor] = {}
    for id_ in sorted(ids):
        by_epoch[id_.epoch] = id_
    return tuple(sorted(by_epoch.values()))


def written(seen: Mapping[str, Seen]) -> bytes:
    """Write what was seen of logs, by their names."""
    logs = [_Log(name, one.born, [str(id_) for id_ in one.ids]) for name, one in sorted(seen.items())]
    return msgspec.json.encode(_File(logs))


def read(raw: bytes) -> list[tuple[str, Seen]]:
    """Read what was written.

    Raises:
        ValueError: it is something else.
    """
    logs = msgspec.json.decode(raw, type=_File).logs
    return [(log.name, Seen(log.born, tuple(parse_cursor(id_) for id_ in log.ids))) for log in logs]


def of_log(found: Iterable[tuple[str, Seen]], name: str, born: int) -> tuple[Cursor, ...]:
    """Gather what several gateways saw of one log."""
    return highest(id_ for other, seen in found if (other, seen.born) == (name, born) for id_ in seen.ids)
