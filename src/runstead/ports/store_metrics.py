"""The metrics that are measured in the store, at an interval, by the leader."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from runstead.core import limits
from runstead.ports.store import Measured, PoolUse, Sizes

OTHER: Final = "(other)"
"""The label of the rest, which has no series of its own."""


class StoreMetrics(Collector):
    """The latest measurements of one store, as metrics."""

    def __init__(self) -> None:
        self._measured: tuple[Measured, Sizes] | None = None  # None: not measured, or another replica leads
        self._pools: tuple[PoolUse, ...] = ()

    def note(self, measured: Measured, sizes: Sizes) -> None:
        """Expose these measurements until the next ones."""
        self._measured = measured, sizes

    def forget(self) -> None:
        """Expose no measurements, because this replica does not lead."""
        self._measured = None

    def note_pools(self, pools: Iterable[PoolUse]) -> None:
        """Expose the use of the store's connections of this process."""
        self._pools = tuple(pools)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        runs = _gauge("runs", "Runs that have not ended, by state.", "project", "state")
        ages = _gauge("oldest_pending_seconds", "Age of the oldest run in the queue.", "project", "target")
        size = _gauge("store_bytes", "Size of the database, and of its write-ahead log.", "part")
        if self._measured is not None:
            measured, sizes = self._measured
            for (project, state), number in _runs(measured).items():
                runs.add_metric([project, state], number)
            for (project, target), age_ms in _ages(measured).items():
                ages.add_metric([project, target], age_ms / 1000)
            size.add_metric(["database"], sizes.database)
            if sizes.wal is not None:
                size.add_metric(["wal"], sizes.wal)
        yield from (runs, ages, size)
        yield from _pool_metrics(self._pools)


def without_names(text: bytes) -> bytes:
    """Replace the projects and targets of an exposition by `(all)`: numbers are summed, of ages the highest stays."""
    merged: dict[bytes, dict[bytes, float]] = {}
    for sample in _NAMED.finditer(text):
        of_metric, value = merged.setdefault(sample["metric"], {}), float(sample["value"])
        labels = _NAMES.sub(rb'\1="(all)"', sample["labels"])
        before = of_metric.get(labels, 0)
        of_metric[labels] = max(before, value) if sample["metric"].endswith(b"_seconds") else before + value

    def lines(sample: re.Match[bytes]) -> bytes:
        """All samples of a metric in place of its first one."""
        values = merged.pop(sample["metric"], {}).items()
        return b"".join(b"%b{%b} %r\n" % (sample["metric"], *each) for each in values)

    return _NAMED.sub(lines, text)


_NAMED: Final = re.compile(
    rb"^(?P<metric>runstead_runs|runstead_oldest_pending_seconds)\{(?P<labels>.*)\} (?P<value>\S+)\n",
    re.MULTILINE,
)
_NAMES: Final = re.compile(rb'\b(project|target)="(?:[^"\\]|\\.)*"')


def _runs(measured: Measured) -> Mapping[tuple[str, str], int]:
    """The numbers by project and state: of the projects with most runs, and of all others together."""
    largest = sorted(measured.depths, key=lambda each: -sum(each[1][1:]))
    numbers: Counter[tuple[str, str]] = Counter()
    for place, (slug, depth) in enumerate(largest):
        project = slug if place < limits.measured_projects_max else OTHER
        for state in ("available", "delayed", "running", "waiting"):
            numbers[project, state] += getattr(depth, state)
    return numbers


def _ages(measured: Measured) -> Mapping[tuple[str, str], int]:
    """The ages by project and target: the highest ones, and the highest of all others."""
    ages: dict[tuple[str, str], int] = {}
    for place, each in enumerate(sorted(measured.ages, key=lambda each: -each.age_ms)):
        key = (each.project, each.target) if place < limits.measured_targets_max else (OTHER, OTHER)
        ages[key] = max(ages.get(key, 0), each.age_ms)
    return ages


def _pool_metrics(pools: Iterable[PoolUse]) -> Iterator[Metric]:
    size = _gauge("store_pool_size", "Connections that a pool may use at once.", "pool")
    used = _gauge("store_pool_used", "Connections of a pool that are in use.", "pool")
    waiting = _gauge("store_pool_waiting", "Reads or writes that wait for a connection.", "pool")
    for pool in pools:
        size.add_metric([pool.name], pool.size)
        used.add_metric([pool.name], pool.used)
        waiting.add_metric([pool.name], pool.waiting)
    yield from (size, used, waiting)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"runstead_{name}", text, labels=labels)
