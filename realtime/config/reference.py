"""The page of every setting, made from what there is: the settings' types, and the reasons that `config.toml` gives.

``python -m realtime.config.reference`` (`make docs`) writes ``docs/configuration.md``, from the repository's root.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BeforeValidator

from policies.document import Preference, Switches
from realtime.config.faults import SECTIONS, variable
from realtime.config.live import RELOADED
from realtime.config.settings import Settings
from realtime.config.values import (
    Directory,
    Durability,
    Host,
    Networks,
    Origins,
    Plugins,
    PublicKey,
    Rate,
    RedisUrl,
    RootPath,
    Scopes,
    Secret,
    Text,
    WebAddress,
)
from realtime.lists import tables
from realtime.units import COUNT, DURATION, LARGEST, SIZE, Bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

PAGE: Final = Path("docs/configuration.md")
DOCUMENTED: Final = Path("config.toml")

_BEGIN: Final = """\
<!-- Written by `make docs`, from the settings and from config.toml: change those. -->

# Configuration

Every setting, with its type, its default and its reason; the same, to be edited, is [config.toml](../config.toml). That
file is read from the working directory, or from `--config FILE`; the environment overrides it, and flags of the command
line override both. `gapless config` shows what is in force and where it comes from.

* Durations: `"250ms"`, `"15s"`, `"10m"`, `"24h"`, `"7d"`; a bare number counts seconds.
* Sizes: `"64KiB"`, `"64MiB"`, `"1GiB"`; a bare number counts bytes.
* An empty string means "not set" where a setting need not be. Lists and tables are JSON in the environment.
* The last column says what an edit does to a service that runs ([operations.md](operations.md) has the whole of it):
  **reloaded**, it counts without a restart; **restart**, it is named and counts from the next one; **applied**, it is
  put in force by `gapless policy apply`, on all gateways at once.
"""
_HEAD: Final = """\
| setting | environment | type | default | what it does | when edited |
| --- | --- | --- | --- | --- | --- |
"""
_HEADER: Final = re.compile(r"\[(\w+)\]")
_SETTING: Final = re.compile(r"(\w+) = (.*)")
_QUOTED: Final = re.compile(r"(\"[^\"]*\"|`[^`]*`)")
_EXAMPLE: Final = "Instead of this line:"
_REFERRED: Final = "An example is in [config.toml](../config.toml)."
_NAMED: Final = (
    (Directory, "a directory"),
    (Durability, "`memory`, `fsync` or `replicas:<n>`"),
    (Host, "an address or host name"),
    (Networks, "a list of addresses and networks"),
    (Origins, "a list of origins"),
    (Plugins, "a list of classes"),
    (Preference, "a list of transports"),
    (PublicKey, "a PEM text, or the path of one"),
    (Rate, "a rate"),
    (RedisUrl, "an address of Redis"),
    (RootPath, "a path such as `/rt`"),
    (Scopes, "a list of scopes and patterns"),
    (Secret, "a text, never shown"),
    (Switches, "a table"),
    (WebAddress, "a web address"),
    (Text, "a text"),
)
_READ_BY: Final = (
    (DURATION.parse, "a duration"),
    (SIZE.parse, "a size"),
    (COUNT.parse, "a whole number"),
    (tables, "a list of tables"),
)


class Told(NamedTuple):
    """What config.toml says of a setting: its default as one writes it, and the comment above it."""

    default: str
    reason: str


def reference(documented: str) -> str:
    """Return the page, made with the text of the documented `config.toml`."""
    told = dict(_told(documented))
    top = [_row(key, kind, told[key]) for key, kind in _kinds(Settings).items() if key not in SECTIONS]
    return "\n".join([_BEGIN, _HEAD + "".join(top), *(_section(name, told) for name in SECTIONS)])


def _section(name: str, told: dict[str, Told]) -> str:
    rows = [_row(f"{name}.{key}", kind, told[f"{name}.{key}"]) for key, kind in _kinds(SECTIONS[name]).items()]
    return f"## {name}\n\n{SECTIONS[name].__doc__}\n\n{_HEAD}{''.join(rows)}"


def _row(key: str, kind: object, told: Told) -> str:
    default = "not set" if told.default == '""' else f"`{told.default}`"
    cells = (f"`{key}`", f"`{variable(key)}`", type_of(kind), default, _prose(told.reason), _edited(key))
    return f"| {' | '.join(cells)} |\n"


def _edited(key: str) -> str:
    if key in RELOADED:
        return "reloaded"
    return "applied" if key.startswith("policy.") else "restart"


def _kinds(section: type[BaseModel]) -> dict[str, object]:
    hints = get_type_hints(section, include_extras=True)
    return {key: hints[key] for key in section.model_fields}


def type_of(kind: object) -> str:
    """Say in words what a setting of this type takes.

    Raises:
        TypeError: there are no words for it yet.
    """
    for known, words in _NAMED:
        if kind == known:
            return words
    if get_origin(kind) is Literal:
        return ", ".join(f'`"{value}"`' for value in get_args(kind))
    checks = getattr(kind, "__metadata__", ())
    reading = [one.func for one in checks if isinstance(one, BeforeValidator)]
    read = next((words for parse, words in _READ_BY if parse in reading), "")
    if not read:
        raise TypeError(f"name the type {kind} in {__name__}")
    bounds = (one.func for one in checks if isinstance(one, AfterValidator))
    return read + next((_limits(one) for one in bounds if isinstance(one, Bounds)), "")


def _limits(bounds: Bounds) -> str:
    if bounds.high == LARGEST:
        return f", at least {bounds.least}"
    return f", {bounds.least} to {bounds.most}"


def _told(documented: str) -> Iterator[tuple[str, Told]]:
    """Read config.toml's lines: a setting has the comment above it; those that follow at once share it."""
    section, reason = "", list[str]()
    above = ""
    for line in documented.splitlines():
        if header := _HEADER.fullmatch(line):
            section = header[1] + "."
        elif setting := _SETTING.fullmatch(line):
            text = " ".join(reason) if reason else f"With `{above}`: see there."
            yield section + setting[1], Told(setting[2], text)
            above, reason = (section + setting[1] if reason else above), []
        else:
            reason = [*reason, line.removeprefix("# ")] if line.startswith("#") else []


def _prose(reason: str) -> str:
    """Write a comment as Markdown: what it quotes is code, and its example stays in config.toml."""
    text, example, _ = reason.partition(_EXAMPLE)
    marked = (_code(part) if number % 2 else _escaped(part) for number, part in enumerate(_QUOTED.split(text)))
    return "".join(marked) + (_REFERRED if example else "")


def _code(text: str) -> str:
    return f"`{text.strip('`')}`"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*").replace("|", r"\|")


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(DOCUMENTED.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
