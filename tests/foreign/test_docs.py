"""docs/clients.md names the clients that are run, in the versions that are locked."""

from __future__ import annotations

import json
import re
from typing import Final

from tests.docs.pages import ROOT
from tests.foreign.reader import CLIENTS, FOLDER

_ROW: Final = re.compile(r"^\| `([^`]+)` \| ([0-9.]+) \|", re.MULTILINE)


def test_the_page_names_every_client_that_is_run() -> None:
    modules = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    locked = (ROOT / "requirements" / "foreign.txt").read_text()
    versions = {
        (client.package, modules[f"node_modules/{client.package}"]["version"])
        if client.registry == "npm"
        else (client.package, re.findall(rf"^{client.package}==(\S+)", locked, re.MULTILINE)[0])
        for client in CLIENTS
    }
    assert set(_ROW.findall((ROOT / "docs" / "clients.md").read_text())) == versions
