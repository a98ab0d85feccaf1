"""``gapless config``: the settings that a service would start with here, and where each comes from."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import typer

from realtime.cli.admin.tables import print_json, show, value
from realtime.cli.options import Config, source
from realtime.config import Loaded
from realtime.config.faults import KEYS

_MASKED: Final = "(not shown)"
_DEFAULT: Final = "default"

Json = Annotated[bool, typer.Option("--json", help="Print one object: each key with its value and its origin.")]


class _Setting(NamedTuple):
    key: str
    value: Any
    origin: str


def effective(*, config: Config = None, json: Json = False) -> None:
    """Show every setting, and where it comes from: the file, a variable, or the default.

    It is what a service that is started here, with this environment, would
    have. Secrets, and addresses that may hold one, are not shown.

    [bold]Examples[/]

      gapless config
      gapless config --config prod.toml
      gapless config --json | jq '.["history.retention"]'

    Exit status: 0, shown; 2, the configuration can't be used: what is wrong
    with it is said.
    """
    found = list(_settings(source(config).loaded()))
    if json:
        print_json(msgspec.json.encode({one.key: {"value": one.value, "origin": one.origin} for one in found}))
    else:
        show(("setting", "value", "from"), ((one.key, value(one.value), one.origin) for one in found))


def _settings(loaded: Loaded) -> Iterator[_Setting]:
    dumped = loaded.settings.model_dump(mode="json")
    for key, may_be_shown in KEYS.items():
        section, _, name = key.rpartition(".")
        model = getattr(loaded.settings, section) if section else loaded.settings
        origin = loaded.origins.of(key) if name in model.model_fields_set else _DEFAULT
        one = (dumped[section] if section else dumped)[name]
        secret = one is not None and not may_be_shown
        yield _Setting(key, _MASKED if secret else one, origin)
