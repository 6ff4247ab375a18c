"""The metrics of this process, as `/metrics` exposes them (prometheus.io/docs/concepts/metric_types)."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from runstead.core.leadership import LeaderState

registry = CollectorRegistry()
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)


class _Answers:
    """Of one route, method and status: plain numbers, since every answer is counted and metrics are asked for seldom."""

    __slots__ = ("buckets", "count", "seconds", "since")

    def __init__(self) -> None:
        self.since = time.time()
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_BUCKETS) + 1)


_answers: dict[tuple[str, str, int], _Answers] = {}


def count(route: str, method: str, status: int, took_s: float) -> None:
    """Note one answered request."""
    key = (route, method, status)
    answers = _answers.get(key)
    if answers is None:
        answers = _answers[key] = _Answers()
    answers.count += 1
    answers.seconds += took_s
    answers.buckets[bisect_left(_BUCKETS, took_s)] += 1


class _Requests(Collector):
    """What `count` has noted, as metrics."""

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "runstead_http_requests_total", "Answered requests.", labels=["route", "method", "status"]
        )
        seconds = HistogramMetricFamily(
            "runstead_http_request_seconds", "Time to answer a request.", labels=["route", "method"]
        )
        routes: dict[tuple[str, str], list[_Answers]] = {}
        for (route, method, status), answers in _answers.items():
            requests.add_metric([route, method, str(status)], answers.count, created=answers.since)
            routes.setdefault((route, method), []).append(answers)
        bounds = [*map(floatToGoString, _BUCKETS), "+Inf"]
        for names, of_route in routes.items():
            sums = accumulate(map(sum, zip(*(answers.buckets for answers in of_route), strict=True)))
            buckets = list(zip(bounds, sums, strict=True))
            seconds.add_metric(names, buckets, sum(answers.seconds for answers in of_route))
            labels = dict(zip(("route", "method"), names, strict=True))
            seconds.add_sample(f"{seconds.name}_created", labels, min(one.since for one in of_route))
        yield requests
        yield seconds


registry.register(_Requests())
connections = Gauge("runstead_http_connections", "Open connections.", registry=registry)
refused_connections = Counter(
    "runstead_http_refused_connections_total",
    "Connections that were closed with a refusal before there was a request to answer, by its code.",
    ["code"],
    registry=registry,
)
streams = Gauge("runstead_streams", "Open event streams.", registry=registry)
deadlines_enforced = Counter(
    "runstead_deadlines_total",
    "What the referee did with runs whose time was up.",
    ["outcome"],
    registry=registry,
)
silences = Counter(
    "runstead_silences_total",
    "Workers and push services that were noticed to have fallen silent.",
    ["kind"],
    registry=registry,
)
dispatches = Counter(
    "runstead_dispatches_total",
    "Calls to push services: runs handed over, tried again, given up, stopped.",
    ["outcome"],
    registry=registry,
)
deliveries = Counter(
    "runstead_deliveries_total",
    "Attempts to deliver to webhooks: arrived, tried again, given up, given up with the webhook.",
    ["outcome"],
    registry=registry,
)
firings = Counter(
    "runstead_schedule_firings_total",
    "What came of schedules that were due: a run, none since one had not ended, none at all.",
    ["outcome"],
    registry=registry,
)
queue_depth = Gauge("runstead_store_queue_depth", "Writes that wait for a commit.", registry=registry)
commits = Gauge("runstead_store_commits_total", "Transactions committed since start.", registry=registry)
commands = Gauge("runstead_store_commands_total", "Commands committed since start.", registry=registry)

leader = Gauge("runstead_leader", "1 where this replica leads, else 0.", registry=registry)
leader_term = Gauge("runstead_leader_term", "The newest leader's term that is known here.", registry=registry)
loop_ticks = Counter(
    "runstead_loop_ticks_total", "Ticks that came to their end.", ["loop"], registry=registry
)
loop_failures = Counter(
    "runstead_loop_failures_total",
    "Ticks that met trouble; each is tried again.",
    ["loop"],
    registry=registry,
)
loop_rows = Counter("runstead_loop_rows_total", "What the ticks found to do.", ["loop"], registry=registry)
loop_success = Gauge(
    "runstead_loop_last_success_timestamp_seconds",
    "When a tick last came to its end, in seconds since 1970; 0 where none has.",
    ["loop"],
    registry=registry,
)


def register_loop(name: str) -> None:
    """Tell of it from the start: an operator cannot miss what was never there."""
    for metric in (loop_ticks, loop_failures, loop_rows, loop_success):
        metric.labels(name)


class LoopState(NamedTuple):
    """`succeeded_at` in ms, None where no tick came to its end yet."""

    name: str
    succeeded_at: int | None
    ticks: int
    failures: int


def loops() -> list[LoopState]:
    """How the loops of this process fare, by name."""
    told: dict[str, dict[str, float]] = {}
    for metric in (loop_success, loop_ticks, loop_failures):
        for family in metric.collect():
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    told.setdefault(sample.labels["loop"], {})[family.name] = sample.value
    return [
        LoopState(
            name,
            round(values["runstead_loop_last_success_timestamp_seconds"] * 1000) or None,
            round(values["runstead_loop_ticks"]),
            round(values["runstead_loop_failures"]),
        )
        for name, values in sorted(told.items())
    ]


def exposition(facts: dict[str, Any], leader_state: LeaderState) -> bytes:
    """This process's text of `/metrics`, with the store's facts of this moment."""
    leader.set(leader_state.leads)
    leader_term.set(leader_state.term)
    queue_depth.set(facts.get("queue_depth", 0))
    commits.set(facts.get("commits", 0))
    commands.set(facts.get("commands", 0))
    return generate_latest(registry)
