"""Which arm of a rollout a client is in: the same one each time it comes, and no other rollout's business.

A client falls into one of 10,000 buckets by a salted hash of who it is; the arms lie on the buckets side by side. The
control arm lies in the middle. The others grow from the two ends in turn, in the order of their names, so that an arm
that takes more takes it from control, and nobody else changes sides.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKETS: Final = 10_000
CONTROL: Final = "control"


class Layout(NamedTuple):
    """The arms on the buckets, from the left: the name of each, and the first bucket beyond it."""

    names: tuple[str, ...]
    ends: tuple[int, ...]

    def arm(self, bucket: int) -> str:
        """Return the arm that a bucket belongs to."""
        return self.names[bisect_right(self.ends, bucket)]


def control_of(names: Mapping[str, object]) -> str:
    """Return the arm that the others are compared with: `control`, or else the alphabetically first."""
    return CONTROL if CONTROL in names else min(names)


def layout(shares: Mapping[str, int]) -> Layout:
    """Lay arms over the buckets; the shares sum to `BUCKETS`, and their order does not matter."""
    control = control_of(shares)
    others = sorted(name for name in shares if name != control)
    names = (*others[::2], control, *reversed(others[1::2]))
    return Layout(names, tuple(accumulate(shares[name] for name in names)))


def subject(sub: str | None, client_id: str | None) -> bytes | None:
    """Return who a client is to a rollout; a subject and a client id of the same text are two."""
    if sub:
        return b"sub\0" + sub.encode("utf-8", "surrogatepass")
    if client_id:
        return b"client\0" + client_id.encode("utf-8", "surrogatepass")
    return None


def salted(salt: str, rollout: str) -> bytes:
    """Return what sets a rollout's draw apart from any other's; neither of the two holds a NUL."""
    return b"%b\0%b\0" % (salt.encode(), rollout.encode())


def bucket(key: bytes, who: bytes) -> int:
    """Return the bucket of a client in the rollout of this key."""
    return int.from_bytes(blake2b(key + who, digest_size=8).digest()) % BUCKETS
