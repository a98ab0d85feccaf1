"""The documentation as data: its pages, and the code, links, anchors and code spans in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"```(?P<language>\S*)")
_REASON = re.compile(r"<!-- not run: (?P<reason>.+) -->")
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"#+ (.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `reason` is why it is not run, when it says so."""

    page: str
    line: int
    language: str
    code: str
    reason: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One file of the documentation: its code, and the rest of it."""

    name: str
    blocks: tuple[Block, ...]
    prose: str

    @property
    def spans(self) -> list[str]:
        """Return what stands in backticks, line breaks read as spaces."""
        return [" ".join(span.split()) for span in _SPAN.findall(re.sub(r"(?<=\S)\n(?=\S)", " ", self.prose))]

    @property
    def links(self) -> list[str]:
        return _LINK.findall(re.sub(r"\n", " ", self.prose))

    @property
    def anchors(self) -> set[str]:
        """Return the anchors of the headings, as GitHub makes them."""
        headings = (found[1] for line in self.prose.splitlines() if (found := _HEADING.match(line)))
        return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def in_language(self, *languages: str) -> list[Block]:
        return [block for block in self.blocks if block.language in languages and not block.reason]


def pages() -> list[Page]:
    """Read all pages."""
    files = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "deploy/README.md")]
    return [_page(file) for file in (*files, *sorted((ROOT / "docs").glob("*.md")))]


def page(name: str) -> Page:
    """Read one page."""
    return _page(ROOT / name)


def _page(file: Path) -> Page:
    name, text = file.relative_to(ROOT).as_posix(), file.read_text()
    prose: list[str] = []
    return Page(name, tuple(_blocks(name, text.splitlines(), prose)), "\n".join(prose))


def _blocks(name: str, lines: list[str], prose: list[str]) -> Iterator[Block]:
    """Yield the blocks, and put what is outside of them into `prose`."""
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            prose.append(line)
            continue
        reason = _REASON.fullmatch(lines[number - 2])
        code = []
        for _, inner in numbered:
            if inner == "```":
                break
            code.append(inner)
        yield Block(name, number, fence["language"], "\n".join(code) + "\n", reason["reason"] if reason else "")
