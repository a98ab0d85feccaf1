"""The configuration: `config.toml`, the environment on top of it, and nothing else.

Every setting is `<section>.<key>`, lives in `settings.py` with its default and its limits, and is
documented in the `config.toml` at the root (a test compares the two). The environment variable
`GAPLESS_<SECTION>__<KEY>` overrides it. Whatever is wrong is said in one message that names where
it stands and what would be right, and then nothing starts.
"""

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
from realtime.config.sources import load

__all__ = [
    "SHORTEST_SECRET",
    "AuthSettings",
    "CorsSettings",
    "HistorySettings",
    "LimitsSettings",
    "LogSettings",
    "LongPollSettings",
    "PollingSettings",
    "RedisSettings",
    "ServerSettings",
    "Settings",
    "SseSettings",
    "TransportsSettings",
    "load",
    "resolve_secret",
]
