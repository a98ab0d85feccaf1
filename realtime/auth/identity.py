"""One client's identity: who it is, and what it may see and do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.channel.event import BROADCAST, check_scope_or_pattern, covered, is_pattern
from realtime.errors import MalformedParameter, RoleNotHeld, ScopeNotHeld

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAIN = "main"
"""The channel of those whose token names none."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: a subject, or an anonymous client (`sub` is ``None``), with everything held."""

    sub: str | None
    channel: str
    scopes: frozenset[str]
    """All exact scopes held, implicit ones too."""
    patterns: tuple[str, ...] = ()
    """All patterns held, such as ``topic:news.*``."""
    roles: frozenset[str] = frozenset()
    publish: tuple[str, ...] | None = None
    """The scopes and patterns that a publisher may publish to; ``None`` is all."""
    expires_ms: int | None = None
    """When the token behind it expires, in unix milliseconds; an anonymous client has none."""
    jti: str | None = None

    @property
    def held(self) -> tuple[str, ...]:
        """Everything held, scopes before patterns; equal for equal identities."""
        return (*sorted(self.scopes), *self.patterns)

    @property
    def granted(self) -> tuple[str, ...]:
        """What is held beyond the implicit scopes."""
        return (*sorted(self.scopes - implicit(self.sub, self.roles)), *self.patterns)

    def narrow(self, asked: Iterable[str]) -> tuple[str, ...]:
        """Return the scopes and patterns asked for, each once, in the order asked.

        Raises:
            MalformedParameter: one is neither a scope nor a pattern.
            ScopeNotHeld: one is covered by nothing held.
        """
        return tuple(self._covered(scope) for scope in dict.fromkeys(asked))

    def _covered(self, scope: str) -> str:
        try:
            check_scope_or_pattern(scope)
        except ValueError as error:
            raise MalformedParameter(str(error)) from None
        if scope not in self.scopes and not covered(scope, self.patterns):
            raise ScopeNotHeld(f"{scope!r} is covered by no scope that the credential holds")
        return scope

    def may_publish(self, scope: str) -> bool:
        """Tell whether the token's ``publish`` lets events go to this scope; the role is another question."""
        return self.publish is None or covered(scope, self.publish)

    def require_role(self, name: str) -> None:
        """Check that a role is held.

        Raises:
            RoleNotHeld: it isn't.
        """
        if name not in self.roles:
            raise RoleNotHeld(f"this needs a token with {name!r} among its roles")


def implicit(sub: str | None, roles: Iterable[str]) -> frozenset[str]:
    """Return the scopes that come with being somebody; an anonymous client has none."""
    if sub is None:
        return frozenset()
    return frozenset((BROADCAST, f"user:{sub}", *(f"role:{role}" for role in roles)))


def somebody(  # noqa: PLR0913 - one parameter for each claim
    sub: str | None,
    *,
    channel: str = MAIN,
    granted: Sequence[str] = (),
    roles: Iterable[str] = (),
    publish: tuple[str, ...] | None = None,
    expires_ms: int | None = None,
    jti: str | None = None,
) -> Identity:
    """Build an identity from what was granted to it, adding what is implicit."""
    held = frozenset(roles)
    scopes = implicit(sub, held).union(scope for scope in granted if not is_pattern(scope))
    patterns = tuple(sorted({scope for scope in granted if is_pattern(scope)}))
    return Identity(sub, channel, scopes, patterns, held, publish, expires_ms, jti)


def anonymous(granted: Sequence[str]) -> Identity:
    """Build the identity of clients without a credential: exactly the scopes that the configuration grants."""
    return somebody(None, granted=granted)
