"""Which characters of JSON leave as escapes, though JSON would have them as they are (PROTOCOL §2). Pure.

Readers that split lines as ``str.splitlines`` does take U+0085, U+2028 and U+2029 for the end of a line, and what
follows for a field of its own: whoever writes data could forge ids and control events. U+FEFF vanishes where a text
begins, and terminals obey U+007F to U+009F. The other line ends of Unicode are below U+0020: JSON has no way to hold
them but escapes.
"""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]|\xef\xbb\xbf")
"""In UTF-8; the first bytes of these sequences are never a later byte of another character's."""
_DELETE: Final = 0x7F
_FIRST_BYTES: Final = (b"\xc2", b"\xe2\x80", b"\xef\xbb")


def escaped(json: bytes) -> bytes:
    """Return the same JSON with U+007F to U+009F, U+2028, U+2029 and U+FEFF as escapes (RFC 8259 §7).

    `json` is valid JSON in UTF-8, in which such characters are within strings only.
    """
    if json.isascii():
        return json.replace(b"\x7f", b"\\u007f") if _DELETE in json else json
    if _DELETE in json or any(first in json for first in _FIRST_BYTES):
        return _UNSAFE.sub(_escape, json)
    return json


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())
