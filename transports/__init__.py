"""The transports, and the registry that finds them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from transports.long_poll import LongPoll
from transports.polling import Polling
from transports.sse import SSE
from transports.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OWN = ("media_type", "name", "path", "stays_open")
"""What a transport must say of itself."""


_SERVED = frozenset({"health", "history", "negotiate", "report"})
"""What the service itself serves beside the transports."""


def installed(plugins: Iterable[str] = ()) -> Mapping[str, Transport]:
    """Return the built-in transports and the plug-ins, ``"package.module:Class"`` each, by name, in that order.

    Raises:
        ValueError: a plug-in can't be found, is no transport, or takes a name or path that is taken.
    """
    found: dict[str, Transport] = {}
    for transport in (SSE(), LongPoll(), Polling(), *map(_load, plugins)):
        if transport.name in found or transport.path in _SERVED | {other.path for other in found.values()}:
            message = f"the transport {transport.name!r} at {transport.path!r} is there already"
            raise ValueError(message)
        found[transport.name] = transport
    return found


def _load(plugin: str) -> Transport:
    module, _, name = plugin.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"the plug-in {plugin!r} can't be loaded ({error}): give package.module:Class"
        raise ValueError(message) from error
    if not (isinstance(kind, type) and issubclass(kind, Transport)):
        message = f"the plug-in {plugin!r} is no subclass of transports.transport.Transport"
        raise ValueError(message)  # noqa: TRY004 - the text of a setting is wrong, not the type of an argument
    lacks = sorted(kind.__abstractmethods__ | {attribute for attribute in _OWN if not hasattr(kind, attribute)})
    if lacks:
        message = f"the plug-in {plugin!r} lacks {', '.join(lacks)}"
        raise ValueError(message)
    return kind()
