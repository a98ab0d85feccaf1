"""Policies to decide by, and documents to take apart."""

from __future__ import annotations

from typing import Any

from policies.document import parse
from policies.policy import Policy, compiled

CATALOGUE = {
    "sse": {"heartbeat_ms": 15_000, "first_byte_timeout_ms": 5_000},
    "long-poll": {"hold_ms": 25_000},
    "polling": {"interval_ms": 5_000},
    "ndjson": {"heartbeat_ms": 15_000},
}
BACKGROUND = {
    "name": "metered phones in the background poll",
    "when": {"platform": ["ios", "android"], "network": ["cellular"], "state": ["background"]},
    "preference": ["polling"],
    "parameters": {"polling": {"interval": "60s"}},
}
ON_ANDROID = {
    "name": "sse-on-android",
    "when": {"platform": ["android"], "app_version": ">=5.2"},
    "salt": "2026-11",
    "arms": {
        "control": {"weight": 80, "preference": ["long-poll", "polling"]},
        "sse": {"weight": 20, "preference": ["sse", "long-poll", "polling"]},
    },
}
FULL: dict[str, Any] = {
    "preference": ["sse", "long-poll", "polling"],
    "move_within": "10s",
    "fallback_retry_after": "5m",
    "retry_base": "1s",
    "retry_max": "30s",
    "transports": {"sse": {"enabled": True, "heartbeat": "20s"}, "polling": {"enabled": False}},
    "rules": [BACKGROUND],
    "rollouts": [ON_ANDROID],
}


def policy(revision: int = 0, **document: object) -> Policy:
    """Make a policy out of parts of a document."""
    return compiled(parse(document), CATALOGUE, revision)


def one_arm(name: str, **arm: object) -> dict[str, Any]:
    """Return a rollout that everyone is in, with an arm for everyone."""
    return {"name": name, "arms": {"all": {"weight": 100, **arm}}}
