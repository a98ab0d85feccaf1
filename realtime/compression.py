"""Answers compressed with gzip, where it pays and tells nobody anything.

JSON of 1 KiB and more, for who asks for it (RFC 9110 §12.5.3). Streams never: what is compressed is held back until
there is enough of it, by us or by a proxy. Answers for the public neither, which depend on their URL alone: the cache
before us compresses, once for all. Nor an answer that carries a ticket: the length of what is compressed tells whether
two parts of it are alike (BREACH), and a secret must not be one of them.
"""

from __future__ import annotations

import gzip
from typing import Final

from transports.transport import Answer

LEAST: Final = 1024
"""Bytes. A smaller body fits into a packet or two as it is."""

_LEVEL: Final = 1
"""Envelopes are alike enough: level 6 takes twice as long, for a twentieth less."""
_KINDS: Final = (b"application/json", b"text/plain")
_CACHING: Final = b"cache-control"
_PUBLIC: Final = b"public"
_VARY: Final = (b"vary", b"accept-encoding")
_GZIP: Final = (b"content-encoding", b"gzip")


def takes_gzip(accepted: str) -> bool:
    """Read an ``Accept-Encoding`` field; without one, or one that can't be read, nothing is compressed."""
    weights: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        coding, _, parameter = part.partition(";")
        weights[coding.strip()] = parameter.replace(" ", "").rstrip("0.") != "q="
    return weights.get("gzip", weights.get("*", False))


def packed(answer: Answer, *, takes_gzip: bool) -> Answer:
    """Return an answer compressed if it pays; if it could have been, saying so to caches."""
    fields = dict(answer.headers)
    if (
        len(answer.body) < LEAST
        or not fields[b"content-type"].startswith(_KINDS)
        or _PUBLIC in fields.get(_CACHING, b"")
    ):
        return answer
    headers = (*answer.headers, _VARY)
    if not takes_gzip:
        return answer._replace(headers=headers)
    return Answer(answer.status, (*headers, _GZIP), gzip.compress(answer.body, _LEVEL, mtime=0))
