"""The private Valkey: a log for who has none, started with the service and ended with it.

It listens on a unix socket only, keeps its data in the data directory (an append-only file, written out every second),
and never outlives the process that started it, however that one ends.
"""

from realtime.embedded.lifeline import die_with_parent
from realtime.embedded.server import Embedded

__all__ = ["Embedded", "die_with_parent"]
