"""Metrics as Prometheus reads them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    import httpx2


class Scrape:
    """One scrape: values by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._values[sample.name][frozenset(sample.labels.items())] = sample.value

    def sum(self, name: str, **labels: str) -> float:
        """Add up the series of a name, below ``gapless_``, that have these labels; 0 when there is none."""
        series = self._values.get(f"gapless_{name}", {})
        return sum(value for found, value in series.items() if found >= labels.items())

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values that a label has in the series of a name."""
        return {dict(found)[label] for found in self._values.get(f"gapless_{name}", {})}


async def scrape(http: httpx2.AsyncClient) -> Scrape:
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)
