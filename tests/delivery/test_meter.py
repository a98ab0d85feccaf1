"""The meter: percentiles over clients, though latencies are noted by ticks."""

from __future__ import annotations

import math
import time

from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.meter import Meter, _percentiles

NOTED = st.lists(st.tuples(st.integers(0, 60_000), st.integers(1, 50)), min_size=1, max_size=30)


@given(NOTED)
def test_percentiles_are_those_of_all_clients_one_by_one(noted: list[tuple[int, int]]) -> None:
    each = sorted(latency for latency, clients in noted for _ in range(clients))
    ranked = [each[max(1, math.ceil(len(each) * part)) - 1] for part in (0.5, 0.95, 1.0)]
    assert list(_percentiles(sorted(noted))) == ranked


def test_latencies_are_by_transport_and_begin_anew_when_they_were_taken() -> None:
    meter = Meter()
    now_ms = time.time_ns() // 1_000_000
    meter.arrived("sse", now_ms - 500, 10)
    meter.arrived("polling", now_ms + 60_000, 1)
    taken = meter.take_latencies()
    assert set(taken) == {"sse", "polling"}
    assert all(500 <= latency < 5_000 for latency in taken["sse"])
    assert taken["polling"] == (0, 0, 0), "a clock that is behind makes nothing negative"
    assert meter.take_latencies() == {}


def test_deliveries_are_counted_since_the_start() -> None:
    meter = Meter()
    for events in (3, 0, 4):
        meter.delivered("sse", events)
    meter.take_latencies()
    assert meter.deliveries["sse"] == 7
