"""Counters and histograms of the event loop, for Prometheus: an addition each, where its client's own take locks.

To be counted on by one thread alone; a scrape by another reads whole numbers. Exposed as the client library does
(text format 0.0.4).
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
#: Upper bounds in seconds, as the client library's histograms have them.
USUAL: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class Tally(Collector):
    """A counter with labels. `name` without `_total`."""

    def __init__(self, name: str, told: str, labels: Sequence[str], registry: CollectorRegistry = REGISTRY) -> None:
        self._name, self._told, self._labels = name, told, labels
        self._counts: dict[Labels, float] = {}
        registry.register(self)

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Count; `labels` are the values in their order."""
        counts = self._counts
        counts[labels] = counts.get(labels, 0) + amount

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        family = CounterMetricFamily(self._name, self._told, labels=self._labels)
        for labels, count in list(self._counts.items()):
            family.add_metric(labels, count)
        yield family


class Durations(Collector):
    """A histogram of seconds with labels."""

    def __init__(
        self,
        name: str,
        told: str,
        labels: Sequence[str],
        bounds: Sequence[float] = USUAL,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._name, self._told, self._labels, self._bounds = name, told, labels, tuple(bounds)
        self._names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        self._seen: dict[Labels, tuple[list[int], list[float]]] = {}
        registry.register(self)

    def observe(self, labels: Labels, seconds: float) -> None:
        """Note one; `labels` are the values in their order."""
        seen = self._seen.get(labels)
        if seen is None:
            seen = self._seen[labels] = [0] * len(self._names), [0.0]
        seen[0][bisect_left(self._bounds, seconds)] += 1
        seen[1][0] += seconds

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        family = HistogramMetricFamily(self._name, self._told, labels=self._labels)
        for labels, (counts, total) in list(self._seen.items()):
            below, buckets = 0, []
            for name, count in zip(self._names, counts, strict=True):
                below += count
                buckets.append((name, float(below)))
            family.add_metric(labels, buckets, total[0])
        yield family
