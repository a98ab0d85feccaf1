r"""How secrets and public keys arrive from deployments: with what their tools put around them.

A secret file ends in a newline, an env file keeps quotes, YAML and JSON write a newline as ``\n``, a secret store
holds base64. What is certain is taken. What may be meant is refused with a message that says what to change, and never
shows the value.
"""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path
from typing import Final

from realtime.units import wrong

_PEM: Final = "-----BEGIN "
_LONGEST_PATH: Final = 4096
_DER_SEQUENCE: Final = b"\x30"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")


def bare_secret(text: str) -> str:
    r"""Return a secret without the line end that a file leaves behind it.

    Raises:
        PydanticCustomError: quotes, white space or a written-out ``\n`` are at its ends.
    """
    text = text.rstrip("\r\n")
    if text != text.strip():
        raise wrong("a secret without white space at its ends")
    if _is_quoted(text):
        raise wrong("a secret without the quotes around it (an env file keeps them)")
    if text.endswith(r"\n"):
        raise wrong(r"a secret without the \n written out at its end")
    return text


def public_key_text(text: str) -> str:
    r"""Return a public key as PEM text, or the path of a file.

    PEM is taken with quotes around it, with ``\n`` written out, and in base64. Base64 of DER is made PEM
    (RFC 7468 §13).

    Raises:
        PydanticCustomError: it is a private key, a certificate, or no key and no file.
    """
    text = _unwrapped(text)
    if _PEM not in text and _is_file(text):
        return text
    pem = text if _PEM in text else _decoded(text)
    if "PRIVATE KEY-----" in pem:
        raise wrong("a public key; this is a private one, which has no business here")
    if "BEGIN CERTIFICATE-----" in pem:
        raise wrong("a public key; this is a certificate: openssl x509 -pubkey -noout prints its key")
    if not pem.startswith(_PEM):
        raise wrong("a PEM text that starts with -----BEGIN, the same in base64, or the path of a file that has one")
    return f"{pem.strip()}\n"


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def _unwrapped(text: str) -> str:
    text = text.strip()
    if _is_quoted(text):
        text = text[1:-1].strip()
    return text.replace(r"\r", "").replace(r"\n", "\n").strip() if _PEM in text else text


def _is_file(text: str) -> bool:
    try:
        return len(text) < _LONGEST_PATH and Path(text).is_file()
    except (OSError, ValueError):  # too long a name, or a NUL in it
        return False


def _decoded(text: str) -> str:
    """Return the PEM text that base64 stands for; the text itself where it stands for none."""
    if not _BASE64.fullmatch(text):
        return text
    try:
        raw = b64decode("".join(text.split()), validate=True)
    except ValueError:
        return text
    if raw.lstrip().startswith(_PEM.encode()):
        return raw.decode("ascii", "replace").strip()
    if raw.startswith(_DER_SEQUENCE):
        return f"-----BEGIN PUBLIC KEY-----\n{''.join(text.split())}\n-----END PUBLIC KEY-----"
    return text
