"""Where the configuration comes from: a TOML file, then the environment, then the command line's flags.

Everything that is wrong is collected and said in one `ConfigError`, each fault with the place it came from, so that
nobody repairs a configuration one start at a time. The values of secrets are never repeated.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from realtime.config.faults import PREFIX, VARIABLES, Origins, unknown_variable, wrong_settings
from realtime.config.settings import Settings
from realtime.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE: Final = Path("config.toml")

_NO_FLAGS: Final[Mapping[str, object]] = MappingProxyType({})

# Kubernetes and Docker tell every container of a service named "gapless" or "gapless-…" in variables of these names:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_LINK: Final = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINKED_PORT: Final = re.compile(r"(tcp|udp|sctp)://")


class Loaded(NamedTuple):
    """A configuration that can be used, and which place each setting has its value from."""

    settings: Settings
    origins: Origins


@dataclass(frozen=True, slots=True)
class Source:
    """Where one program's configuration comes from, so that it can be read again, with the same precedence."""

    path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    flags: Mapping[str, object] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The file that is read, which need not be there."""
        return (self.path or DEFAULT_FILE).absolute()

    def load(self) -> Settings:
        """Read it; raises as `load` does."""
        return self.loaded().settings

    def loaded(self) -> Loaded:
        """Read it, and tell where each setting comes from; raises as `load` does."""
        return _loaded(self.path, self.environ, self.flags)


def load(
    path: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] = _NO_FLAGS,
) -> Settings:
    """Read the configuration: the file at `path` (or `config.toml` here, if there is one), and what overrides it.

    `flags` come from the command line: a dotted key to a value, which wins over the environment.

    Raises:
        ConfigError: anything is wrong; its detail names every fault and where it stands.
    """
    return _loaded(path, environ, flags).settings


def _loaded(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    file = path or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    values = _read(file) if file else {}
    origins = Origins(str(file or DEFAULT_FILE))
    faults = []
    for name, text in _variables(environ):
        if name in VARIABLES:
            _put(values, origins, VARIABLES[name], text, name)
        else:
            faults.append(unknown_variable(name))
    for key, value in flags.items():
        _put(values, origins, key, value, "--" + key.rpartition(".")[2].replace("_", "-"))
    return Loaded(_settings(values, origins, faults), origins)


def _settings(values: dict[str, object], origins: Origins, faults: list[str]) -> Settings:
    settings = None
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += wrong_settings(error, values, origins)
    # Raised outside the `except`: pydantic's own error holds the values, secrets too, and would be shown with ours.
    if settings is None or faults:
        raise ConfigError("\n".join(["The configuration can't be used:", *faults]))
    return settings


def _variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what is meant for us, in a fixed order; what an orchestrator says of a service's address is not."""
    ours = ((name, text) for name, text in environ.items() if name.startswith(PREFIX))
    return sorted((name, text) for name, text in ours if not _is_link(name.removeprefix(PREFIX), text))


def _is_link(name: str, text: str) -> bool:
    return bool(_LINK.fullmatch(name)) or (name.endswith("PORT") and bool(_LINKED_PORT.match(text)))


def _put(values: dict[str, object], origins: Origins, key: str, value: object, place: str) -> None:
    section, _, name = key.rpartition(".")
    table = values.setdefault(section, {}) if section else values
    if isinstance(table, dict):  # else the file has a plain value where a section belongs: a fault that is told anyway
        table[name] = value
        origins.overridden[key] = place


def _read(file: Path) -> dict[str, object]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: the configuration can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: the configuration isn't UTF-8 text (byte {error.start})") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: this isn't TOML: {_placed(str(error), text)}") from None


def _placed(message: str, text: str) -> str:
    """Give a line and a column where tomllib says "at end of document"."""
    before = text.removesuffix("\n")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return message.replace("at end of document", f"at line {line}, column {column}")
