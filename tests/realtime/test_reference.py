"""The page of every setting is what the settings and config.toml say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator

from realtime.config.faults import KEYS, variable
from realtime.config.reference import DOCUMENTED, PAGE, reference, type_of
from realtime.units import Bytes, Count, Milliseconds, counted, lasting, sized

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written() -> str:
    return reference((ROOT / DOCUMENTED).read_text("utf-8"))


def row(page: str, key: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{key}` |")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_page_in_the_tree_is_the_one_that_make_docs_writes(written: str) -> None:
    assert (ROOT / PAGE).read_text("utf-8") == written


@pytest.mark.parametrize("key", KEYS)
def test_every_setting_has_a_row_with_its_variable_and_a_reason(written: str, key: str) -> None:
    _, named, kind, default, reason, edited = row(written, key)
    assert named == f"`{variable(key)}`"
    assert kind
    assert default
    assert len(reason) > 20
    assert edited in {"reloaded", "restart", "applied"}


def test_a_row_tells_the_type_its_bounds_the_default_and_what_an_edit_does(written: str) -> None:
    assert row(written, "sse.heartbeat")[2:4] == ["a duration, 50ms to 1h", '`"15s"`']
    assert row(written, "sse.heartbeat")[5] == "reloaded"
    assert row(written, "server.port")[5] == "restart"
    assert row(written, "policy.rules")[5] == "applied"
    assert row(written, "redis.url")[3] == "not set"
    assert row(written, "limits.on_limit")[2] == '`"degrade"`, `"reject"`, `"replace"`'


def test_a_setting_that_shares_a_reason_points_to_it(written: str) -> None:
    assert row(written, "history.window_bytes")[4] == "With `history.window_events`: see there."


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Annotated[Milliseconds, lasting("1s", "1h")], "a duration, 1s to 1h"),
        (Annotated[Bytes, sized("1KiB")], "a size, 1KiB to 1024GiB"),
        (Annotated[Count, counted(1)], "a whole number, at least 1"),
        (Count, "a whole number"),
    ],
)
def test_types_are_told_in_words(kind: object, words: str) -> None:
    assert type_of(kind) == words


def test_a_type_without_words_is_refused() -> None:
    with pytest.raises(TypeError, match="name the type"):
        type_of(Annotated[bool, AfterValidator(bool)])
