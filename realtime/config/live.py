"""The settings in force in one process: those that it began with, and over them what can be taken on while it runs.

What can't (an address, a Redis, a key …) stays as it was, and is named: it needs a restart. `[policy]` is never taken
on here: it counts from the start until an admin changes it, and from then on the revisions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from realtime.config.faults import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from realtime.config.settings import Settings

RELOADED: Final = (
    "auth.anonymous_scopes",
    "auth.ticket_ttl",
    "cors.origins",
    "log.format",
    "log.level",
    "long_poll.hold",
    "polling.interval",
    "sse.first_byte_timeout",
    "sse.heartbeat",
    "sse.lifetime",
    "sse.retry",
)
"""What is taken on while the service runs."""

_POLICY: Final = "policy"


class Taken(NamedTuple):
    """What came of a configuration that was read anew."""

    changed: tuple[str, ...]
    """The keys that were taken on."""
    waiting: tuple[str, ...]
    """The keys that differ from what is in force, and need a restart."""


class Live:
    """The settings in force: read through `settings`, or be told."""

    def __init__(self, settings: Settings) -> None:
        """Begin with these."""
        self.settings = settings
        self._changed: list[Callable[[Settings], object]] = []

    def on_change(self, changed: Callable[[Settings], object]) -> None:
        """Have somebody told whenever other settings are in force, for whom it doesn't do to read them each time."""
        self._changed.append(changed)

    def take(self, found: Settings) -> Taken:
        """Take on what can be of a configuration, and tell what that was and what couldn't be."""
        different = [key for key in KEYS if _value(found, key) != _value(self.settings, key)]
        changed = tuple(key for key in different if key in RELOADED)
        waiting = tuple(key for key in different if key not in RELOADED and key.partition(".")[0] != _POLICY)
        if changed:
            self.settings = _with(self.settings, found, changed)
            for tell in self._changed:
                tell(self.settings)
        return Taken(changed, waiting)


def _value(settings: Settings, key: str) -> object:
    section, _, name = key.rpartition(".")
    return getattr(getattr(settings, section) if section else settings, name)


def _with(settings: Settings, found: Settings, keys: Iterable[str]) -> Settings:
    """Return settings with the values of these keys of others."""
    values: dict[str, dict[str, object]] = {}
    for key in keys:
        section, _, name = key.partition(".")
        values.setdefault(section, {})[name] = _value(found, key)
    sections = {name: getattr(settings, name).model_copy(update=update) for name, update in values.items()}
    return settings.model_copy(update=sections)
