"""`deploy/gapless.service`: systemd takes it, and it starts what there is."""

from __future__ import annotations

import re
import shlex
import subprocess
from configparser import ConfigParser
from typing import TYPE_CHECKING

import pytest

from tests.deploy.support import DEPLOY, ROOT, SECRET, parsed, settings

if TYPE_CHECKING:
    from pathlib import Path

UNIT = DEPLOY / "gapless.service"
HOME = "/opt/gapless"
MOST_EXPOSED = 20
"""Tenths, of 100."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The unit, as it would be with the service installed in this checkout."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(HOME, str(ROOT)))
    return unit


def service() -> dict[str, list[str]]:
    """Return the values of [Service], in order: some come more than once."""
    _, _, section = UNIT.read_text().partition("[Service]\n")
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", section.partition("\n[Install]")[0], re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_systemd_finds_nothing_wrong(here: Path) -> None:
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in ended.stderr.splitlines() if here.name in line]
    assert (ended.returncode, said) == (0, []), ended.stderr


def test_it_is_exposed_to_little(here: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", str(here)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout


def test_it_starts_a_command_that_there_is() -> None:
    (start,) = service()["ExecStart"]
    program, *arguments = shlex.split(start)
    assert (ROOT / program.removeprefix(f"{HOME}/")).is_file()
    assert str(parsed(arguments)["config"]) == "/etc/gapless/config.toml"


def test_what_it_sets_is_a_setting() -> None:
    environ = dict(value.split("=", 1) for value in service()["Environment"])
    loaded = settings({**environ, "GAPLESS_AUTH__SECRET": SECRET})
    assert loaded.env == "production"
    assert str(loaded.data_dir) == "/var/lib/" + service()["StateDirectory"][0]


def test_it_is_a_unit_with_its_three_sections() -> None:
    reader = ConfigParser(strict=False, interpolation=None)
    reader.read(UNIT)
    assert reader.sections() == ["Unit", "Service", "Install"]
    page = reader["Unit"]["Documentation"].removeprefix(f"file://{HOME}/")
    assert (ROOT / page).is_file()


def test_it_is_no_root_and_gets_enough_files() -> None:
    found = service()
    assert found["DynamicUser"] == ["yes"]
    assert "User" not in found
    assert int(found["LimitNOFILE"][0]) >= 65_536
