"""The metrics of this process, as `/metrics` exposes them (prometheus.io/docs/concepts/metric_types)."""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from runstead.core.leadership import LeaderState

registry = CollectorRegistry()
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)


class _Answers:
    """The answers of one route, method and status.

    Plain numbers, because counting is frequent and reading is rare.
    """

    __slots__ = ("buckets", "count", "seconds", "since")

    def __init__(self) -> None:
        self.since = time.time()
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_BUCKETS) + 1)


_answers: dict[tuple[str, str, int], _Answers] = {}


def count(route: str, method: str, status: int, took_s: float) -> None:
    """Count one answered request."""
    key = (route, method, status)
    answers = _answers.get(key)
    if answers is None:
        answers = _answers[key] = _Answers()
    answers.count += 1
    answers.seconds += took_s
    answers.buckets[bisect_left(_BUCKETS, took_s)] += 1


class _Requests(Collector):
    """The counted requests as metrics."""

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


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"runstead_{name}", text, labels, registry=registry)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"runstead_{name}", text, labels, registry=registry)


connections = _gauge("http_connections", "Open connections.")
authentication_failures = _counter(
    "authentication_failures_total",
    "Credentials that were refused: unknown ones, ended ones (expired, revoked), and throttled ones.",
    "credential",
    "reason",
)
refused_connections = _counter(
    "http_refused_connections_total",
    "Connections that were refused before a request was received, by error code.",
    "code",
)
streams = _gauge("streams", "Open event streams.")
deadlines_enforced = _counter(
    "deadlines_total", "Deadlines of runs that were enforced, by outcome.", "outcome"
)
silences = _counter("silences_total", "Workers and push services that stopped sending heartbeats.", "kind")
dispatches = _counter(
    "dispatches_total", "Calls to push services, by outcome: delivered, retried, failed, stopped.", "outcome"
)
deliveries = _counter(
    "deliveries_total",
    "Attempts of webhook deliveries, by outcome: delivered, retried, failed, failed with the webhook disabled.",
    "outcome",
)
firings = _counter("schedule_firings_total", "Firings of due schedules, by outcome.", "outcome")
event_loop_lag = Histogram(
    "runstead_event_loop_lag_seconds",
    "How much later than planned the event loop ran a timer, measured twice a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=registry,
)
queue_depth = _gauge("store_queue_depth", "Writes that are waiting for a commit.")
commits = _gauge("store_commits_total", "Transactions committed since start.")
commands = _gauge("store_commands_total", "Commands committed since start.")

standby_reads = _counter(
    "standby_reads_total",
    "Reads for standbys, by outcome: served; or why the primary served it: behind, away, conflict.",
    "outcome",
)
standby_in_use = _gauge("standby_in_use", "1 if the standby serves reads, else 0.", "standby")
standby_lag = _gauge(
    "standby_lag_bytes",
    "WAL that the standby had not replayed at its last check; -1 if that is not known.",
    "standby",
)

leader = _gauge("leader", "1 if this replica leads, else 0.")
leader_term = _gauge("leader_term", "The newest known term of a leader.")
loop_ticks = _counter("loop_ticks_total", "Successful ticks.", "loop")
loop_failures = _counter("loop_failures_total", "Failed ticks; each is retried.", "loop")
loop_rows = _counter("loop_rows_total", "Rows that the ticks processed.", "loop")
loop_success = _gauge(
    "loop_last_success_timestamp_seconds",
    "Time of the last successful tick, in seconds since 1970; 0 if there was none.",
    "loop",
)


def _expose_from_the_start() -> None:
    """Expose counters before the first count: the increase from no sample to 1 would be lost to an alert."""
    for outcome in ("delivered", "retried", "failed", "disabled"):
        deliveries.labels(outcome)
    for outcome in ("fired", "skipped", "failed"):
        firings.labels(outcome)
    for outcome in ("served", "behind", "away", "conflict"):
        standby_reads.labels(outcome)
    for kind in ("worker", "push_service"):
        silences.labels(kind)
    for code in ("CONNECTION_LIMIT_REACHED", "ADDRESS_LIMIT_REACHED"):
        refused_connections.labels(code)


_expose_from_the_start()


def register_loop(name: str) -> None:
    """Expose the metrics of a loop before its first tick, so that alerts can use them from the start."""
    for metric in (loop_ticks, loop_failures, loop_rows, loop_success):
        metric.labels(name)


class LoopState(NamedTuple):
    """The state of a loop. `succeeded_at`: the last successful tick in ms, None if there was none."""

    name: str
    succeeded_at: int | None
    ticks: int
    failures: int


def loops() -> list[LoopState]:
    """Return the state of the loops of this process, sorted by name."""
    by_loop: dict[str, dict[str, float]] = {}
    for metric in (loop_success, loop_ticks, loop_failures):
        for family in metric.collect():
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    by_loop.setdefault(sample.labels["loop"], {})[family.name] = sample.value
    return [
        LoopState(
            name,
            round(values["runstead_loop_last_success_timestamp_seconds"] * 1000) or None,
            round(values["runstead_loop_ticks"]),
            round(values["runstead_loop_failures"]),
        )
        for name, values in sorted(by_loop.items())
    ]


def exposition(facts: dict[str, Any], leader_state: LeaderState, measured: Collector) -> bytes:
    """Return the text of `/metrics` for this process: its own metrics, and those that were measured in the store.

    `facts` are the store's current facts.
    """
    leader.set(leader_state.leads)
    leader_term.set(leader_state.term)
    queue_depth.set(facts.get("queue_depth", 0))
    commits.set(facts.get("commits", 0))
    commands.set(facts.get("commands", 0))
    for place, standby in enumerate(facts.get("standbys", ()), 1):
        standby_in_use.labels(str(place)).set(standby["state"] == "in use")
        standby_lag.labels(str(place)).set(-1 if standby["lag_bytes"] is None else standby["lag_bytes"])
    return generate_latest(registry) + generate_latest(measured)
