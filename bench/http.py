"""Requests, as bytes."""

from __future__ import annotations


def get(path: str, token: str = "", accept: str = "*/*", fields: str = "") -> bytes:
    """Write a request; `fields` are header lines, each with its end."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n{_authorization(token)}{fields}\r\n".encode()


def post(path: str, body: bytes, token: str = "") -> bytes:
    """Write a request with a body."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\n{_authorization(token)}Content-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def _authorization(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n" if token else ""
