"""One word for one thing: every word is defined once, and the code's names keep to them."""

from __future__ import annotations

import ast
import re
from itertools import chain

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.docs.pages import ROOT, page

WORDS = {
    # PROTOCOL §1
    *("channel", "event", "scope", "cursor", "transport", "policy", "decision", "ticket", "gateway"),
    # the project's own
    *("log", "window", "reader", "exchange", "attachment", "breaker", "rollout", "arm", "drain", "envelope", "session"),
}


def sections() -> list[list[str]]:
    """Return the words of each table."""
    tables = page("docs/glossary.md").prose.split("\n## ")
    return [re.findall(r"^\| ([A-Za-z -]+) \| [^-]", one.replace("| word | is", ""), re.MULTILINE) for one in tables]


def names() -> set[str]:
    """Return the words that the names of modules, classes and functions are made of."""
    found: set[str] = set()
    for file in chain.from_iterable(
        (ROOT / room).rglob("*.py") for room in ("realtime", "transports", "policies", "admin")
    ):
        defined = (node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, _NAMED))
        for name in {file.stem, *defined} - _GIVEN:
            found |= {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    return found


_GIVEN = frozenset(dir(HttpToolsProtocol))
"""What a parent of ours has named."""
_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def test_every_word_is_defined_once() -> None:
    defined = list(chain.from_iterable(sections()))
    assert len(defined) == len(set(defined))
    assert set(defined) >= WORDS


def test_words_are_in_their_order() -> None:
    for words in sections():
        assert words == sorted(words, key=str.lower)


def test_words_that_are_not_used_name_nothing() -> None:
    unused = page("docs/glossary.md").prose.partition("## Not used at all")[2]
    banned = set(re.findall(r"`([a-z]+)`", unused))
    assert {"manager", "subscriber"} <= banned
    assert names() & banned == set()
