"""The code in docs/transports.md is the tested code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUOTED = re.compile(r"<!-- (?P<path>\S+) -->\n```python\n(?P<code>.*?)```\n", re.DOTALL)


def test_the_documentation_quotes_the_plug_in_word_for_word() -> None:
    quotes = {match["path"]: match["code"] for match in QUOTED.finditer((ROOT / "docs/transports.md").read_text())}
    assert quotes == {"tests/transports/ndjson.py": (ROOT / "tests/transports/ndjson.py").read_text()}


def test_the_documentation_names_everything_a_transport_has() -> None:
    text = (ROOT / "docs/transports.md").read_text()
    interface = (ROOT / "transports/transport.py").read_text().partition("class Transport(ABC):")[2]
    names = set(re.findall(r"^    (?:def )?([a-z][a-z_]+)(?=[(:])", interface, re.MULTILINE))
    assert names >= {"frame", "control", "media_type", "resumes_by"}
    assert [name for name in sorted(names) if f"`{name}" not in text] == []
