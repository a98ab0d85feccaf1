"""What single values of the configuration may be: each type checks one, and says what it expected.

An empty string stands for "not set" where nothing need be set, since neither TOML nor the environment has a null.
Lists are TOML arrays, or JSON in an environment variable.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from realtime.channel.durability import durability
from realtime.channel.event import check_scope_or_pattern
from realtime.config.key_text import bare_secret, public_key_text
from realtime.lists import distinct, listed
from realtime.root_path import LONGEST, root_path
from realtime.units import wrong

_A_SCOPE = '"broadcast", "user:<sub>", "role:<name>", "topic:<name>", "topic:<prefix>.*" or "topic:*"'
_RATE = re.compile(r"[1-9][0-9]{0,8} ?(?:/|per) ?(?:[1-9][0-9]{0,4} )?(?:second|minute|hour|day)s?")
_PLUGIN = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_REDIS_OPTIONS = frozenset(
    {
        *("db", "username", "password", "client_name", "health_check_interval", "socket_keepalive"),
        *("ssl_ca_certs", "ssl_ca_path", "ssl_ca_data", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
    }
)
"""What may stand behind the `?`. The others of redis-py would change what the service relies on."""


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _directory(value: object) -> object:
    if not isinstance(value, str | Path) or str(value) == "":
        raise wrong("the path of a directory")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise wrong("the path of a directory, with a home directory that exists") from None


def _host(value: str) -> str:
    if not value or any(letter.isspace() or letter == "/" for letter in value):
        raise wrong('an address or a host name such as "127.0.0.1" or "::"')
    return value


def _root_path(value: str) -> str:
    try:
        is_right = value == "" or root_path(value) == value
    except ValueError:
        is_right = False
    if not is_right:
        raise wrong(f'a path such as "/rt": letters, digits and -._~ behind each slash, none at the end, ≤ {LONGEST}')
    return value


def _redis_url(value: str | None) -> str | None:
    if value is not None and not value.startswith(_REDIS_SCHEMES):
        raise wrong('an address such as "redis://localhost:6379/0", "rediss://…" or "unix:///run/valkey.sock"')
    given = [] if value is None else [name for name, _ in parse_qsl(urlsplit(value).query, keep_blank_values=True)]
    for name in given:
        if name not in _REDIS_OPTIONS:
            raise wrong(
                f"no option {name[:32]!r} in the address: behind the ? may be {', '.join(sorted(_REDIS_OPTIONS))}"
            )
    return value


def _public_key(value: str | None) -> str | None:
    return None if value is None else public_key_text(value)


def _secret(value: SecretStr | None) -> SecretStr | None:
    return None if value is None else SecretStr(bare_secret(value.get_secret_value()))


def _web_address(value: str | None) -> str | None:
    if value is not None and not re.match(r"https?://[^/\s]+", value):
        raise wrong('an address such as "https://login.example.com/.well-known/jwks.json"')
    return value


def _scope(value: str) -> str:
    try:
        return check_scope_or_pattern(value)
    except ValueError:
        raise wrong(_A_SCOPE) from None


def _origin(value: str) -> str:
    """Check that an origin is written exactly as browsers send it (RFC 6454 §6.2): it is compared as text."""
    expected = 'an origin as browsers send it, such as "https://app.example.com": no path, no "*"'
    try:
        url = urlsplit(value)
        port, host = url.port, url.hostname or ""
    except ValueError:
        raise wrong(expected) from None
    if url.scheme not in _DEFAULT_PORTS or not host or "*" in host:
        raise wrong(expected)
    name = f"[{host}]" if ":" in host else host
    right = f"{url.scheme}://{name}" + ("" if port in {None, _DEFAULT_PORTS[url.scheme]} else f":{port}")
    if value != right:
        raise wrong(expected, json.dumps(right))
    return value


def _durability(value: str) -> str:
    try:
        durability(value, 1)
    except ValueError:
        raise wrong('"memory", "fsync" or "replicas:<1 to 99>", such as "replicas:1"') from None
    return value


def _network(value: str) -> str:
    try:
        ip_network(value)
    except ValueError:
        raise wrong('an address or a network such as "10.0.0.7", "10.0.0.0/8" or "fd00::/8"') from None
    return value


def _rate(value: str | None) -> str | None:
    if value is not None and not _RATE.fullmatch(value):
        raise wrong('a rate such as "100/second", "6000/minute" or "20 per 5 seconds"')
    return value


def _plugin(value: str) -> str:
    if not _PLUGIN.fullmatch(value):
        raise wrong('a class by its module, such as "package.module:Class"')
    return value


Text = Annotated[str | None, BeforeValidator(_none_if_empty)]
Secret = Annotated[SecretStr | None, BeforeValidator(_none_if_empty), AfterValidator(_secret)]
Directory = Annotated[Path, BeforeValidator(_directory)]
Host = Annotated[str, AfterValidator(_host)]
RootPath = Annotated[str, AfterValidator(_root_path)]
RedisUrl = Annotated[Text, AfterValidator(_redis_url)]
PublicKey = Annotated[Text, AfterValidator(_public_key)]
WebAddress = Annotated[Text, AfterValidator(_web_address)]

Durability = Annotated[str, AfterValidator(_durability)]
Rate = Annotated[Text, AfterValidator(_rate)]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(listed), AfterValidator(distinct)]
Scope = Annotated[str, AfterValidator(_scope)]
Scopes = Annotated[tuple[Scope, ...], BeforeValidator(listed), AfterValidator(distinct)]
Origin = Annotated[str, AfterValidator(_origin)]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(listed), AfterValidator(distinct)]
Plugin = Annotated[str, AfterValidator(_plugin)]
Plugins = Annotated[tuple[Plugin, ...], BeforeValidator(listed), AfterValidator(distinct)]
