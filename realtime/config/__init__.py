"""The configuration: `config.toml`, the environment on top of it, and nothing else.

Every setting is `<section>.<key>`, lives in `settings.py` with its default and its limits, and is
documented in the `config.toml` at the root (a test compares the two). The environment variable
`GAPLESS_<SECTION>__<KEY>` overrides it. Whatever is wrong is said in one message that names where
it stands and what would be right, and then nothing starts.

A service that runs reads it anew when the file changes or it is asked to, and takes on what it can
(`live.py`); a configuration that can't be used changes nothing then.
"""

from realtime.config.live import RELOADED, Live, Taken
from realtime.config.secret import resolve_secret
from realtime.config.settings import (
    SHORTEST_SECRET,
    AuthSettings,
    CorsSettings,
    HistorySettings,
    LimitsSettings,
    LogSettings,
    LongPollSettings,
    PollingSettings,
    RedisSettings,
    ServerSettings,
    Settings,
    SseSettings,
    TransportsSettings,
)
from realtime.config.sources import Loaded, Source, load

__all__ = [
    "RELOADED",
    "SHORTEST_SECRET",
    "AuthSettings",
    "CorsSettings",
    "HistorySettings",
    "LimitsSettings",
    "Live",
    "Loaded",
    "LogSettings",
    "LongPollSettings",
    "PollingSettings",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "Source",
    "SseSettings",
    "Taken",
    "TransportsSettings",
    "load",
    "resolve_secret",
]
