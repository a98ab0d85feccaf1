"""A Redis and the Function library that ours calls there: loaded where it is missing, errors translated, time taken.

Whatever goes wrong with Redis leaves here as `LogUnavailable`. A library's name carries its version, and it is never
replaced: an older gateway in a rolling update must not take the newer ones' away.
"""

from __future__ import annotations

import time
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import AskError, ClusterError, ReadOnlyError, RedisError, ResponseError

from realtime.errors import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

Command = tuple[object, ...]
"""A Redis command: its name and arguments."""

_RETRY_AFTER_S: Final = 2
_ELSEWHERE: Final = (ReadOnlyError, ClusterError, AskError)
_NOT_NOW: Final = frozenset({"LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "UNBLOCKED"})


class Library:
    """One library on one server."""

    def __init__(self, redis: Redis, package: str, file: str) -> None:
        """Call on a client's connections; the code is a file of a package."""
        self._redis = redis
        self._file = files(package).joinpath(file)
        self.timed: Callable[[float | None], None] = _untimed
        """Told how long each command took, in seconds, but for those that wait; `None`: it failed."""

    async def execute(self, *command: object) -> Any:  # noqa: ANN401 - what a Redis command returns
        """Run one command.

        Raises:
            LogUnavailable: Redis does not answer, or refuses it.
        """
        return await self.run(partial(self._redis.execute_command, *command))

    async def transact(self, commands: Sequence[Command]) -> Any:  # noqa: ANN401 - what the last command returns
        """Run commands in one transaction; return the last one's answer, and raise only what that one raises."""
        if len(commands) == 1:
            return await self.execute(*commands[0])
        return await self.run(partial(self._transaction, commands))

    async def transact_and_wait(self, commands: Sequence[Command], wait: Command) -> tuple[Any, Any]:
        """Run commands in one transaction, and behind them, on the same connection, one that waits for what they wrote.

        Return the answers of the last command and of the wait. Only the former is raised when it is an error.
        """
        return await self.run(partial(self._waiting, commands, wait), waits=True)  # type: ignore[no-any-return]

    async def pipe(self, commands: Sequence[Command], *, strict: bool = True) -> list[Any]:
        """Run commands that are sent together; unless `strict`, one that Redis refuses is no error."""
        answers: list[Any] = await self.run(partial(self._pipe, commands, strict=strict))
        return answers

    async def run(self, command: Callable[[], Awaitable[Any]], *, waits: bool = False) -> Any:  # noqa: ANN401 - what a Redis command returns
        """Run what the Redis client does; `waits`: for as long as there is nothing to answer."""
        begun = time.perf_counter()
        try:
            answer = await self._loaded(command)
        except (TimeoutError, RedisError, OSError) as error:
            self.timed(None)
            raise _unavailable(error) from error
        if not waits:
            self.timed(time.perf_counter() - begun)
        return answer

    async def _loaded(self, command: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what a Redis command returns
        """Run a command; where the library is missing, once more with it."""
        try:
            return await command()
        except ResponseError as error:
            if "function not found" not in str(error).lower():
                raise
        await self._load()
        return await command()

    async def _load(self) -> None:
        """Load the library; another gateway may have been first."""
        try:
            await self._redis.function_load(self._file.read_text())
        except ResponseError as error:
            if "already exists" not in str(error):
                raise

    async def _transaction(self, commands: Sequence[Command]) -> Any:  # noqa: ANN401 - what the last command returns
        pipe = self._redis.pipeline(transaction=True)
        for command in commands:
            pipe.execute_command(*command)
        last = (await pipe.execute(raise_on_error=False))[-1]
        if isinstance(last, Exception):
            raise last
        return last

    async def _waiting(self, commands: Sequence[Command], wait: Command) -> tuple[Any, Any]:
        """Send all together. Within a transaction Redis would not wait, so that ends before the wait."""
        several = len(commands) > 1
        sent = [("MULTI",), *commands, ("EXEC",)] if several else list(commands)
        *_, told, reached = await self._pipe([*sent, wait], strict=False)
        last = told[-1] if several and isinstance(told, list) else told
        if isinstance(last, Exception):
            raise last
        return last, reached

    async def _pipe(self, commands: Sequence[Command], *, strict: bool) -> list[Any]:
        """Send commands together. A pipeline forgets them with its answer: a second try is another pipeline."""
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return await pipe.execute(raise_on_error=strict)


def was_refused(error: LogUnavailable) -> bool:
    """Tell whether Redis answered with an error that the same call would get again: nothing of it was done.

    A server that does not serve just now, or not any more, is none of that: the next call may reach another one.
    """
    cause = error.__cause__
    if not isinstance(cause, ResponseError) or isinstance(cause, _ELSEWHERE):
        return False
    return str(cause).split(" ", 1)[0] not in _NOT_NOW


def _untimed(_: float | None) -> None:
    pass


def _unavailable(error: BaseException) -> LogUnavailable:
    """Translate an error of the Redis client."""
    word = str(error).split(" ", 1)[0]  # Redis begins with a code in capitals; the client takes those it knows away
    reason = word if isinstance(error, ResponseError) and word.isupper() else type(error).__name__
    message = f"the log does not answer ({reason}): try again, with the same idempotency key when publishing"
    return LogUnavailable(message, headers={"Retry-After": str(_RETRY_AFTER_S)})
