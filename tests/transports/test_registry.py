"""The registry: what is installed, and what a plug-in has to be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from policies.decide import Context
from realtime.config import load
from realtime.errors import ConfigError
from realtime.offers import Offers
from tests.transports.ndjson import NDJSON
from transports import installed
from transports.envelopes import Envelopes
from transports.transport import Transport

if TYPE_CHECKING:
    from realtime.config import Settings

HERE = "tests.transports.test_registry"
PLUGIN = "tests.transports.ndjson:NDJSON"


class Namesake(NDJSON):
    name = "sse"
    path = "another"


class Neighbour(NDJSON):
    name = "another"
    path = "long-poll"


class Unfinished(Transport):
    name = "unfinished"
    path = "unfinished"
    media_type = "text/plain"
    stays_open = True


class Nameless(Envelopes):
    path = "nameless"


class Stranger:
    name = "stranger"


def test_the_built_in_transports_come_first_then_plug_ins_in_their_order() -> None:
    assert list(installed()) == ["sse", "long-poll", "polling"]
    assert list(installed([PLUGIN])) == ["sse", "long-poll", "polling", "ndjson"]
    assert isinstance(installed([PLUGIN])["ndjson"], NDJSON)


@pytest.mark.parametrize(
    ("plugin", "complaint"),
    [
        (f"{HERE}:Namesake", "'sse' at 'another' is there already"),
        (f"{HERE}:Neighbour", "'another' at 'long-poll' is there already"),
        ("tests.transports.nowhere:NDJSON", "can't be loaded"),
        ("tests.transports.ndjson:Nothing", "can't be loaded"),
        ("tests.transports.ndjson", "can't be loaded"),
        (":NDJSON", "can't be loaded"),
        ("", "can't be loaded"),
        (f"{HERE}:Stranger", "no subclass"),
        (f"{HERE}:HERE", "no subclass"),
        (f"{HERE}:Unfinished", "lacks control, frame"),
        ("transports.transport:Transport", "lacks control, frame, media_type, name, path, stays_open"),
        (f"{HERE}:Nameless", "lacks name"),
    ],
)
def test_a_plug_in_that_is_no_transport_of_its_own_is_refused(plugin: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        installed([plugin])


def test_the_same_plug_in_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'ndjson' at 'ndjson' is there already"):
        installed([PLUGIN, PLUGIN])


# The configuration's view


def test_a_plug_in_is_offered_where_the_preference_names_it() -> None:
    offers = Offers(configured(PLUGIN, "ndjson", "sse"))
    decision = offers.wire(offers.decide(Context()))
    assert decision["transports"] == [
        {"name": "ndjson", "url": "/api/v1/events/ndjson", "heartbeat_ms": 15_000},
        {"name": "sse", "url": "/api/v1/events/stream", "heartbeat_ms": 15_000, "first_byte_timeout_ms": 5_000},
    ]


def test_a_wrong_plug_in_stops_the_start_and_names_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"transports\.plugins: .*tests\.transports\.nowhere:NDJSON"):
        Offers(configured("tests.transports.nowhere:NDJSON", "sse"))


def test_a_preference_for_what_is_not_installed_stops_the_start_and_says_what_is() -> None:
    with pytest.raises(
        ConfigError, match=r'policy\.preference\[1\]: .*"carrier-pigeon".*sse, long-poll, polling, ndjson'
    ):
        Offers(configured(PLUGIN, "sse", "carrier-pigeon"))


def configured(plugin: str, *preference: str) -> Settings:
    return load(
        environ={
            "GAPLESS_TRANSPORTS__PLUGINS": json.dumps([plugin]),
            "GAPLESS_POLICY__PREFERENCE": json.dumps(preference),
        }
    )
