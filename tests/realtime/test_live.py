"""The settings in force: what is taken on of a configuration that was read anew, and what waits for a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from realtime.config import RELOADED, Live, Settings, Source
from realtime.config.faults import KEYS
from realtime.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

EDITED: dict[str, dict[str, Any]] = {
    "auth": {"anonymous_scopes": ["broadcast"], "ticket_ttl": "30s"},
    "cors": {"origins": ["https://app.example.com"]},
    "log": {"format": "json", "level": "debug"},
    "long_poll": {"hold": "10s"},
    "polling": {"interval": "9s"},
    "sse": {"first_byte_timeout": "2s", "heartbeat": "3s", "lifetime": "60s", "retry": "2s"},
}


def settings(values: dict[str, Any]) -> Settings:
    return Settings.model_validate(values)


def test_what_can_be_taken_on_is_and_is_named() -> None:
    live, found = Live(settings({})), settings(EDITED)
    taken = live.take(found)
    assert (set(taken.changed), taken.waiting) == (set(RELOADED), ())
    assert live.settings == found


def test_what_is_named_as_reloaded_is_a_setting() -> None:
    assert set(RELOADED) <= set(KEYS)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"server": {"port": 1}}, "server.port"),
        ({"redis": {"url": "redis://:secret@elsewhere/0"}}, "redis.url"),
        ({"auth": {"secret": "x" * 40}}, "auth.secret"),
        ({"data_dir": "elsewhere"}, "data_dir"),
        ({"history": {"retention": "1h"}}, "history.retention"),
    ],
)
def test_what_cant_be_taken_on_stays_and_is_named_whenever_it_is_read(values: dict[str, Any], key: str) -> None:
    live = Live(settings({}))
    for found in (settings(values), settings(values)):
        assert live.take(found) == ((), (key,))
    assert live.settings == settings({})


def test_a_policy_is_neither_taken_on_nor_waits() -> None:
    live = Live(settings({}))
    assert live.take(settings({"policy": {"preference": ["polling"]}})) == ((), ())
    assert live.settings.policy.preference == ("sse", "long-poll", "polling")


def test_who_asked_for_it_is_told_of_what_is_in_force_and_only_then() -> None:
    live, told = Live(settings({})), list[Settings]()
    live.on_change(told.append)
    live.take(settings({"server": {"port": 1}}))
    assert told == []
    live.take(settings({"server": {"port": 1}, "sse": {"heartbeat": "3s"}}))
    assert told == [settings({"sse": {"heartbeat": "3s"}})] == [live.settings]


def test_a_source_is_read_again_with_the_same_precedence(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    source = Source(file, {"GAPLESS_SSE__RETRY": "7s"}, {"server.port": 9})
    for heartbeat in ("3s", "4s"):
        file.write_text(f'[sse]\nretry = "1s"\nheartbeat = "{heartbeat}"\n[server]\nport = 1\n')
        found = source.load()
        assert (found.sse.heartbeat, found.sse.retry, found.server.port) == (int(heartbeat[0]) * 1000, 7000, 9)
    file.write_text("[sse]\nhartbeat = 1\n")
    with pytest.raises(ConfigError, match=r"did you mean sse\.heartbeat"):
        source.load()
