"""What is different between two policy documents: one line for each value, named by its dotted path. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Change(NamedTuple):
    """One value that changed; what was not there before, or is not any more, is `None`."""

    path: str
    before: Any
    after: Any


def differences(before: object, after: object) -> tuple[Change, ...]:
    """Compare two documents as `Document.dump` writes them.

    Entries of a list of named tables (rules, rollouts) are compared by their names, so that one that moves or goes
    does not change all that follow; that their order changed is one line.
    """
    return tuple(_walk("", before, after))


def _walk(path: str, before: object, after: object) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            yield from _walk(f"{path}.{name}".removeprefix("."), before.get(name), after.get(name))
        return
    old, new = _named(before), _named(after)
    if old is None or new is None:
        yield Change(path, before, after)
        return
    for name in {**old, **new}:
        yield from _walk(f"{path}[{name}]", old.get(name), new.get(name))
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield Change(f"{path} (order)", list(old), list(new))


def _named(value: object) -> dict[str, object] | None:
    """Return a list of tables by their names; `None` when it is no such list."""
    if not isinstance(value, list | tuple):
        return None
    if not all(isinstance(one, dict) and "name" in one for one in value):
        return None
    return {one["name"]: one for one in value}
