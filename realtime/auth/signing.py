"""The signature of tokens: JWS (RFC 7515) of one pinned algorithm."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jwt import InvalidAlgorithmError, InvalidSignatureError, PyJWS, PyJWTError
from jwt.algorithms import HMACAlgorithm, get_default_algorithms

from realtime.errors import BadCredential

if TYPE_CHECKING:
    from realtime.auth.keys import Keys

LONGEST: Final = 8 * 1024
"""Characters of a token: as much as common servers take of one header field."""

_FAULTS: Final[dict[type[PyJWTError], str]] = {
    InvalidAlgorithmError: "is signed with another algorithm than this service takes",
    InvalidSignatureError: "has a signature that isn't right",
}


class _Hmac(HMACAlgorithm):
    """HMAC with a key that was looked at before: not again for each text, nor a warning for each when it is short."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> None:  # noqa: ARG002 - the configuration has looked at it
        return None


class Signing:
    """Makes and verifies tokens of one algorithm, and no other."""

    def __init__(self, algorithm: str) -> None:
        """Pin the algorithm: no other is even known here."""
        self.algorithm = algorithm
        self._jws = PyJWS(algorithms=[])
        known = _Hmac(HMACAlgorithm.SHA256) if algorithm == "HS256" else get_default_algorithms()[algorithm]
        self._jws.register_algorithm(algorithm, known)

    def sign(self, payload: bytes, key: bytes) -> str:
        """Return the token with a payload; only for an algorithm whose key signs too."""
        return self._jws.encode(payload, key, self.algorithm)

    def verify(self, token: str, keys: Keys) -> bytes:
        """Return the payload of a token.

        Raises:
            KeyUnknown: its key isn't known.
            KeysUnavailable: its key isn't known, and the keys could not be fetched.
            BadCredential: it is too long, malformed, of another algorithm, or not signed with the key.
        """
        if len(token) > LONGEST:
            raise bad_token(f"is longer than {LONGEST} characters")
        if not token.isascii():
            raise bad_token("is malformed")
        try:
            return self._verified(token, keys)
        except PyJWTError as error:
            fault = _FAULTS.get(type(error), "is malformed")
        raise bad_token(fault)  # not from PyJWT's error, which may hold parts of the token

    def _verified(self, token: str, keys: Keys) -> bytes:
        header = self._jws.get_unverified_header(token)
        if header.get("alg") != self.algorithm:
            raise InvalidAlgorithmError
        kid = header.get("kid")
        for key in keys.find(kid):
            with suppress(InvalidSignatureError):
                payload: bytes = self._jws.decode(token, key, [self.algorithm])
                return payload
        if kid is None:
            keys.refuse_unnamed()
        raise InvalidSignatureError


def bad_token(fault: str) -> BadCredential:
    """Make the error that tells what is wrong with a token, and quotes none of it."""
    return BadCredential(f"the token {fault}")
