"""A path prefix: where a proxy shows the service below its own root, such as ``/rt``.

Its segments have unreserved characters only (RFC 3986 §2.3), and none is ``.`` or ``..``. Such a prefix is the same
text in a URL, in a cookie's ``Path`` and in a page, and in front of a path it never names another host.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 255
"""Characters of a prefix."""
_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")


def root_path(text: str) -> str:
    """Return a prefix without the slash that it may end with; of ``/`` alone, the empty one.

    Raises:
        ValueError: it is none.
    """
    prefix = text.removesuffix("/")
    if not text or len(prefix) > LONGEST or not _PREFIX.fullmatch(prefix):
        raise ValueError("a path such as /rt is expected")
    return prefix
