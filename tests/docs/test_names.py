"""What the documentation names is there: files, headings, make targets, commands, settings, floors, functions."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from admin.desk import PREVIEWED
from realtime.cli import app
from realtime.config import Settings
from realtime.config.faults import VARIABLES
from realtime.delivery.state import MOVES
from realtime.revisions import REVISED
from realtime.section import Section
from tests.docs.pages import ROOT, Page, page, pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from click import Command

EVENTS = {"history.truncated", PREVIEWED, REVISED}
"""Types of events, which look like settings."""
EVERY_PAGE = pytest.mark.parametrize("one", pages(), ids=lambda one: one.name)


def code(one: Page) -> list[str]:
    """Return the code spans of a page, and the lines of its shell blocks."""
    return [*one.spans, *(line for block in one.blocks if block.language == "sh" for line in block.code.splitlines())]


@EVERY_PAGE
def test_links_lead_somewhere(one: Page) -> None:
    folder = (ROOT / one.name).parent
    for link in one.links:
        target, _, anchor = link.partition("#")
        if ":" in target:
            assert target.startswith("https://"), link
            continue
        file = (folder / target).resolve() if target else ROOT / one.name
        assert file.is_file(), link
        if anchor:
            assert anchor in page(file.relative_to(ROOT).as_posix()).anchors, link


@EVERY_PAGE
def test_files_that_are_named_are_there(one: Page) -> None:
    rooms = "admin|bench|deploy|docs|policies|realtime|requirements|tests|transports"
    named = [span for span in one.spans if re.fullmatch(rf"({rooms})/[\w./*-]*", span)]
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []


@EVERY_PAGE
def test_make_targets_that_are_named_are_there(one: Page) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for text in code(one) for target in re.findall(r"^make ([a-z]+)", text)}
    assert named <= targets


def test_the_readme_names_every_make_target_that_has_a_description() -> None:
    described = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^\| `make ([a-z]+)`", page("README.md").prose, re.MULTILINE))
    assert named == described - {"help"}


def commands() -> Mapping[str, Command]:
    group = get_command(app)
    found: Mapping[str, Command] = getattr(group, "commands")  # noqa: B009 - typer's own type doesn't tell of it
    return found


def named(text: str) -> Iterable[tuple[str, Command | None, str]]:
    """Return the commands that a text names, each with what there is of that name, and what follows it."""
    for name, rest in re.findall(r"(?:^|[|(] ?)gapless ([a-z]+)([^|)]*)", text):
        command = commands().get(name)
        inner: Mapping[str, Command] = getattr(command, "commands", {})
        word = re.match(r" ([a-z]+)\b", rest) if inner else None
        yield (f"{name} {word[1]}", inner.get(word[1]), rest) if word else (name, command, rest)


def options(command: Command) -> Iterable[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}


@EVERY_PAGE
def test_commands_and_options_that_are_named_are_there(one: Page) -> None:
    for text in code(one):
        for name, command, rest in named(text):
            assert command is not None, f"{name}: {text}"
            assert set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", rest)) <= set(options(command)), text


def test_the_readme_names_every_command() -> None:
    assert set(re.findall(r"^\| `gapless ([a-z]+)`", page("README.md").prose, re.MULTILINE)) == set(commands())


def test_the_page_of_the_command_line_names_every_command() -> None:
    every = {f"{name} {inner}" for name, group in commands().items() for inner in getattr(group, "commands", {})}
    every |= {name for name, command in commands().items() if not hasattr(command, "commands")}
    assert {name for text in code(page("docs/cli.md")) for name, _, _ in named(text)} >= every


@EVERY_PAGE
def test_settings_that_are_named_are_there(one: Page) -> None:
    sections = {name: set(kind.model_fields) for name, kind in kinds().items()}
    for span in one.spans:
        dotted = re.fullmatch(r"([a-z_]+)\.([a-z_]+)(?: = .*)?", span)
        if dotted and dotted[1] in sections and dotted[2] not in {"py", "lua", "md"} and span not in EVENTS:
            assert dotted[2] in sections[dotted[1]], span
        if re.fullmatch(r"\[[a-z_]+\]", span):
            assert span[1:-1] in sections, span
    variables = {*VARIABLES, "GAPLESS_URL", "GAPLESS_TOKEN"}
    named = {name for text in code(one) for name in re.findall(r"GAPLESS_[A-Z]\w*", text)}
    assert named <= variables


def kinds() -> Mapping[str, type[Section]]:
    """Return the sections of the configuration."""
    kinds = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


# --- docs/architecture.md ---------------------------------------------------------------------------------------------


def table(one: Page, heading: str) -> list[list[str]]:
    """Return the cells of the first table that has this heading in its first line."""
    lines = one.prose.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_floors_are_those_of_import_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one.get("containers") == ["realtime"])
    documented = [re.findall(r"`(\w+)`", row[1]) for row in table(page("docs/architecture.md"), "floor")]
    assert documented == [re.findall(r"\w+", layer) for layer in layers]


def test_every_room_of_the_service_is_drawn() -> None:
    drawing = page("docs/architecture.md").blocks[0].code
    there = {
        path.name for path in (ROOT / "realtime").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    plain = {"__init__.py", "connect.py", "errors.py", "logs.py", "request.py"}
    assert {name for name in there - plain if not re.search(rf"\b{name}", drawing)} == set()


def test_the_states_of_an_attachment_are_those_of_its_table() -> None:
    documented = {row[0]: set(re.findall(r"\w+", row[1])) for row in table(page("docs/architecture.md"), "from")}
    assert documented == {state.name: {to.name for to in moves} for state, moves in MOVES.items()}


def test_the_functions_and_fields_of_the_kernel_are_those_of_its_code() -> None:
    kernel, one = (ROOT / "realtime/channel/log.lua").read_text(), page("docs/architecture.md")
    assert {row[0].strip("`") for row in table(one, "function")} == set(
        re.findall(r"register_function(?:\(|\{ function_name = )'(\w+)'", kernel)
    )
    saved = re.search(r"local function save\(log\)(.*?)\nend", kernel, re.DOTALL)
    assert saved is not None
    fields = set(re.findall(r"'([a-z]+)', ", saved[1]))
    meta = next(row[2] for row in table(one, "key") if row[0] == "`meta`")
    assert {field for field in fields if f"`{field}`" not in meta} == set()


# --- docs/guarantees.md -----------------------------------------------------------------------------------------------


@EVERY_PAGE
def test_tests_that_are_named_are_there(one: Page) -> None:
    for span in one.spans:
        file, named, test = span.partition("::")
        if file.startswith("tests/") and named:
            assert re.search(rf"^ *(async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), span


def test_every_guarantee_names_a_test() -> None:
    rows = [line for line in page("docs/guarantees.md").prose.splitlines() if re.match(r"\| (?!---)", line)]
    guarantees = [row for row in rows if not row.endswith("| shown by |")]
    assert len(guarantees) > 20
    shown = re.compile(r"`tests/[\w/]+\.py::test_\w+`|the two tests of a loss \([\w-]+\)")
    assert [row for row in guarantees if not shown.search(row.split("|")[-2])] == []
