"""Every setting with its type, its default and its limits; values only, frozen once made.

The reasons for the defaults stand beside them in `config.toml`. `[policy]` is the policy document as it is
(`policies.document`). Settings that hang together are checked here too, so
that no `Settings` exists that contradicts itself.

Durations are ints of milliseconds here, but a bare int *given* to a model counts seconds, as it does in `config.toml`:
build settings from strings (``{"heartbeat": "50ms"}``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from policies.document import Document
from realtime.config.values import (
    Directory,
    Durability,
    Host,
    Networks,
    Origins,
    Plugins,
    PublicKey,
    Rate,
    RedisUrl,
    RootPath,
    Scopes,
    Secret,
    Text,
    WebAddress,
)
from realtime.section import Section
from realtime.units import (
    GIB,
    HOUR,
    KIB,
    MIB,
    SECOND,
    Bytes,
    Count,
    Milliseconds,
    counted,
    lasting,
    sized,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_SECRET = 32
"""Bytes: an HMAC-SHA-256 key is at least as long as the hash (RFC 7518 §3.2)."""


class ServerSettings(Section):
    """Where the service listens, and with how many processes."""

    host: Host = "127.0.0.1"
    port: Annotated[Count, counted(0, 65535)] = 8000
    workers: Annotated[Count, counted(1, 1024)] = 1
    keep_alive: Annotated[Milliseconds, lasting("1s", "1h")] = 75 * SECOND
    drain: Annotated[Milliseconds, lasting("0s", "1h")] = 10 * SECOND
    trusted_proxies: Networks = ("127.0.0.1", "::1")
    forwarded: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    root_path: RootPath = ""


class RedisSettings(Section):
    """Where the log is kept; without an address, in a private Valkey of our own."""

    url: RedisUrl = Field(default=None, repr=False)
    timeout: Annotated[Milliseconds, lasting("10ms", "1m")] = 1 * SECOND


class AuthSettings(Section):
    """Who is believed, and how tickets are made."""

    secret: Secret = Field(default=None, repr=False)
    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] = "HS256"
    public_key: PublicKey = None
    jwks_url: WebAddress = None
    audience: Text = None
    leeway: Annotated[Milliseconds, lasting("0s", "5m")] = 5 * SECOND
    ticket_ttl: Annotated[Milliseconds, lasting("100ms", "24h")] = 60 * SECOND
    anonymous_scopes: Scopes = ()
    cookie_secure: Literal["auto", "always", "never"] = "auto"
    cookie_same_site: Literal["lax", "strict", "none"] = "lax"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Tell of keys that don't fit the algorithm, and of a cookie that browsers would refuse."""
        if self.public_key is not None and self.jwks_url is not None:
            yield "jwks_url", "nothing here, for public_key is set: keys come from one place"
        elif self.algorithm == "HS256" and (self.public_key or self.jwks_url):
            key = "public_key" if self.public_key else "jwks_url"
            yield key, 'nothing here, for algorithm "HS256" verifies with the secret; or another algorithm'
        elif self.algorithm != "HS256" and not (self.public_key or self.jwks_url):
            yield "public_key", f'a public key here, or jwks_url set: algorithm "{self.algorithm}" verifies with one'
        if self.cookie_same_site == "none" and self.cookie_secure != "always":
            yield "cookie_secure", '"always", for with cookie_same_site = "none" browsers refuse any other cookie'


class HistorySettings(Section):
    """How much of the log is kept, in Redis and in memory."""

    retention: Annotated[Milliseconds, lasting("1s")] = 24 * HOUR
    scope_cap: Annotated[Count, counted(1)] = 10_000
    topics_cap: Annotated[Count, counted(1)] = 100_000
    max_bytes: Annotated[Bytes, sized("64KiB")] = 1 * GIB
    window_events: Annotated[Count, counted(1)] = 100_000
    window_bytes: Annotated[Bytes, sized("1KiB")] = 64 * MIB
    max_event_bytes: Annotated[Bytes, sized("64B", "4MiB")] = 64 * KIB
    idempotency: Annotated[Milliseconds, lasting("1s")] = 24 * HOUR
    durability: Durability = "memory"


