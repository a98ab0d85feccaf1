"""`deploy/Dockerfile`: what it copies is there and is enough, what it installs is pinned, and it is no root."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from tests.deploy.support import DEPLOY, ROOT, SECRET, parsed, settings

if TYPE_CHECKING:
    from tests.support.gateway import Gateway

DOCKERFILE = DEPLOY / "Dockerfile"
IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()


def instructions() -> list[tuple[str, str]]:
    """Return the instructions in order, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, " ".join(rest.split())) for name, rest in re.findall(r"^([A-Z]+) (.+)$", text, re.MULTILINE)]


def values(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def copied() -> list[str]:
    """Return what is copied from the repository."""
    return [source for rest in values("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]]


def environ() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(values("ENV"))))


def test_what_it_copies_is_there_and_is_sent_to_the_builder() -> None:
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert IGNORED[1] == "*", "nothing that isn't named"
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == set(copied())


def test_what_it_copies_makes_the_whole_package(tmp_path: Path) -> None:
    source = tmp_path / "build"
    for name in copied():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    hatchling = str(Path(sys.executable).with_name("hatchling"))
    command = [hatchling, "build", "--target", "wheel", "--directory", str(tmp_path)]
    assert "/opt/tools/bin/hatchling build --target wheel --directory dist" in " ".join(values("RUN"))
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("gapless-*.whl")
    packages = ("realtime", "transports", "policies", "admin")
    files = (file for package in packages for file in (source / package).rglob("*") if file.is_file())
    wanted = {file.relative_to(source).as_posix() for file in files}
    assert "realtime/channel/log.lua" in wanted
    assert wanted <= set(ZipFile(wheel).namelist())


def test_whatever_it_installs_is_pinned() -> None:
    for image in values("FROM"):
        assert re.fullmatch(r"python:3\.1[123]-[\w-]+( AS \w+)?", image)
    steps = [step for rest in values("RUN") for step in rest.split("&&") if re.search(r"pip3? install ", step)]
    assert len(steps) == 3
    for step in steps:
        hashed = "--require-hashes --requirement requirements/" in step
        own = step.rstrip().endswith("--no-deps --no-index dist/gapless-*.whl")
        assert hashed or own, step


def test_it_is_built_in_one_stage_and_run_in_another_as_nobody() -> None:
    assert len(values("FROM")) == 2
    (user,) = values("USER")
    assert all(int(number) > 0 for number in user.split(":"))
    order = [name for name, _ in instructions()]
    assert order.index("USER") > max(at for at, name in enumerate(order) if name in {"RUN", "COPY"})
    assert f"--owner {user.split(':')[0]}" in values("RUN")[-1]


def test_it_starts_a_command_that_there_is_with_settings_that_there_are() -> None:
    assert json.loads(values("ENTRYPOINT")[0]) == ["gapless"]
    assert parsed(json.loads(values("CMD")[-1])) is not None
    loaded = settings({**environ(), "GAPLESS_AUTH__SECRET": SECRET})
    assert (loaded.env, loaded.server.host) == ("production", "0.0.0.0")  # noqa: S104 - inside a container
    assert values("EXPOSE") == [str(loaded.server.port)]
    assert str(loaded.data_dir) in values("RUN")[-1]


@pytest.mark.parametrize("ready", [True, False])
async def test_its_health_is_that_of_the_service(served: Gateway, ready: bool) -> None:
    _, program, code, *rest = re.findall(r'"([^"]+)"', values("HEALTHCHECK")[0])
    assert (program, rest) == ("-c", [])
    address = served.url if ready else "http://127.0.0.1:9"
    probe = code.replace("http://127.0.0.1:8000", address)
    assert probe != code
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", probe, stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    assert (await process.wait() == 0) is ready
