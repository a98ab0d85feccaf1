"""The limit of open files: raised by the service as far as the system lets it."""

from __future__ import annotations

import subprocess
import sys

from realtime.server.files import PLENTY

_CODE = """
import os, resource
from realtime.config.settings import Settings
from realtime.server import files
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
if os.geteuid() == 0:
    os.setuid(65534)
files.raise_limit(Settings.model_validate({{"limits": {{"max_clients": {clients}}}}}))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def raised(soft: int, hard: int, clients: int) -> tuple[int, str]:
    """Raise the limit in a process that may not change the system's; return what it is then, and what was logged."""
    code = _CODE.format(soft=soft, hard=hard, clients=clients)
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    *logged, last = ended.stdout.splitlines()
    return int(last.split()[0]), "\n".join(logged)


def test_is_raised_to_what_all_clients_need() -> None:
    assert raised(256, 8192, 1000) == (1256, "")


def test_is_left_alone_where_it_is_enough() -> None:
    assert raised(4096, 8192, 1000) == (4096, "")


def test_of_a_gateway_for_any_number_is_raised_to_plenty() -> None:
    assert raised(256, PLENTY, 0) == (PLENTY, "")


def test_is_raised_as_far_as_it_goes_and_the_rest_is_said() -> None:
    allowed, logged = raised(256, 512, 1000)
    assert allowed == 512
    assert "few open files" in logged
    assert "1256" in logged