class DeliverySettings(Section):
    """How events are handed to the clients that are connected."""

    join: Annotated[Milliseconds, lasting("0s", "1s")] = 5
    stalled: Annotated[Milliseconds, lasting("1s", "1h")] = 60 * SECOND


class SseSettings(Section):
    """The timing of SSE streams."""

    heartbeat: Annotated[Milliseconds, lasting("50ms", "1h")] = 15 * SECOND
    lifetime: Annotated[Milliseconds, lasting("100ms", "7d")] = 600 * SECOND
    retry: Annotated[Milliseconds, lasting("10ms", "1h")] = 1 * SECOND
    first_byte_timeout: Annotated[Milliseconds, lasting("10ms", "10m")] = 5 * SECOND


class LongPollSettings(Section):
    """The timing of long-polls."""

    hold: Annotated[Milliseconds, lasting("50ms", "1h")] = 25 * SECOND


class PollingSettings(Section):
    """The timing of polls."""

    interval: Annotated[Milliseconds, lasting("50ms", "1d")] = 5 * SECOND


class CorsSettings(Section):
    """Which sites' pages may call the service."""

    origins: Origins = ()


class LimitsSettings(Section):
    """How much one user, one address and one gateway may take; 0 and empty: as much as there is."""

    streams_per_user: Annotated[Count, counted(0)] = 2
    on_limit: Literal["degrade", "reject", "replace"] = "degrade"
    streams_per_address: Annotated[Count, counted(0)] = 0
    max_clients: Annotated[Count, counted(0)] = 0
    head_bytes: Annotated[Bytes, sized("4KiB", "1MiB")] = 64 * KIB
    head_fields: Annotated[Count, counted(20, 1000)] = 100
    head_timeout: Annotated[Milliseconds, lasting("50ms", "10m")] = 10 * SECOND
    body_timeout: Annotated[Milliseconds, lasting("50ms", "1h")] = 30 * SECOND
    body_rate: Annotated[Bytes, sized("1B", "1GiB")] = 16 * KIB
    publish_rate: Rate = None
    negotiate_rate: Rate = "6000/minute"
    report_rate: Rate = "6000/minute"
    failed_credentials_rate: Rate = "600/minute"


class TransportsSettings(Section):
    """Which transports there are beside the built-in ones."""

    plugins: Plugins = ()


class LogSettings(Section):
    """What the service writes about itself; the channel's own log is `[history]`."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    format: Literal["auto", "json", "pretty"] = "auto"


class TelemetrySettings(Section):
    """Where traces and errors are sent, where they are."""

    otlp_endpoint: WebAddress = None
    sentry_dsn: Secret = Field(default=None, repr=False)


class Settings(Section):
    """The whole configuration."""

    data_dir: Directory = Path(".gapless")
    env: Literal["development", "production"] = "development"
    server: ServerSettings = ServerSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    history: HistorySettings = HistorySettings()
    delivery: DeliverySettings = DeliverySettings()
    sse: SseSettings = SseSettings()
    long_poll: LongPollSettings = LongPollSettings()
    polling: PollingSettings = PollingSettings()
    cors: CorsSettings = CorsSettings()
    limits: LimitsSettings = LimitsSettings()
    policy: Document = Document()
    transports: TransportsSettings = TransportsSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Tell of a secret that is too short for production, and of replicas that the private Valkey has not."""
        if self.redis.url is None and self.history.durability.startswith("replicas:"):
            yield "history.durability", '"memory" or "fsync", for the private Valkey has no replicas; or redis.url set'
        if self.env == "production" and secret_bytes(self) < SHORTEST_SECRET:
            yield (
                "auth.secret",
                f"at least {SHORTEST_SECRET} bytes in production; make one with: openssl rand -base64 32",
            )


def secret_bytes(settings: Settings) -> int:
    """Return the length of the secret that is set, 0 when none is."""
    secret = settings.auth.secret
    return 0 if secret is None else len(secret.get_secret_value().encode())
