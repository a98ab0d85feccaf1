"""Examples, the same throughout, so that they can be followed from one operation to the next."""

from __future__ import annotations

from typing import Final

ID: Final = "1795317600123-1234567"
TIME: Final = "2026-11-22T03:20:00.123Z"
SESSION: Final = "0c3c5d0e9b3f4c0f8d8a2b1f6f1d3c7e"
TICKET: Final = "eyJ0IjoiYW4gZXhhbXBsZSJ9.c2lnbmF0dXJl"

PUBLICATION: Final = {
    "event": "task.progress-updated",
    "scope": "user:42",
    "data": {"percent": 40},
    "key": "task:7",
    "idempotency_key": "task-7-40",
}
ENVELOPE: Final = {
    "id": ID,
    "time": TIME,
    "event": "task.progress-updated",
    "scope": "user:42",
    "version": 1,
    "key": "task:7",
    "data": {"percent": 40},
}
AFTER: Final = {"events": [ENVELOPE], "cursor": ID, "more": False}
POLLED: Final = {**AFTER, "control": [], "next_poll_ms": 5000}
STREAM: Final = (
    "retry: 965\n"
    f"id: {ID}\nevent: connection.established\n"
    f'data: {{"time":"{TIME}","event":"connection.established","data":{{"session":"{SESSION}","transport":"sse",'
    f'"cursor":"{ID}","heartbeat_ms":15000,"lifetime_ms":600000}}}}\n\n'
)
DECISION: Final = {
    "revision": 17,
    "arms": {"sse-on-android": "sse"},
    "transports": [
        {"name": "sse", "url": "/api/v1/events/stream", "heartbeat_ms": 15000, "first_byte_timeout_ms": 5000},
        {"name": "long-poll", "url": "/api/v1/events/long-poll", "hold_ms": 25000},
        {"name": "polling", "url": "/api/v1/events/poll", "interval_ms": 5000},
    ],
}
PROPOSAL: Final = {
    "transports": ["sse", "long-poll", "polling"],
    "client": {"platform": "ios", "app_version": "5.2.0", "network": "cellular", "state": "foreground"},
    "failed": [{"transport": "sse", "reason": "buffered", "count": 2}],
}
NEGOTIATED: Final = {
    "session": SESSION,
    "ticket": TICKET,
    "ticket_expires_in_ms": 60000,
    "cursor": ID,
    "server_time": TIME,
    "decision": DECISION,
    "fallback": {"retry_after_ms": 300000},
    "retry": {"base_ms": 1000, "max_ms": 30000},
}
