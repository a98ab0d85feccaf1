"""Why Redis does not do what it is asked, in words for its operator: without the address, and without the password."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

_COMMAND: Final = re.compile(r"run the '([^']+)' command")
_ABSENT: Final = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.ENOENT: "there is no such socket, or no such file of a certificate",
    errno.EACCES: "this process may not open the socket or a file of a certificate",
    errno.EHOSTUNREACH: "there is no way to that host",
    errno.ENETUNREACH: "there is no way to that network",
}


def why(error: BaseException) -> str:
    """Say what an error of the Redis client, or one that was made from it, comes from and what to do about it."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None and before not in chain:
        chain.append(before)
    return next(filter(None, map(_refusal, chain)), None) or _unanswered(chain)


def _refusal(error: BaseException) -> str | None:
    """Explain an error that the server, or TLS, gives for what is configured."""
    if isinstance(error, AuthenticationError):
        return _authentication(str(error))
    if isinstance(error, NoPermissionError):
        command = _COMMAND.search(str(error))
        what = f"the command {command[1].upper()}" if command else "a key or command that is needed"
        return f"the user of redis.url may not use {what}: docs/operations.md lists what it must be allowed"
    if isinstance(error, ResponseError) and "DB index is out of range" in str(error):
        return "the server has no database of the number in redis.url: most have 0 to 15"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted ({error.verify_message}): redis.url can name ssl_ca_certs"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails ({error.reason}): does the server speak TLS on that port?"
    return None


def _authentication(told: str) -> str:
    if "Authentication required" in told:
        return "the server wants a password, and redis.url has none"
    if "without any password configured" in told:
        return "the server has no password, and redis.url gives one: leave it out"
    return "the server refuses the user or the password in redis.url"


def _unanswered(chain: list[BaseException]) -> str:
    """Explain that there is no answer; what is no error of the connection says itself what it is."""
    name = next((type(error).__name__ for error in chain if isinstance(error, RedisError | OSError)), None)
    if name is None:
        return str(chain[0])
    for error in chain:
        if isinstance(error, socket.gaierror):
            return f"the server does not answer ({name}): its host name is not known"
        if isinstance(error, OSError) and error.errno in _ABSENT:
            return f"the server does not answer ({name}): {_ABSENT[error.errno]}"
    return f"the server does not answer ({name}): is it running, at that address, with TLS (rediss://) or without?"
