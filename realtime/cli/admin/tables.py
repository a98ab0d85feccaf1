"""Tables and values as a person reads them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from realtime.cli.console import output

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_UNFOLDED: Final = 10_000
"""Columns where there is no screen: what is piped on is not folded."""


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], console: Console = output) -> None:
    """Print a table; its cells are texts as they are."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    if not console.is_terminal:
        console = Console(file=console.file, width=_UNFOLDED)
    console.print(table, soft_wrap=False)


def print_json(raw: bytes) -> None:
    """Print an answer of the API as it came."""
    if raw:
        sys.stdout.write(raw.decode().rstrip("\n") + "\n")


def time(text: str) -> str:
    """Write a moment of the API to the second."""
    return f"{text.partition('.')[0].removesuffix('Z')}Z"


def value(one: Any) -> str:  # noqa: ANN401 - any JSON
    """Write a value of the policy; what isn't there is a dash."""
    return "–" if one is None else json.dumps(one, ensure_ascii=False)


def counts(of: Mapping[str, int]) -> str:
    """Write numbers by name: ``sse 12, polling 3``."""
    return ", ".join(f"{name} {number}" for name, number in of.items()) or "none"
