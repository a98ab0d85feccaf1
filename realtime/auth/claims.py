"""What a token says: the claims of a JWT (RFC 7519 §4) that this service listens to."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from realtime.auth.identity import MAIN, Identity, somebody
from realtime.channel.event import LARGEST, check_name, check_scope_or_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a token says, as far as we listen; `exp` and `nbf` are seconds, whole or not (NumericDate)."""

    sub: str
    exp: int | float
    nbf: int | float = 0
    channel: str = MAIN
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    publish: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    jti: str | msgspec.UnsetType = msgspec.UNSET
    aud: str | tuple[str, ...] = ()
    """For whom the token is."""

    def fault(self, audience: str | None) -> str | None:
        """Name the claim that doesn't follow its grammar (PROTOCOL §1), and what was expected.

        `audience` is the name that tokens for this service bear, if they bear one (RFC 7519 §4.1.3).
        """
        named_for = (self.aud,) if isinstance(self.aud, str) else self.aud
        if (audience is not None or named_for) and audience not in named_for:
            return 'it is not for this audience ("aud"; auth.audience)'
        named = {"sub": (self.sub,), "channel": (self.channel,), "roles": self.roles}
        for claim, names in named.items():
            if not all(_is(check_name, name) for name in names):
                return f'"{claim}" has 1 to 255 characters, no control characters, commas or spaces'
        scoped = {"scopes": self.scopes, "publish": _set_or_none(self.publish) or ()}
        for claim, scopes in scoped.items():
            if not all(_is(check_scope_or_pattern, scope) for scope in scopes):
                return f'"{claim}" has scopes (broadcast, user:…, role:…, topic:…) or patterns (topic:….*) only'
        return None

    def identity(self) -> Identity:
        """Build the identity that the claims describe."""
        return somebody(
            self.sub,
            channel=self.channel,
            granted=self.scopes,
            roles=self.roles,
            publish=_set_or_none(self.publish),
            expires_ms=to_ms(self.exp),
            jti=_set_or_none(self.jti),
        )


def _is(check: Callable[[str], str], text: str) -> bool:
    try:
        check(text).encode()  # a lone surrogate, as in an argument that isn't UTF-8, can't be sent
    except ValueError:
        return False
    return True


def to_ms(seconds: float) -> int:
    """Return a NumericDate in milliseconds, held within what JSON and Lua carry exactly."""
    return round(max(-LARGEST, min(seconds * 1000, LARGEST)))


def _set_or_none(value: T | msgspec.UnsetType) -> T | None:
    return None if isinstance(value, msgspec.UnsetType) else value
