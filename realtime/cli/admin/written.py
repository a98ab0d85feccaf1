"""A policy as TOML, as an operator would write it into config.toml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tomlkit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tomlkit.items import Table

    from realtime.cli.admin.api import InForce


def written(in_force: InForce) -> str:
    """Write the policy in force, and above it which revision that is, since when, by whom and why."""
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Revision {in_force.revision}, in force since {in_force.updated_at}."))
    document.add(tomlkit.comment(_line(f"By {in_force.updated_by}: {in_force.reason or 'no reason was given'}")))
    document.add("policy", _policy(in_force.document.dump()))
    return tomlkit.dumps(document)


def _policy(value: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for name, one in value.items():
        if name not in {"transports", "rules", "rollouts"}:
            table.add(name, one)
    table.add("transports", _tables(value["transports"]))
    for name in ("rules", "rollouts"):
        if value[name]:
            several = tomlkit.aot()
            for one in value[name]:
                several.append(_named(one))
            table.add(name, several)
    return table


def _named(value: Mapping[str, Any]) -> Table:
    """Write a rule or a rollout: its conditions on one line, its arms as tables."""
    table = tomlkit.table()
    for name, one in value.items():
        if name == "arms":
            table.add(name, _tables(one))
        else:
            table.add(name, _inline(one) if isinstance(one, dict) else one)
    return table


def _tables(value: Mapping[str, Mapping[str, Any]]) -> Table:
    table = tomlkit.table(is_super_table=True)
    for name, one in value.items():
        table.add(name, _named(one))
    return table


def _inline(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of tomlkit's items
    inline = tomlkit.inline_table()
    for name, one in value.items():
        inline.add(name, _inline(one) if isinstance(one, dict) else one)
    return inline


def _line(text: str) -> str:
    """Put a text on one line without what a comment may not hold."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
