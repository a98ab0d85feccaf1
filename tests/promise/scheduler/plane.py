"""The control plane as one gateway has it, from the product's own parts; moved by steps, not by tasks."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from policies.document import Document, parse
from realtime.config import Settings
from realtime.control import Control
from realtime.delivery.wheel import Wheel
from realtime.errors import LogUnavailable
from realtime.offers import Offers
from realtime.revocation import Revocation

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from realtime.revisions import Revisions
    from realtime.revocations import Revocations
    from tests.promise.scheduler.line import Line

OPERATOR = "operator"


class Plane:
    """Control log, revisions, revocations.

    A change of the policy adds a rule with a number: a policy tells by its rules which changes it has.
    """

    def __init__(
        self, redis: Redis, following: Line, revisions: type[Revisions], revocations: type[Revocations]
    ) -> None:
        """Begin with the configuration's policy."""
        self._following = following
        self._connection: Redis | None = None
        self._control = Control(redis, lambda: following.client(1), Wheel())
        self._revisions = revisions(self._control, Document(), Offers(_settings()))
        self._revocations = revocations(self._control, _nobody_ends)

    async def hear(self) -> None:
        """Follow the control log to its end, and read what there is news of.

        Raises:
            LogUnavailable: there was no answer.
        """
        if self._connection is None:
            self._connection = self._following.client(1)
        try:
            while await self._control.follower.read_on(self._connection, None):
                pass
        except LogUnavailable:
            await self.drop()
            raise
        await self._revisions.news.heed(self._revisions.load)
        await self._revocations.news.heed(self._revocations.load)

    async def load(self) -> None:
        """Read the state beside the control log, as is done now and then without news.

        Raises:
            LogUnavailable: there was no answer.
        """
        await self._revisions.load()
        await self._revocations.load()

    async def touch(self) -> None:
        """Touch the control log."""
        await self._control.follower.touch()

    @property
    def changes(self) -> frozenset[int]:
        """The changes that the policy in force has."""
        return changes_of(self._revisions.document.dump())

    async def change(self, number: int) -> frozenset[int]:
        """Change the policy; return which changes the revision has."""
        revision = await self._revisions.edit(
            lambda document: _with_rule(document, number), OPERATOR, f"change {number}"
        )
        return changes_of(revision.policy)

    def refuses(self, name: str) -> bool:
        """Tell whether a subject is refused."""
        return self._revocations.refuses(name, None)

    @property
    def revocations(self) -> dict[str, str]:
        """What tells the revocation of each subject from others of the same."""
        return {one.name: one.id for one in self._revocations.list()}

    async def revoke(self, name: str) -> None:
        """Refuse a subject."""
        await self._revocations.revoke(Revocation("sub", name, OPERATOR, 0))

    async def lift(self, name: str) -> None:
        """Refuse a subject no longer."""
        await self._revocations.lift("sub", name, OPERATOR)

    async def drop(self) -> None:
        """Close the follower's connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError):
                await connection.aclose()


def changes_of(policy: dict[str, Any]) -> frozenset[int]:
    """Read from a document which changes it has."""
    return frozenset(int(rule["name"]) for rule in policy["rules"])


def _with_rule(document: Document, number: int) -> Document:
    value = document.dump()
    return parse({**value, "rules": [*value["rules"], {"name": str(number), "preference": ["polling"]}]})


def _nobody_ends() -> None:
    pass


@cache
def _settings() -> Settings:
    return Settings()
